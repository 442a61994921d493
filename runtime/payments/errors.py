"""The errors of payments."""

from __future__ import annotations

from pricing.errors import CreditgateError


class PaymentError(CreditgateError):
    """Anything that is refused about payments."""


class PaymentUnknown(PaymentError):
    """The account has no such payment."""

    def __init__(self, account_id: str, payment_id: str) -> None:
        super().__init__(f"account {account_id!r} has no payment {payment_id!r}")


class PaymentsUnavailable(PaymentError):
    """The payment provider can't be reached, or does not take what it is asked."""


class SignatureRefused(PaymentError):
    """An event is not signed by the payment provider, or was signed too long ago."""


class EventUnreadable(PaymentError):
    """A signed event is not what the payment provider sends."""
