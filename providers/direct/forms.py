"""The forms of requests and answers, prepared for all requests of an action."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from providers.base import Completion, CompletionRequest, Message
from providers.direct import openai_form
from providers.http import Headers, HttpAnswer
from providers.litellm.answers import status_of
from providers.litellm.translation import Translation


class Form(Protocol):
    """A form of requests and answers."""

    def body(self, messages: list[Message], max_output_tokens: int) -> str:
        """Return the body of a request, as JSON."""
        ...

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        """Return what an answer with status 200 says; ``None`` or any error if it is unusual."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that the requests of an action have in common. ``repr`` would show the key."""

    url: str
    headers: Headers
    form: Form

    def body(self, request: CompletionRequest) -> bytes | None:
        """Return the body of a request; ``None`` if LiteLLM has rules of its own for it."""
        if not all(message["content"].strip() for message in request.messages):
            return None
        try:
            return self.form.body(request.messages, request.max_output_tokens).encode()
        except Exception:  # noqa: BLE001 - LiteLLM says what is wrong with the request
            return None

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        """Return what an answer says; ``None`` if that is LiteLLM's to say."""
        if answer.status != 200:
            return None
        try:
            return self.form.read(answer, request)
        except Exception:  # noqa: BLE001 - LiteLLM reads it again, and says what it means
            return None


def encoder(*, escapes: bool) -> json.JSONEncoder:
    """Return an encoder of bodies.

    Args:
        escapes: true to write only ASCII, as LiteLLM's client does; OpenAI's does not.
    """
    return json.JSONEncoder(ensure_ascii=escapes, allow_nan=False, separators=(",", ":"))


class OpenAIForm:
    """OpenAI's own form: the messages, and the limit beside them.

    Args:
        constant: the rest of the body.
        limit: the name of the limit.
        messages: the messages with any content, in the roles that the model knows.
        needed: names at the top of an answer without which LiteLLM refuses it.
    """

    def __init__(
        self,
        constant: dict[str, Any],
        limit: str,
        messages: Sequence[Message],
        encoder: json.JSONEncoder,
        needed: frozenset[str] = frozenset(),
    ) -> None:
        self._needed = needed
        self._encode = encoder.encode
        self._opening = self._encode(constant).removesuffix("}")
        self._limit = self._encode(limit)
        self._messages = messages

    def body(self, messages: list[Message], max_output_tokens: int) -> str:
        """Return the body of a request, as JSON."""
        named = self._encode(
            [
                known | {"content": message["content"]}
                for known, message in zip(self._messages, messages, strict=True)
            ]
        )
        return f'{self._opening},"messages":{named},{self._limit}:{max_output_tokens}}}'

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        """Return what an answer with status 200 says; ``None`` if it is unusual."""
        return openai_form.read(answer.body, request.max_output_tokens, self._needed)


class TranslatedForm:
    """A form that LiteLLM translates into, and from."""

    def __init__(self, translation: Translation, encoder: json.JSONEncoder) -> None:
        self._translation = translation
        self._encode = encoder.encode

    def body(self, messages: list[Message], max_output_tokens: int) -> str:
        """Return the body of a request, as JSON."""
        return self._encode(self._translation.body(messages, max_output_tokens))

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        """Return what an answer with status 200 says, or raise what LiteLLM raises."""
        is_error = status_of(answer.body) != answer.status
        return None if is_error else self._translation.read(answer, request)
