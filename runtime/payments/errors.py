"""The errors of payments."""

from __future__ import annotations

from pricing.errors import CreditgateError


class PaymentError(CreditgateError):
    """Anything that is refused about payments."""


class PaymentUnknown(PaymentError):
    """The account has no such payment, or nobody has."""

    def __init__(self, account_id: str | None, payment_id: str) -> None:
        whose = "there is" if account_id is None else f"account {account_id!r} has"
        super().__init__(f"{whose} no payment {payment_id!r}")


class PaymentsUnavailable(PaymentError):
    """The payment provider can't be reached, or does not take what it is asked."""


class SignatureRefused(PaymentError):
    """An event is not signed by the payment provider, or was signed too long ago."""


class EventUnreadable(PaymentError):
    """A signed event is not what the payment provider sends."""
