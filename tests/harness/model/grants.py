"""Grants: where credits are, who is spent first, and where unused ones go."""

from __future__ import annotations

from dataclasses import dataclass, field

PARTS = ("available", "reserved", "charged", "expired", "voided")


@dataclass(eq=False)
class Grant:
    """One grant. ``expires`` and ``voided_at`` are instants, or ``None`` for never."""

    number: int
    kind: str
    priority: int
    expires: int | None
    created: int
    amount: int
    available: int = 0
    reserved: int = 0
    charged: int = 0
    expired: int = 0
    voided: int = 0
    voided_at: int | None = None

    def burn_order(self) -> tuple[int, bool, int, int, int]:
        never = self.expires is None
        return (self.priority, never, self.expires or 0, self.created, self.number)

    def has_expired(self, at: int) -> bool:
        return self.expires is not None and self.expires <= at

    def home(self, at: int) -> str:
        """The part that unused credits go to: whatever ended the grant first takes them."""
        if self.voided_at is not None and not self.has_expired(self.voided_at):
            return "voided"
        return "expired" if self.has_expired(at) else "available"

    def move(self, source: str, target: str, amount: int) -> None:
        setattr(self, source, getattr(self, source) - amount)
        setattr(self, target, getattr(self, target) + amount)
        assert getattr(self, source) >= 0


Slices = list[tuple[Grant, int]]


@dataclass
class Purse:
    """All grants of the account."""

    grants: list[Grant] = field(default_factory=list)

    @property
    def granted(self) -> int:
        return sum(grant.amount for grant in self.grants)

    @property
    def available(self) -> int:
        return sum(grant.available for grant in self.grants)

    @property
    def left(self) -> int:
        """What alerts look at: it falls only by charges, expiry and voids."""
        return sum(grant.available + grant.reserved for grant in self.grants)

    def coming_home(self, at: int) -> int:
        """What open reservations hold of grants neither expired nor voided."""
        return sum(grant.reserved for grant in self.grants if grant.home(at) == "available")

    def add(self, kind: str, amount: int, priority: int, expires: int | None, at: int) -> Grant:
        number = len(self.grants) + 1
        grant = Grant(number, kind, priority, expires, at, amount, available=amount)
        self.grants.append(grant)
        self.expire(at)
        return grant

    def take(self, amount: int, target: str) -> tuple[Slices, int]:
        """Take from what is available, in burn order; return the slices and what was missing."""
        slices = []
        for grant in sorted(self.grants, key=Grant.burn_order):
            part = min(amount, grant.available)
            if part:
                grant.move("available", target, part)
                slices.append((grant, part))
                amount -= part
        return slices, amount

    def end(self, slices: Slices, charge: int, at: int) -> int:
        """Charge the slices in their order, send the rest home; return what stays unpaid."""
        for grant, amount in slices:
            paid = min(charge, amount)
            charge -= paid
            grant.move("reserved", "charged", paid)
            grant.move("reserved", grant.home(at), amount - paid)
        return charge

    def expire(self, at: int) -> int:
        """End grants whose time has come; return how much that was."""
        due = [grant for grant in self.grants if grant.has_expired(at)]
        amount = sum(grant.available for grant in due)
        for grant in due:
            grant.move("available", "expired", grant.available)
        return amount

    def void(self, grant: Grant, at: int) -> int:
        """Take back what is left of one grant; return how much that was."""
        amount = grant.available
        grant.move("available", "voided", amount)
        if grant.voided_at is None:
            grant.voided_at = at
        return amount
