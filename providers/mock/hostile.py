"""Scenarios of the mock provider in which a provider is hostile or broken.

Each is a ``key=value`` of a scenario: ``quote=think``, ``body=bomb``. They can be combined with the
other words where that makes sense (``body=bomb,times=1``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

KINDS: Mapping[str, Mapping[str, str]] = {
    "quote": {
        "think": "thoughts in `<think>` that quote the last message, then an answer",
        "brackets": "the same in `[THINK]`",
        "channels": "the same in the channels of gpt-oss",
        "closing": "the same without the opening tag",
        "prose": "words round the last message, and no answer",
        "beside": "words round the last message, then an answer among words",
    },
    "answer": {
        "two": "two answers that differ",
        "backslashes": '128 kB of `\\"` in a string that does not end',
        "deep": "30,000 objects within each other",
    },
    "body": {
        "gzip3": "a body packed three times: 6 kB that become 1 GB",
        "bomb": "a body packed once: 1 MB that becomes 1 GB",
        "choices": "100,000 choices",
        "endless": "a body without end, as fast as it is read",
        "header": "an answer with a header that holds a byte beyond ASCII",
    },
    "redirect": {
        status: f"a {status} to another host" for status in ("301", "302", "303", "307", "308")
    },
    "bill": {
        "million": "an answer with a usage of 10^6 output tokens",
        "billion": "the same with 10^9",
        "quintillion": "the same with 10^18",
        "negative": "the same with -5",
        "float": "the same with 12.5",
        "text": 'the same with `"12"`',
        "total": "an honest usage but for a total of 10^7 tokens",
        "beside": "300 cached tokens beside those of the prompt, and in the total",
        "letters": "an answer of 1.9 million letters without usage",
    },
    "error": {
        "finish": "status 200, no text, and an error as the reason for stopping",
        "429": "status 200 with an error of code 429 in the body",
        "502": "the same with 502",
        "402": "the same with 402",
    },
}
"""The hostile ``key=value`` pairs, and what each sends."""

_OUTPUTS = {
    "million": 10**6,
    "billion": 10**9,
    "quintillion": 10**18,
    "negative": -5,
    "float": 12.5,
    "text": "12",
}
_CACHED_BESIDE = 300
_PROMPT_FIELDS = ("prompt_tokens", "input_tokens", "promptTokenCount")
_OUTPUT_FIELDS = ("completion_tokens", "output_tokens", "candidatesTokenCount")
_TOTAL_FIELDS = ("total_tokens", "totalTokenCount")


@dataclass(frozen=True, slots=True)
class Hostility:
    """The faults of an answer: for each key of ``KINDS`` one of its values, or ``None``."""

    quote: str | None = None
    answer: str | None = None
    body: str | None = None
    redirect: str | None = None
    bill: str | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """The first thing that is wrong, as ``body=bomb``."""
        parts = ((part.name, getattr(self, part.name)) for part in fields(self))
        return next(f"{key}={value}" for key, value in parts if value is not None)

    @property
    def changes_text(self) -> bool:
        """True if the text is not what a model would write; no token limit ends it then."""
        return bool(self.quote or self.answer) or self.bill == "letters"


HONEST = Hostility()


def text(hostile: Hostility, good: str, other: str, message: str) -> str:
    """Return the text of an answer.

    Args:
        good: a good answer.
        other: another one.
        message: what the last message of the request says.
    """
    if hostile.quote is not None:
        return _quoting(hostile.quote, good, f"They wrote: {message}")
    if hostile.answer == "two":
        return f"{good}\nor rather\n{other}"
    if hostile.answer == "backslashes":
        return '{"reply": "' + '\\"' * 64_000
    if hostile.answer == "deep":
        return '{"a":' * 30_000 + "1" + "}" * 30_000
    if hostile.bill == "letters":
        return good + " " + "lorem ipsum " * 158_000
    return good


def _quoting(form: str, good: str, quoting: str) -> str:
    forms = {
        "think": f"<think>{quoting} Hm.</think>\n{good}",
        "brackets": f"[THINK]{quoting} Hm.[/THINK]{good}",
        "channels": f"<|channel|>analysis<|message|>{quoting} Hm.<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{good}",
        "closing": f"{quoting} Hm.</think>\n{good}",
        "prose": f"{quoting}. I can't decide.",
        "beside": f"{quoting}. My answer: {good}",
    }
    return forms[form]


def spoil(hostile: Hostility, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of an answer with what is wrong in its JSON."""
    if hostile.body == "choices":
        name = next(name for name in ("choices", "candidates", "content") if name in body)
        body[name] = [*body[name], *[{"index": 0}] * 100_000]
    if hostile.bill is not None:
        _spoil_usage(hostile.bill, body)
    if hostile.error == "finish":
        _end_with_an_error(body)
    elif hostile.error is not None:
        return {"error": {"code": int(hostile.error), "message": "The provider failed."}}
    return body


def _spoil_usage(bill: str, body: dict[str, Any]) -> None:
    name = next((name for name in ("usage", "usageMetadata") if name in body), None)
    if name is None:
        return
    if bill == "letters":
        del body[name]
        return
    usage = body[name]
    prompt = usage[_present(usage, _PROMPT_FIELDS)]
    total = next((field for field in _TOTAL_FIELDS if field in usage), None)
    if bill in _OUTPUTS:
        usage[_present(usage, _OUTPUT_FIELDS)] = reported = _OUTPUTS[bill]
        if total is not None and isinstance(reported, int):
            usage[total] = prompt + reported
    elif bill == "total" and total is not None:
        usage[total] = 10**7
    elif bill == "beside":
        _add_cached(usage)
        if total is not None:
            usage[total] += _CACHED_BESIDE


def _present(usage: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    return next(field for field in fields if field in usage)


def _add_cached(usage: dict[str, Any]) -> None:
    if "input_tokens" in usage:
        usage["cache_read_input_tokens"] = _CACHED_BESIDE
    elif "promptTokenCount" in usage:
        usage["cachedContentTokenCount"] = _CACHED_BESIDE
    else:
        usage["prompt_tokens_details"] = {"cached_tokens": _CACHED_BESIDE}


def _end_with_an_error(body: dict[str, Any]) -> None:
    if "choices" in body:
        choice = body["choices"][0]
        choice |= {"finish_reason": "error", "native_finish_reason": "error"}
        choice["message"]["content"] = ""
    elif "candidates" in body:
        body["candidates"][0] |= {"finishReason": "OTHER", "content": {"role": "model"}}
    else:
        body |= {"stop_reason": "error", "content": []}
