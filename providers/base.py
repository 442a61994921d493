"""The port through which models are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pricing.usage import TokenUsage

Message = dict[str, str]
"""A chat message: ``{"role": "system" | "user", "content": text}``."""


class FinishReason(StrEnum):
    """The reason for which a model stopped."""

    STOP = "stop"
    LENGTH = "length"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a key with which models are called. ``repr`` never shows the key."""

    name: str
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One model call.

    ``litellm_model`` is LiteLLM's name with its provider prefix (``openai/gpt-4o-mini``).
    ``response_schema`` is a JSON Schema that the answer must follow, or ``None`` when the
    model has no such mode (the prompt then carries the instruction).
    """

    litellm_model: str
    endpoint: Endpoint
    messages: list[Message]
    max_output_tokens: int
    response_schema: dict[str, Any] | None = None
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    Args:
        usage: ``None`` when the provider reported none: unknown, not zero.
        reasoning_beside: the provider bills reasoning beside the answer, outside the limit of
            output tokens that was sent.
    """

    text: str
    finish: FinishReason
    usage: TokenUsage | None
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
