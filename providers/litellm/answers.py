"""A guard before LiteLLM: a provider's answer is small enough to build, and has a usage to read."""

from __future__ import annotations

import json
import re
from typing import Any

from providers.litellm.message_text import joined

MAX_CHOICES = 8
"""One is asked for. LiteLLM takes 0.08 ms to build each."""
MAX_VALUES = 2_000
"""Values within an answer, in all its lists and objects. An answer has some 40, and Anthropic's and
Gemini's those of a forced tool call."""
MAX_VALUES_OF_CHOICES = 500
"""The same in the form of OpenAI, where a tool call is a text. Its SDK takes 0.15 ms for each value
of a wrong type."""
MAX_DEPTH = 32
MAX_MARKS = 50_000
"""Commas and opening brackets, those of texts included: more would take too long to parse. English
prose of 2 MB has some 35,000 commas."""
MAX_ERROR_BYTES = 65_536
"""The longest body of an error that is read; of a longer one, only the status counts."""

_READ = frozenset(
    ("content", "function_call", "reasoning", "reasoning_content", "refusal", "role", "tool_calls")
)
"""The parts of a message that are read, in the form of OpenAI."""

_HAS_ERROR = re.compile(rb'"error"\s*:\s*["{]')
_NAMED_STATUS = (
    ("rate_limit", 429),
    ("quota", 429),
    ("overloaded", 503),
    ("unavailable", 503),
    ("timeout", 504),
    ("insufficient", 402),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid", 400),
)
"""Parts of the names that providers give to errors, and the statuses that mean the same."""
_UNNAMED_STATUS = 502

_DIGITS = re.compile("[0-9]{1,30}")


class UnreadableAnswer(Exception):
    """An answer that is not a JSON object, or is larger or deeper than any model's."""


def prepared(content: bytes) -> bytes:
    """Return an answer as LiteLLM may read it: in one text, with a usage of nothing but counts.

    LiteLLM raises without a usage for Anthropic and Gemini, and the answer would be lost, though
    the model ran and is billed. It reads an empty one as zeros, which mean the same to us: unknown.

    Raises:
        UnreadableAnswer: LiteLLM can't read it, or it would take too long.
    """
    body = parsed(content)
    openings, marks = _marks(content)
    if openings > MAX_CHOICES or marks > MAX_VALUES_OF_CHOICES:
        _check_size(body)
    changed, name = False, "usage"
    if "choices" in body:
        changed = _tidied(body["choices"])
        body.setdefault(name, {})
    elif body.get("type") == "message":
        pass
    elif "candidates" in body or "promptFeedback" in body:
        name = "usageMetadata"
    else:
        return content
    reported = body.get(name)
    body[name] = _counts(reported)
    return json.dumps(body).encode() if changed or body[name] != reported else content


def _counts(usage: object) -> dict[str, Any]:
    """Return the counts of a usage object, and of the objects in it.

    LiteLLM raises for a count that is not a whole number, and the answer would be lost. So what
    can't be read is left out: it is unknown, as if the provider had not reported it.
    """
    counts: dict[str, Any] = {}
    for name, value in usage.items() if isinstance(usage, dict) else ():
        if isinstance(value, dict) and not name.lower().endswith(("tokens", "count")):
            counts[name] = _counts(value)
        elif not name.lower().endswith("details") and (count := _count(value)) is not None:
            counts[name] = count
    return counts


def _count(value: object) -> int | None:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None


def status_of(content: bytes) -> int:
    """Return the status that the body of an answer with status 200 stands for.

    OpenRouter and gateways like it answer 200 before they know, and put the error of the provider
    behind them into the body, with its own code: https://openrouter.ai/docs/api/reference/errors.
    """
    if not _HAS_ERROR.search(content):
        return 200
    try:
        body = parsed(content)
    except UnreadableAnswer:
        return 200
    if not body.get("error") or any(
        body.get(name) for name in ("choices", "candidates", "content")
    ):
        return 200
    return _status_of_error(body["error"])


def _status_of_error(error: object) -> int:
    """Return the status of an error by its code, else by its name, else that of a bad gateway."""
    if not isinstance(error, dict):
        return _UNNAMED_STATUS
    names = [error.get("code"), error.get("type"), error.get("status")]
    for name in names:
        if isinstance(name, int | str) and re.fullmatch("[45][0-9][0-9]", str(name)):
            return int(name)
    text = " ".join(name.lower() for name in names if isinstance(name, str))
    return next((status for part, status in _NAMED_STATUS if part in text), _UNNAMED_STATUS)


def _marks(content: bytes) -> tuple[int, int]:
    """Return the numbers of opening brackets, and of those and commas together."""
    openings = content.count(b"[") + content.count(b"{")
    return openings, openings + content.count(b",")


def parsed(content: bytes) -> dict[str, Any]:
    """Return the object that an answer is.

    Raises:
        UnreadableAnswer: it is not one JSON object, or it would take too long to parse.
    """
    if _marks(content)[1] > MAX_MARKS:
        raise UnreadableAnswer("the answer has too many parts")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise UnreadableAnswer("the answer is not valid JSON") from None
    if not isinstance(body, dict):
        raise UnreadableAnswer("the answer is not a JSON object")
    return body


def _check_size(body: dict[str, Any]) -> None:
    for name in ("choices", "candidates"):
        choices = body.get(name)
        if isinstance(choices, list) and len(choices) > MAX_CHOICES:
            raise UnreadableAnswer(f"the answer has more than {MAX_CHOICES} {name}")
    most = MAX_VALUES_OF_CHOICES if "choices" in body else MAX_VALUES
    values, depth = 0, 0
    level: list[Any] = [body]
    while level:
        depth += 1
        deeper: list[Any] = []
        for part in level:
            inner = part.values() if isinstance(part, dict) else part
            values += len(part)
            deeper += [value for value in inner if isinstance(value, dict | list)]
        if depth > MAX_DEPTH or values > most:
            raise UnreadableAnswer("the answer has too many values, or too many levels")
        level = deeper


def _tidied(choices: Any) -> bool:
    """Join a content in parts, and remove what nobody reads; return whether there was any.

    Building citations, images and the like takes up to 0.9 ms for each that is not as it should
    be, and OpenAI's SDK warns with its text.
    """
    changed = False
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            continue
        if isinstance(message.get("content"), list):
            message["content"] = joined(message["content"])
            changed = True
        for name in [name for name in message if name not in _READ and message[name]]:
            del message[name]
            changed = True
    return changed
