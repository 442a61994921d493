"""What is known of an execution: its open reservation, those that expired, its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.harness.model.caps import Note
from tests.harness.model.grants import Slices


class Identity(NamedTuple):
    """What an id stands for. The names are those that a conflict reports, first one first."""

    workspace_id: str
    campaign_id: str
    action: str
    person_id: str
    source: str

    def differs_in(self, other: Identity) -> str | None:
        """The first field that has another value there."""
        for name, mine, theirs in zip(self._fields, self, other, strict=True):
            if mine != theirs:
                return name
        return None


@dataclass(eq=False)
class Reservation:
    """Credits set aside for one attempt.

    ``notes`` say which windows of which caps know of it, ``None`` that none was asked.
    """

    attempt: str
    amount: int
    reserved_at: int
    deadline: int
    slices: Slices
    notes: list[Note] | None


@dataclass(frozen=True)
class Expired:
    """An attempt that ended without an outcome, and may still be heard of.

    ``booked`` is the exposure that was booked for it, ``notes`` are its reservation's.
    """

    booked: int
    notes: list[Note] | None = None


@dataclass(eq=False)
class Outcome:
    """How it ended. ``found`` is what its settlement was found to be: late, or an orphan.

    ``exposed`` are other attempts with the exposure booked as they expired, which their own ending
    corrects; 0 for those that have ended.
    """

    state: str
    attempt: str
    until: int
    charged: int = 0
    overage: int = 0
    reason: str | None = None
    body: bytes = b""
    exposed: dict[str, int] = field(default_factory=dict)
    found: frozenset[str] = frozenset()


@dataclass(eq=False)
class Execution:
    """What was said and done under one id."""

    identity: Identity
    open: Reservation | None = None
    expired_attempts: dict[str, Expired] = field(default_factory=dict)
    forget_at: int = 0
    outcome: Outcome | None = None

    @property
    def is_known(self) -> bool:
        return bool(self.open or self.expired_attempts or self.outcome)

    def deadline(self) -> int:
        assert self.open
        return self.open.deadline

    def may_be_forgotten(self, at: int) -> bool:
        """Whether what expired is beyond the horizon."""
        return bool(self.expired_attempts and not self.open and self.forget_at <= at)

    def booked_for(self, attempt: str) -> int:
        """The exposure that was booked as it expired, or ended without an outcome."""
        expired = self.expired_attempts.get(attempt)
        return expired.booked if expired else 0

    def runs(self, attempt: str) -> bool:
        return self.open is not None and self.open.attempt == attempt
