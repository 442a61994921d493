"""A guard before LiteLLM: a provider's answer is small enough to build, and has a usage to read."""

from __future__ import annotations

import json
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

_READ = frozenset(
    ("content", "function_call", "reasoning", "reasoning_content", "refusal", "role", "tool_calls")
)
"""The parts of a message that are read, in the form of OpenAI."""


class UnreadableAnswer(Exception):
    """An answer that is no JSON object, or one that is larger or deeper than any model's."""


def prepared(content: bytes) -> bytes:
    """Return an answer as LiteLLM may read it: in one text, with an empty usage where it has none.

    LiteLLM raises without a usage for Anthropic and Gemini, and the answer would be lost, though
    the model ran and is billed. It reads an empty one as zeros, which mean the same to us: unknown.

    Raises:
        UnreadableAnswer: LiteLLM can't read it, or it would take too long.
    """
    openings = content.count(b"[") + content.count(b"{")
    marks = openings + content.count(b",")
    if marks > MAX_MARKS:
        raise UnreadableAnswer("the answer has too many parts")
    body = _parsed(content)
    if openings > MAX_CHOICES or marks > MAX_VALUES_OF_CHOICES:
        _check_size(body)
    if "choices" in body:
        return json.dumps(body).encode() if _tidied(body["choices"]) else content
    if body.get("type") == "message":
        name = "usage"
    elif "candidates" in body or "promptFeedback" in body:
        name = "usageMetadata"
    else:
        return content
    if isinstance(body.get(name), dict):
        return content
    body[name] = {}
    return json.dumps(body).encode()


def _parsed(content: bytes) -> dict[str, Any]:
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
