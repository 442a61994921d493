"""The interface of a wire format that the mock provider speaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from providers.mock.answers import Answer, Asked
from providers.mock.options import AnswerKind, Failure


class UnreadableRequest(Exception):
    """A request that is answered with status 400; the message says what is wrong."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RenderFailure(Protocol):
    """A function that makes the body of an error."""

    def __call__(self, failure: Failure, message: str | None = None) -> dict[str, Any]:
        """Return the body; ``message`` replaces the usual one."""
        ...


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One provider's requests and answers.

    Args:
        paths: where requests are posted; ``{model}`` in a path is the model's name.
        key_header: the header with the API key.
        read: turns a body into an ``Asked``, or raises ``UnreadableRequest``.
        render: makes the body of an answer with the given id.
        render_failure: makes the body of an error.
        key_prefix: what precedes the key in its header.
        sends_retry_after: true if errors carry a ``Retry-After`` header.
        failures: named failures that this provider expresses by another status or as an answer.
    """

    paths: tuple[str, ...]
    key_header: str
    read: Callable[[bytes], Asked]
    render: Callable[[Asked, Answer, str], dict[str, Any]]
    render_failure: RenderFailure
    key_prefix: str = ""
    sends_retry_after: bool = True
    failures: Mapping[str, Failure | AnswerKind] = field(default_factory=dict)


def read_object(body: bytes) -> dict[str, Any]:
    """Return a request's body as a JSON object.

    Raises:
        UnreadableRequest: the body is not a JSON object.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableRequest("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise UnreadableRequest("the body must be a JSON object")
    return asked


def read_model(asked: Mapping[str, Any]) -> str:
    """Return the name in ``model``.

    Raises:
        UnreadableRequest: the field is missing, empty or not text.
    """
    model = asked.get("model")
    if not isinstance(model, str) or not model:
        raise UnreadableRequest("model: a name is required", "model")
    return model


def read_token_limit(limit: object, name: str) -> int:
    """Return a token limit.

    Raises:
        UnreadableRequest: the limit is not an integer of at least 1.
    """
    if type(limit) is not int or limit < 1:
        raise UnreadableRequest(f"{name}: found {limit!r}, must be an integer of at least 1", name)
    return limit


def read_text(content: object, where: str, name: str) -> str:
    """Return the text of a message's content: a text, or a list of text parts.

    Raises:
        UnreadableRequest: the content holds something other than text.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(str(text) for text in texts)
    raise UnreadableRequest(f"{where}: the mock provider reads only text", name)


def compact(value: object) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
