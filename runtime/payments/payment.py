"""A payment: its states, what it is compared with, and what has to be taken back of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CURRENCY = "usd"
"""Packs have their price in US dollars (``pack.price_usd``)."""


class Kind(StrEnum):
    """The way in which a payment came about."""

    CHECKOUT = "checkout"
    TOP_UP = "top_up"


class State(StrEnum):
    """The state of a payment; docs/payments.md has what leads from one to the next."""

    CREATED = "created"
    OPEN = "open"
    PAID = "paid"
    CREDITED = "credited"
    FAILED = "failed"
    EXPIRED = "expired"
    MISMATCH = "mismatch"
    REFUNDED = "refunded"
    DISPUTED = "disputed"


UNPAID = frozenset((State.CREATED, State.OPEN, State.FAILED, State.EXPIRED))
"""States that money which arrives leads out of; also those that had given up on it."""

UNFINISHED = frozenset((State.CREATED, State.OPEN, State.PAID))
"""States in which a top-up still answers the crossing that it was made for."""

GIVEN = frozenset((State.CREDITED, State.REFUNDED, State.DISPUTED))
"""States of payments whose credits were given, or would have been."""


class Dispute(StrEnum):
    """The state of a dispute."""

    NONE = ""
    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it is stored; amounts in millicredits and cents."""

    payment_id: str
    account_id: str
    kind: Kind
    reference: str
    packs: int
    amount_mc: int
    price_cents: int
    currency: str
    keeps_method: bool
    customer_id: str | None
    method_id: str | None
    state: State
    session_id: str | None
    session_url: str | None
    intent_id: str | None
    grant_id: str | None
    refunded_cents: int
    disputed_cents: int
    dispute: Dispute
    applied_cents: int
    owed_mc: int
    created_ms: int
    updated_ms: int
    sent_ms: int | None
    checked_ms: int
    fault: str

    @property
    def ledger_reference(self) -> str:
        """The reference under which the ledger credits it, once."""
        return f"payment:{self.payment_id}"

    @property
    def back_cents(self) -> int:
        """The cents that were paid back, or are withheld by a dispute; at most the price."""
        return min(self.price_cents, self.refunded_cents + self.disputed_cents)

    @property
    def due_mc(self) -> int:
        """The credits that have to be taken back for it, rounded up."""
        return -(-self.amount_mc * self.back_cents // self.price_cents)

    @property
    def owed_cents(self) -> int:
        """The price of ``owed_mc``, rounded up."""
        return -(-self.price_cents * self.owed_mc // self.amount_mc)

    @property
    def state_of_reversal(self) -> State:
        """The state that fits what was paid back."""
        if self.disputed_cents:
            return State.DISPUTED
        return State.REFUNDED if self.back_cents >= self.price_cents else State.CREDITED


@dataclass(frozen=True, slots=True)
class Taken:
    """Money that the payment provider says it took."""

    amount_cents: object
    currency: object
    session_id: str | None = None
    intent_id: str | None = None


def mismatch(payment: Payment, taken: Taken) -> str | None:
    """Return in which way money that was taken is not the payment's; ``None`` if it is."""
    if type(taken.amount_cents) is not int or taken.amount_cents != payment.price_cents:
        return f"{taken.amount_cents!r} cents were taken, the price is {payment.price_cents}"
    if taken.currency != payment.currency:
        return f"the currency is {taken.currency!r}, not {payment.currency}"
    for name in ("session_id", "intent_id"):
        stored, found = getattr(payment, name), getattr(taken, name)
        if None not in (stored, found) and stored != found:
            return f"{name} is {found!r}, the payment has {stored!r}"
    return None
