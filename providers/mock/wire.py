"""The interface of a wire format that the mock provider speaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from providers.mock.answers import Answer, Asked
from providers.mock.options import AnswerKind, Failure


class UnreadableRequest(Exception):
    """A request that is answered with 400; the message says what is wrong with it."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RenderFailure(Protocol):
    """Makes the body of an error."""

    def __call__(self, failure: Failure, message: str | None = None) -> dict[str, Any]:
        """Return the body; ``message`` replaces the usual one."""
        ...


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One provider's requests and answers.

    ``read`` turns a body into an ``Asked`` or raises ``UnreadableRequest``; ``render`` makes the
    body of an answer with the id given to it. A path may hold ``{model}``, where the address
    names it. ``key_header`` and ``key_prefix`` say where the key stands, ``sends_retry_after``
    whether a header says when to come back. ``failures`` are those named failures that this
    provider tells in another way: by another status, or as an answer.
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
        UnreadableRequest: it is not one.
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
        UnreadableRequest: there is none.
    """
    model = asked.get("model")
    if not isinstance(model, str) or not model:
        raise UnreadableRequest("model: a name is required", "model")
    return model


def read_token_limit(limit: object, name: str) -> int:
    """Return a limit of tokens.

    Raises:
        UnreadableRequest: it is not an integer from 1.
    """
    if type(limit) is not int or limit < 1:
        raise UnreadableRequest(f"{name}: found {limit!r}, allowed is an integer from 1", name)
    return limit


def read_text(content: object, where: str, name: str) -> str:
    """Return a message's text: itself, or that of its parts.

    Raises:
        UnreadableRequest: it holds something else.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(str(text) for text in texts)
    raise UnreadableRequest(f"{where}: only text is read", name)


def compact(value: object) -> str:
    """Return a value as the JSON that a model reads."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
