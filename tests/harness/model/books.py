"""One account's books, its scripts, and what time ends by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from tests.harness.model.alarms import Alarms
from tests.harness.model.caps import Caps, Moment
from tests.harness.model.executions import Execution, Expired
from tests.harness.model.grants import Purse
from tests.harness.model.references import Answer, References

Call = Callable[[], Answer]
MAX_MC = 2**53 - 1
Marks = tuple[tuple[str, ...], tuple[int, ...]]
"""Alert marks of what is left, and of caps in per cent."""
Choices = tuple[tuple[int, int], ...]


class Settlement(NamedTuple):
    """What the journal tells of a settlement beside credits, by the account's schema."""

    schema: int
    free: int
    reason: str
    choices: Choices


@dataclass(frozen=True)
class Rules:
    """What is configured: the horizon, the plans that may use credits, alerts, and caps.

    ``default_caps`` are those that each new name begins with, as dimension, window and limit.
    """

    horizon: int
    plans: Mapping[str, bool]
    marks: tuple[str, ...] = ("p20",)
    cap_marks: tuple[int, ...] = ()
    cooldown: int = 3_600_000
    default_caps: tuple[tuple[str, str, int], ...] = ()


@dataclass
class Books:
    """All that is known of an account.

    ``clock`` is the server's, ``now`` what a script goes by, ``last`` when one wrote last.
    ``changed`` says whether the last script wrote anything.
    """

    rules: Rules
    clock: int
    plan: str
    timezone: str = "UTC"
    schema: int = 2
    own_marks: Marks | None = None
    state: str = "open"
    last: int = 0
    now: int = 0
    changed: bool = True
    purse: Purse = field(default_factory=Purse)
    executions: dict[str, Execution] = field(default_factory=dict)
    caps: Caps = field(default_factory=Caps)
    given_caps: set[tuple[str, str]] = field(default_factory=set)
    switched_off: set[str] = field(default_factory=set)
    references: References = field(default_factory=References)
    overage: int = 0
    exposure: int = 0
    settlements: list[Settlement] = field(default_factory=list)
    alerts: list[tuple[str, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = self.now = self.last or self.clock
        low, self.caps.marks = self.own_marks or (self.rules.marks, self.rules.cap_marks)
        self.alarms = Alarms(low, self.rules.cooldown, self._tell)

    # Scripts and time

    def script(self, *calls: Call) -> list[Answer]:
        """One atomic script: what time has ended, then the calls, one after another."""
        self.now = max(self.clock, self.last)
        self.changed = False
        with self._watching_what_is_left():
            self._end_what_is_due()
        answers = []
        for call in calls:
            with self._watching_what_is_left():
                answers.append(call())
        if self.changed:
            self.last = self.now
        return answers

    def sweep(self) -> Answer:
        """A sweeper's visit notes its time, even where nothing was due."""
        self.changed = True
        return ("swept",)

    @property
    def moment(self) -> Moment:
        """What windows of caps go by."""
        return Moment(self.now, self.timezone)

    @property
    def records(self) -> int:
        """How many executions run, or have run out of time and are still known."""
        return sum(bool(e.open or e.expired_attempts) for e in self.executions.values())

    def next_due(self) -> int | None:
        """When a sweeper is wanted next."""
        known = self.executions.values()
        instants = [e.open.deadline for e in known if e.open]
        instants += [e.forget_at for e in known if e.expired_attempts and not e.open]
        instants += [g.expires for g in self.purse.grants if g.available and g.expires]
        if self.state == "open":
            instants += self.alarms.when_pending_may_be_told()
        return min(instants, default=None)

    def look(self) -> Self:
        """The books as reading finds them: what is due has ended, and nothing is written."""
        running = {name: e for name, e in self.executions.items() if e.open}
        seen = deepcopy(replace(self, executions=running, references=References(), alerts=[]))
        seen.script()
        return seen

    @contextmanager
    def _watching_what_is_left(self) -> Iterator[None]:
        before = self.purse.left
        yield
        if self.state == "open":
            self.alarms.fell(before, self.purse.left, self.now)
            if self.alarms.tell_pending(self.purse.left, self.now):
                self.changed = True

    def _tell(self, mark: str, threshold: int, left: int) -> None:
        self.alerts.append((mark, threshold, left, self.now))

    def _tell_of_caps(self, told: list[tuple[str, int]]) -> None:
        for mark, threshold in told:
            self._tell(mark, threshold, self.purse.left)

    def _end_what_is_due(self) -> None:
        while due := [e for e in self.executions.values() if self._is_due(e)]:
            self._expire(min(due, key=Execution.deadline))
        if self.purse.expire(self.now):
            self.changed = True
        for execution in self.executions.values():
            if execution.may_be_forgotten(self.now):
                execution.expired_attempts.clear()
                self.changed = True

    def _is_due(self, execution: Execution) -> bool:
        return execution.open is not None and execution.open.deadline <= self.now

    def _expire(self, execution: Execution) -> None:
        reservation = execution.open
        assert reservation
        self.purse.expire(reservation.deadline)
        self._give_back(execution, reservation.deadline)
        expired = Expired(reservation.amount, reservation.notes)
        execution.expired_attempts[reservation.attempt] = expired
        self._expose(reservation.amount)

    def _expose(self, amount: int) -> None:
        """What the operator may owe stops at the largest amount; a correction is negative."""
        self.exposure = max(0, min(MAX_MC, self.exposure + amount))

    def _give_back(self, execution: Execution, at: int, charge: int = 0) -> int:
        """End the open reservation; return what of ``charge`` its slices did not pay."""
        reservation = execution.open
        assert reservation
        unpaid = self.purse.end(reservation.slices, charge, at)
        for counter in reservation.notes or ():
            counter.reserved -= reservation.amount
        execution.open = None
        execution.forget_at = reservation.reserved_at + self.rules.horizon
        self.changed = True
        return unpaid

    def forget_outcomes(self) -> list[str]:
        """The executions whose outcome has reached its horizon: Redis forgets them by itself."""
        now = max(self.clock, self.last)
        forgotten = []
        for execution_id, execution in self.executions.items():
            if execution.outcome and execution.outcome.until <= now:
                execution.outcome = None
                forgotten.append(execution_id)
        return forgotten
