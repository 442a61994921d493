"""The errors of a provider call, by what is certain about it.

ProviderError
├── NotSent             the provider never saw the request
├── Rejected            the provider answered that it did not run the model
└── PossiblyExecuted    the model may have run, and the provider may bill it
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pricing.errors import CreditgateError


class FailureKind(StrEnum):
    """The kind of a failure; its fallback reason is ``provider_<kind>``."""

    REJECTED = "rejected"
    RATE_LIMITED = "rate_limited"
    ERROR = "error"
    TIMEOUT = "timeout"


class Refusal(StrEnum):
    """The thing that a provider refuses whatever the request says."""

    KEY = "key"
    MODEL = "model"


_REFUSALS = {401: Refusal.KEY, 403: Refusal.KEY, 404: Refusal.MODEL}


@dataclass(frozen=True, slots=True)
class _Unmasked:
    """A text that does not show itself to whoever prints an error with its attributes."""

    text: str | None = field(repr=False)


class ProviderError(CreditgateError):
    """A provider call without an answer.

    The message is safe to show: it never holds a key, a prompt or an answer.

    Args:
        kind: the kind of the failure.
        message: one line for people, without secrets or personal data.
        status: the provider's HTTP status, if it answered with one.
        retryable: true if another attempt could help.
        retry_after_ms: the time that the provider asked to wait, if it did.
        content_at_fault: true if another request, to the same model with the same key, may be
            answered: the provider objects to what this one says.
        provider_text: what the provider wrote, as it came. It may quote the key and the prompt:
            it is for whoever masks it, and not part of the message.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        retry_after_ms: int | None = None,
        content_at_fault: bool = False,
        provider_text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.content_at_fault = content_at_fault
        self._unmasked = _Unmasked(provider_text)

    @property
    def provider_text(self) -> str | None:
        """The text that the provider wrote, not masked; ``None`` if there is none."""
        return self._unmasked.text

    @property
    def refusal(self) -> Refusal | None:
        """The refused thing: the key (401, 403) or the model (404); ``None`` for other errors."""
        if self.kind is not FailureKind.REJECTED or self.content_at_fault or self.status is None:
            return None
        return _REFUSALS.get(self.status)


class NotSent(ProviderError):
    """The request never reached the provider: nothing can have been executed or billed."""


class Rejected(ProviderError):
    """The provider answered with an error that says it ran nothing (4xx, 429, 503)."""


class PossiblyExecuted(ProviderError):
    """The model may have run: the provider may bill a call that has no answer."""
