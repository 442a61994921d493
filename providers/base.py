"""The port through which models are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pricing.usage import TokenUsage

MAX_ANSWER_CHARS = 200_000
"""The longest answer that is read, thoughts included. It is some 50,000 tokens of English."""

Message = dict[str, str]
"""A chat message: ``{"role": "system" | "user", "content": text}``."""


class FinishReason(StrEnum):
    """The reason for which a model stopped."""

    STOP = "stop"
    LENGTH = "length"
    REFUSED = "refused"


class ModelRoute(StrEnum):
    """The way on which a model is called.

    ``AUTO`` is the direct one where it is proved equal: LiteLLM's translations over our own
    client. ``ACOMPLETION`` is ``litellm.acompletion``, always.
    """

    AUTO = "auto"
    ACOMPLETION = "acompletion"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a key with which models are called. ``repr`` never shows the key.

    ``proxy`` is the HTTP proxy on the way there, and may hold a password. ``ca_file`` has the
    certificates to trust instead of the public ones.
    """

    name: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One model call.

    ``litellm_model`` is LiteLLM's name with its provider prefix (``openai/gpt-4o-mini``).
    ``response_schema`` is a JSON Schema that the answer must follow, or ``None`` when the
    model has no such mode (the prompt then carries the instruction). With ``json_object`` the
    answer must be a JSON object, whose form the prompt says.
    """

    litellm_model: str
    endpoint: Endpoint
    messages: list[Message]
    max_output_tokens: int
    response_schema: dict[str, Any] | None = None
    temperature: float | None = None
    json_object: bool = False
    route: ModelRoute = ModelRoute.AUTO


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    ``usage`` is ``None`` when the provider reported none: unknown, not zero. ``after_thoughts`` is
    true if the model thought before the text, and the provider took its thoughts off.
    ``reasoning_beside`` is true if the provider bills reasoning in addition to the limit of output
    tokens that was sent.
    """

    text: str
    finish: FinishReason
    usage: TokenUsage | None
    after_thoughts: bool = False
    reasoning_beside: bool = False


class Provider(Protocol):
    """Calls one model once. Retries, deadlines and credits are the caller's."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: there is no answer; the subclass says what is certain.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
