"""The ledger's rules once more, as plainly as they can be said: the tests' second opinion."""

from __future__ import annotations

from dataclasses import dataclass, field

PARTS = ("available", "reserved", "charged", "expired")


@dataclass
class Grant:
    number: int
    priority: int
    expires: int | None
    created: int
    amount: int
    available: int = 0
    reserved: int = 0
    charged: int = 0
    expired: int = 0

    def burn_order(self) -> tuple[int, bool, int, int, int]:
        never = self.expires is None
        return (self.priority, never, self.expires or 0, self.created, self.number)

    def has_expired(self, at: int) -> bool:
        return self.expires is not None and self.expires <= at

    def move(self, source: str, target: str, amount: int) -> None:
        setattr(self, source, getattr(self, source) - amount)
        setattr(self, target, getattr(self, target) + amount)
        assert getattr(self, source) >= 0


@dataclass
class Reservation:
    attempt: str
    amount: int
    reserved_at: int
    deadline: int
    slices: list[tuple[Grant, int]]


@dataclass
class Outcome:
    state: str
    attempt: str
    charged: int
    overage: int
    until: int
    bytes: bytes = b""
    exposed: set[str] = field(default_factory=set)


@dataclass
class Execution:
    open: Reservation | None = None
    expired_attempts: set[str] = field(default_factory=set)
    forget_at: int = 0
    outcome: Outcome | None = None


