"""Finds the text of an answer in a message as LiteLLM returns it."""

from __future__ import annotations

import json
from typing import Any

from providers.base import MAX_ANSWER_CHARS


def text_of(message: Any, *, finished: bool) -> tuple[str, bool]:
    """Return the text of an answer, and whether the model's thoughts were taken off before it.

    A text of more than ``MAX_ANSWER_CHARS`` characters is cut to one more: nobody reads it, but
    the model ran, and it is paid for.

    Args:
        message: the message of a choice.
        finished: true if the model stopped by itself, not at a limit.
    """
    text = str(message.content or "")
    thoughts: Any = getattr(message, "reasoning_content", None)
    if not text and getattr(message, "tool_calls", None):
        # Some models are made to answer in a form by a forced tool call.
        text = message.tool_calls[0].function.arguments or ""
    if not text.strip() and finished and _is_object(thoughts):
        # Some servers take an answer in a form for thoughts.
        text, thoughts = thoughts, None
    return text[: MAX_ANSWER_CHARS + 1], bool(thoughts)


def joined(parts: list[Any]) -> str:
    """Return the text of a message's parts, of those that are text and no thoughts.

    LiteLLM can't read a message in parts.
    """
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return "".join(
        part["text"]
        for part in parts
        if isinstance(part, dict)
        and part.get("type") in ("text", "output_text")
        and isinstance(part.get("text"), str)
    )


def _is_object(text: Any) -> bool:
    """Return whether a text is one JSON object as a whole."""
    if not isinstance(text, str) or len(text) > MAX_ANSWER_CHARS or text.strip()[:1] != "{":
        return False
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True
