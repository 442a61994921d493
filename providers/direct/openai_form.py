"""Reads answers in OpenAI's form, those that have nothing unusual about them.

What is unusual is LiteLLM's to read: it has rules for hundreds of servers. So an answer with
anything that is not listed here is unusual, unless that is null. What is listed, LiteLLM reads in
the same way for every provider that speaks this form; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

from providers.base import MAX_ANSWER_CHARS, Completion, FinishReason
from providers.litellm.answers import UnreadableAnswer, parsed
from providers.litellm.usage import read_usage

_TEXTS = frozenset(
    ("id", "model", "object", "provider", "request_id", "service_tier", "system_fingerprint")
)
_TOP = _TEXTS | {"choices", "created", "prompt_filter_results", "time_info", "usage", "x_groq"}
_CHOICE = frozenset(
    ("content_filter_results", "finish_reason", "index", "message", "seed", "stop_reason")
)
_THOUGHTS = "reasoning_content"
_MESSAGE = frozenset(("content", "role", _THOUGHTS))
_COUNTS = frozenset(("completion_tokens", "prompt_tokens", "total_tokens"))
_HITS = "prompt_cache_hit_tokens"
_MORE_COUNTS = _COUNTS | {"cached_tokens", "num_sources_used", _HITS, "prompt_cache_miss_tokens"}
_TIMES = frozenset(("completion_time", "prompt_time", "queue_time", "total_time"))
_OF_BOTH = ("audio_tokens", "image_tokens", "text_tokens")
_OF_INPUT = frozenset(("cached_tokens", "cache_write_tokens", *_OF_BOTH))
_OF_OUTPUT = frozenset(
    (
        "accepted_prediction_tokens",
        "reasoning_tokens",
        "rejected_prediction_tokens",
        *_OF_BOTH,
    )
)
_NOTHING: dict[str, object] = {"annotations": [], "prefix": False, "prompt": [], "tool_calls": []}
_ANYTHING = object()
_FINISH = {
    "content_filter": FinishReason.REFUSED,
    "length": FinishReason.LENGTH,
    "stop": FinishReason.STOP,
}
_LARGEST_COUNT = 2**53


def read(
    content: bytes, max_output_tokens: int, needed: frozenset[str] = frozenset()
) -> Completion | None:
    """Return what an answer with status 200 says; ``None`` if it is unusual.

    Args:
        needed: names at its top without which LiteLLM refuses an answer.
    """
    try:
        body = parsed(content)
    except UnreadableAnswer:
        return None
    if not body.keys() >= needed:
        return None
    choices, counts = body.get("choices"), body.get("usage")
    if not _is_usual_body(body) or not isinstance(choices, list) or len(choices) != 1:
        return None
    choice = choices[0]
    if not isinstance(choice, dict) or not _is_usual_choice(choice):
        return None
    message, reason = choice.get("message"), choice.get("finish_reason")
    if not _is_usual_message(message) or not _is_usual_usage(counts):
        return None
    if not isinstance(reason, str) or (finish := _FINISH.get(reason)) is None:
        return None
    usage, reasoning_beside = read_usage(counts, answered=True)
    if finish is FinishReason.STOP and usage and usage.output_tokens >= max_output_tokens:
        finish = FinishReason.LENGTH
    return Completion(
        message["content"],
        finish,
        usage,
        after_thoughts=bool(message.get(_THOUGHTS)),
        reasoning_beside=reasoning_beside,
    )


def _is_usual_body(body: dict[str, Any]) -> bool:
    return (
        _holds_only(body, _TOP)
        and isinstance(body.get("created", 0), int)
        and all(_is_text(body.get(name)) for name in _TEXTS)
    )


def _is_usual_choice(choice: dict[str, Any]) -> bool:
    return _holds_only(choice, _CHOICE) and isinstance(choice.get("index", 0), int)


def _is_usual_message(message: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a message is a text, perhaps after thoughts, and nothing else."""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    text = message.get("content")
    return (
        isinstance(text, str)
        and bool(text.strip())
        and len(text) <= MAX_ANSWER_CHARS
        and not _may_hold_thoughts(text)
        and _is_encodable(text)
        and _is_text(message.get(_THOUGHTS))
        and _holds_only(message, _MESSAGE)
    )


def _may_hold_thoughts(text: str) -> bool:
    """Return whether LiteLLM may find thoughts in a text, which it takes off."""
    return "<" in text and "think" in text


def _is_usual_usage(usage: object) -> bool:
    if not isinstance(usage, dict) or not usage.keys() >= _COUNTS:
        return False
    for name, value in usage.items():
        if name == "prompt_tokens_details":
            is_usual = _are_details(value, _OF_INPUT) and _agrees(usage.get(_HITS), value)
        elif name == "completion_tokens_details":
            is_usual = _are_details(value, _OF_OUTPUT)
        elif name in _TIMES:
            is_usual = type(value) in (int, float)
        else:
            is_usual = name in _MORE_COUNTS and _is_count(value)
        if not is_usual:
            return False
    # Where more is counted than these two, LiteLLM has rules for what it is.
    return bool(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"])


def _are_details(value: Any, names: frozenset[str]) -> bool:
    return value is None or (
        isinstance(value, dict)
        and value.keys() <= names
        and all(_is_count(count) for count in value.values())
    )


def _agrees(hits: object, details: Any) -> bool:
    """Return whether DeepSeek's two counts of cached tokens are one: LiteLLM takes the first."""
    return hits is None or not details or details.get("cached_tokens", hits) == hits


def _holds_only(found: dict[str, Any], names: Iterable[str]) -> bool:
    """Return whether everything beside these names is null, or the nothing that servers send."""
    return all(
        found[name] is None or found[name] == _NOTHING.get(name, _ANYTHING)
        for name in found.keys() - names
    )


def _is_text(value: object) -> bool:
    return value is None or (isinstance(value, str) and _is_encodable(value))


def _is_encodable(text: str) -> bool:
    """Return whether a text has no lone surrogates, for which LiteLLM refuses an answer."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_COUNT