@dataclass
class Model:
    now: int
    horizon: int
    grants: list[Grant] = field(default_factory=list)
    executions: dict[str, Execution] = field(default_factory=dict)
    overage: int = 0
    exposure: int = 0

    # Time

    def set_clock(self, now: int) -> list[str]:
        """Move on; return the executions whose outcome has reached its horizon."""
        self.now = now
        while due := [
            e.open for e in self.executions.values() if e.open and e.open.deadline <= now
        ]:
            first = min(due, key=lambda reservation: reservation.deadline)
            self._expire_grants(first.deadline)
            (execution,) = [e for e in self.executions.values() if e.open is first]
            self._send_home(first, first.deadline)
            execution.open = None
            execution.expired_attempts.add(first.attempt)
            execution.forget_at = first.reserved_at + self.horizon
        self._expire_grants(now)
        forgotten = []
        for execution_id, execution in self.executions.items():
            if execution.open is None and execution.forget_at <= now:
                execution.expired_attempts.clear()
            if execution.outcome and execution.outcome.until <= now:
                execution.outcome = None
                forgotten.append(execution_id)
        return forgotten

    def _expire_grants(self, at: int) -> None:
        for grant in self.grants:
            if grant.has_expired(at):
                grant.move("available", "expired", grant.available)

    def _send_home(self, reservation: Reservation, at: int) -> None:
        for grant, amount in reservation.slices:
            grant.move("reserved", "expired" if grant.has_expired(at) else "available", amount)

    # Verbs: each returns what the ledger is to answer, as a tuple

    def grant(self, amount: int, priority: int, expires: int | None) -> None:
        grant = Grant(len(self.grants) + 1, priority, expires, self.now, amount, available=amount)
        self.grants.append(grant)
        self._expire_grants(self.now)

    def reserve(self, execution_id: str, attempt: str, amount: int, ttl: int) -> tuple[object, ...]:
        execution = self.executions.setdefault(execution_id, Execution())
        if execution.outcome:
            return self._existing(execution.outcome)
        if execution.open:
            if execution.open.attempt != attempt:
                return ("in_progress", execution.open.deadline - self.now)
            reservation = execution.open
            return (
                "reserved",
                reservation.amount,
                self.available,
                reservation.reserved_at,
                reservation.deadline - self.now,
            )
        home = sum(g.reserved for g in self.grants if not g.has_expired(self.now))
        if amount > self.available:
            if amount <= self.available + home:
                return ("refused", "credits_reserved_elsewhere", self.available, home)
            if self.available + home > 0:
                return ("refused", "execution_too_large", self.available, home)
            return ("refused", "insufficient_credits", self.available, home)
        slices, _ = self._take(amount, "reserved")
        execution.open = Reservation(attempt, amount, self.now, self.now + ttl, slices)
        execution.expired_attempts.discard(attempt)
        return ("reserved", amount, self.available, self.now, ttl)

    def settle(
        self, execution_id: str, attempt: str, cost: int, reserved: int, reserved_at: int
    ) -> tuple[object, ...]:
        execution = self.executions.setdefault(execution_id, Execution())
        outcome = execution.outcome
        flags = {"quote_exceeded"} if cost > reserved else set()
        if outcome:
            if outcome.attempt == attempt and outcome.state == "settled":
                return ("settled", outcome.charged, outcome.overage, self.available, flags)
            self._expose_loser(outcome, attempt, cost)
            return self._existing(outcome)
        if reserved_at + self.horizon <= self.now:
            return ("dead",)
        unpaid = cost
        if execution.open and execution.open.attempt == attempt:
            for grant, amount in execution.open.slices:
                paid = min(unpaid, amount)
                unpaid -= paid
                grant.move("reserved", "charged", paid)
                gone = grant.has_expired(self.now)
                grant.move("reserved", "expired" if gone else "available", amount - paid)
        else:
            flags.add("late" if attempt in execution.expired_attempts else "orphan")
            if execution.open:
                self._send_home(execution.open, self.now)
        _, overage = self._take(unpaid, "charged")
        self.overage += overage
        self.executions[execution_id] = Execution(
            outcome=Outcome("settled", attempt, cost - overage, overage, self.now + self.horizon)
        )
        return ("settled", cost - overage, overage, self.available, flags)

    def release(
        self, execution_id: str, attempt: str, exposure: int, store: bool
    ) -> tuple[object, ...]:
        execution = self.executions.setdefault(execution_id, Execution())
        outcome = execution.outcome
        if outcome:
            if outcome.attempt == attempt and outcome.state == "released":
                return ("released", self.available, True)
            if exposure:
                self._expose_loser(outcome, attempt, exposure)
            return self._existing(outcome)
        mine = execution.open is not None and execution.open.attempt == attempt
        late = attempt in execution.expired_attempts
        if mine or (store and not execution.open):
            if execution.open:
                self._send_home(execution.open, self.now)
                execution.forget_at = execution.open.reserved_at + self.horizon
                execution.open = None
            self.exposure += exposure
            if store:
                until = self.now + self.horizon
                self.executions[execution_id] = Execution(
                    outcome=Outcome("released", attempt, 0, 0, until)
                )
            return ("released", self.available, True)
        if late:
            execution.expired_attempts.discard(attempt)
            self.exposure += exposure
        return ("released", self.available, False)

    def conclude(self, execution_id: str, attempt: str) -> tuple[object, ...]:
        execution = self.executions.setdefault(execution_id, Execution())
        outcome = execution.outcome
        if outcome:
            if outcome.attempt == attempt and outcome.state == "refused":
                return ("concluded",)
            return self._existing(outcome)
        if execution.open:
            return ("in_progress", execution.open.deadline - self.now)
        execution.outcome = Outcome("refused", attempt, 0, 0, self.now + self.horizon)
        return ("concluded",)

    # Parts

    @property
    def available(self) -> int:
        return sum(grant.available for grant in self.grants)

    def _take(self, amount: int, target: str) -> tuple[list[tuple[Grant, int]], int]:
        slices = []
        for grant in sorted(self.grants, key=Grant.burn_order):
            part = min(amount, grant.available)
            if part:
                grant.move("available", target, part)
                slices.append((grant, part))
                amount -= part
        return slices, amount

    def _expose_loser(self, outcome: Outcome, attempt: str, exposure: int) -> None:
        if attempt not in outcome.exposed:
            outcome.exposed.add(attempt)
            self.exposure += exposure

    @staticmethod
    def _existing(outcome: Outcome) -> tuple[object, ...]:
        return ("existing", outcome.state, outcome.charged, outcome.overage)
