"""The errors of a provider call, by what is certain about it.

ProviderError
├── NotSent             the provider never saw the request
├── Rejected            the provider answered that it did not run the model
└── PossiblyExecuted    the model may have run, and the provider may bill it
"""

from __future__ import annotations

from enum import StrEnum

from pricing.errors import CreditgateError


class FailureKind(StrEnum):
    """The kind of a failure; its fallback reason is ``provider_<kind>``."""

    REJECTED = "rejected"
    RATE_LIMITED = "rate_limited"
    ERROR = "error"
    TIMEOUT = "timeout"


class ProviderError(CreditgateError):
    """A provider call without an answer.

    The message is safe to show: it never holds a key, a prompt or an answer.

    Args:
        kind: the kind of the failure.
        message: one line for people, without secrets or personal data.
        status: the provider's HTTP status, if it answered with one.
        retryable: true if another attempt could help.
        retry_after_ms: the time that the provider asked to wait, if it did.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms


class NotSent(ProviderError):
    """The request never reached the provider: nothing can have been executed or billed."""


class Rejected(ProviderError):
    """The provider answered with an error that says it ran nothing (4xx, 429, 503)."""


class PossiblyExecuted(ProviderError):
    """The model may have run: the provider may bill a call that has no answer."""
