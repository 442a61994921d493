"""Reads answers in OpenAI's form, those that have nothing unusual about them.

What is unusual is LiteLLM's to read: it has rules for hundreds of servers. So all that is not
listed here makes an answer unusual, even where LiteLLM would ignore it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from providers.base import MAX_ANSWER_CHARS, Completion, FinishReason
from providers.litellm.answers import UnreadableAnswer, parsed
from providers.litellm.usage import read_usage

_TEXTS = frozenset(("id", "model", "object", "provider", "service_tier", "system_fingerprint"))
_TOP = _TEXTS | {"choices", "created", "usage"}
_CHOICE = frozenset(("finish_reason", "index", "message"))
_COUNTS = frozenset(("completion_tokens", "prompt_tokens", "total_tokens"))
_DETAILS = {
    "prompt_tokens_details": frozenset(("audio_tokens", "cached_tokens")),
    "completion_tokens_details": frozenset(
        (
            "accepted_prediction_tokens",
            "audio_tokens",
            "reasoning_tokens",
            "rejected_prediction_tokens",
        )
    ),
}
_FINISH = {
    "content_filter": FinishReason.REFUSED,
    "length": FinishReason.LENGTH,
    "stop": FinishReason.STOP,
}
_LARGEST_COUNT = 2**53
_OPENS_THOUGHTS = "<"
"""LiteLLM takes thoughts in tags off a text."""


def read(content: bytes, max_output_tokens: int) -> Completion | None:
    """Return what an answer with status 200 says; ``None`` if it is unusual."""
    try:
        body = parsed(content)
    except UnreadableAnswer:
        return None
    choices, counts = body.get("choices"), body.get("usage")
    if not isinstance(choices, list) or len(choices) != 1 or not _is_usual_usage(counts):
        return None
    choice = choices[0]
    if not _are_usual(body) or not isinstance(choice, dict):
        return None
    text, finish = _text(choice.get("message")), _FINISH.get(str(choice.get("finish_reason")))
    if text is None or finish is None or not _holds_only(choice, _CHOICE):
        return None
    usage, reasoning_beside = read_usage(counts, answered=True)
    if finish is FinishReason.STOP and usage and usage.output_tokens >= max_output_tokens:
        finish = FinishReason.LENGTH
    return Completion(text, finish, usage, reasoning_beside=reasoning_beside)


def _are_usual(body: dict[str, Any]) -> bool:
    return (
        _holds_only(body, _TOP)
        and isinstance(body.get("created", 0), int)
        and all(_is_text(body.get(name)) for name in _TEXTS)
    )


def _text(message: object) -> str | None:
    """Return the text of a message that is nothing but text."""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return None
    text = message.get("content")
    if not isinstance(text, str) or not _is_encodable(text):
        return None
    if not _holds_only(message, ("content", "role")):
        return None
    is_usual = len(text) <= MAX_ANSWER_CHARS and _OPENS_THOUGHTS not in text and text.strip()
    return text if is_usual else None


def _is_usual_usage(usage: object) -> bool:
    if not isinstance(usage, dict) or not usage.keys() >= _COUNTS:
        return False
    for name, value in usage.items():
        if name in _DETAILS:
            known = _DETAILS[name]
            if value is not None and not (
                isinstance(value, dict)
                and value.keys() <= known
                and all(_is_count(count) for count in value.values())
            ):
                return False
        elif name not in _COUNTS or not _is_count(value):
            return False
    return True


def _holds_only(found: dict[str, Any], names: Iterable[str]) -> bool:
    """Return whether everything beside these names is empty."""
    return not any(found[name] for name in found.keys() - names)


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
