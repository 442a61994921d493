"""The verbs about executions: who set what aside, and what became of it."""

from __future__ import annotations

from tests.harness.model.account import AccountVerbs
from tests.harness.model.books import MAX_MC, Choices, Settlement
from tests.harness.model.caps import Cap, CapName, Note
from tests.harness.model.executions import Execution, Expired, Identity, Outcome, Reservation
from tests.harness.model.references import Answer

MAY_PASS = {"switched_off", "credits_reserved_elsewhere"}
"""Refusals that are never an outcome: the id may be asked again."""


class Model(AccountVerbs):
    """One account, all of it."""

    def reserve(
        self,
        execution_id: str,
        attempt: str,
        identity: Identity,
        amount: int,
        ttl: int,
        final: bool = False,
        body: bytes = b"",
    ) -> Answer:
        execution = self._execution(execution_id, identity)
        if conflict := execution.identity.differs_in(identity):
            return ("execution_conflict", conflict)
        if execution.outcome:
            return _existing(execution.outcome)
        if execution.open and execution.open.attempt != attempt:
            return ("in_progress", execution.open.deadline - self.now)
        if execution.open is None:
            if refusal := self._refusal(identity, amount):
                reason = str(refusal[1])
                if final and reason not in MAY_PASS:
                    self._conclude(execution, attempt, "refused", reason=reason, body=body)
                    if reason == "cap_reached":
                        self._tell_of_refusal(identity, amount)
                return refusal
            self._set_aside(execution, attempt, amount, ttl)
        reservation = execution.open
        assert reservation
        expires_in = reservation.deadline - self.now
        available = self.purse.available
        return ("reserved", reservation.amount, available, reservation.reserved_at, expires_in)

    def _refusal(self, identity: Identity, amount: int) -> Answer | None:
        available, home = self.purse.available, 0
        reason, cap, may_clear = "", None, False
        if self.state == "closed":
            reason = "account_closed"
        elif not self.rules.plans[self.plan]:
            reason = "plan_not_eligible"
        elif self._is_switched_off(identity):
            reason = "switched_off"
        elif cap := self._refusing(identity, amount):
            reason, may_clear = "cap_reached", cap.lets_pass_later(amount, self.moment)
        elif amount <= available:
            return None
        elif amount <= available + (home := self.purse.coming_home(self.now)):
            reason, may_clear = "credits_reserved_elsewhere", True
        elif available + home > 0:
            reason = "execution_too_large"
        else:
            reason = "insufficient_credits"
        return ("refused", reason, available, home, cap and cap.status(self.moment), may_clear)

    def _tell_of_refusal(self, identity: Identity, amount: int) -> None:
        cap = self._refusing(identity, amount)
        assert cap
        self._tell_of_caps(self.caps.refused(cap, self.moment))

    def _refusing(self, identity: Identity, amount: int) -> Cap | None:
        """The cap that refuses, of those that are there and those that new names begin with."""
        for dimension, window, limit in self.rules.default_caps if amount else ():
            name = str(getattr(identity, dimension))
            cap = CapName(window)._replace(**{dimension: name})
            if cap not in self.caps.by_name and (dimension, name) not in self.given_caps:
                self.caps.set(cap, limit, 0, self.moment)
                self.given_caps.add((dimension, name))
                self.changed = True
        return self.caps.refusing(identity, amount, self.moment)

    def _is_switched_off(self, identity: Identity) -> bool:
        targets = {
            "account",
            f"workspace {identity.workspace_id}",
            f"campaign {identity.campaign_id}",
            f"action {identity.action}",
        }
        return not targets.isdisjoint(self.switched_off)

    def _set_aside(self, execution: Execution, attempt: str, amount: int, ttl: int) -> None:
        slices, _ = self.purse.take(amount, "reserved")
        # Where nothing is reserved there is nothing to note: a cost counts where it is charged.
        notes = self.caps.begin_windows(execution.identity, self.moment) if amount else None
        for counter in notes or ():
            counter.reserved += amount
        deadline = self.now + ttl
        execution.open = Reservation(attempt, amount, self.now, deadline, slices, notes)
        execution.expired_attempts.pop(attempt, None)
        self.changed = True

    def settle(
        self,
        execution_id: str,
        attempt: str,
        identity: Identity,
        cost: int,
        reserved: int,
        reserved_at: int,
        exposure: int = 0,
        free: int = 0,
        reason: str = "",
        choices: Choices = (),
        body: bytes = b"",
    ) -> Answer:
        execution = self._execution(execution_id, identity)
        if conflict := execution.identity.differs_in(identity):
            return ("execution_conflict", conflict)
        flags = {"quote_exceeded"} if cost > reserved else set()
        outcome = execution.outcome
        if outcome and outcome.attempt == attempt and outcome.state == "settled":
            said = flags | outcome.found
            return ("settled", outcome.charged, outcome.overage, self.purse.available, said)
        if outcome:
            self._expose_loser(outcome, attempt, cost + exposure)
            return _existing(outcome)
        if reserved_at + self.rules.horizon <= self.now:
            return ("dead",)

        unpaid, found = cost, set[str]()
        expired = execution.expired_attempts.get(attempt)
        noted = expired.notes if expired else None
        if execution.open and execution.runs(attempt):
            noted = execution.open.notes
            unpaid = self._give_back(execution, self.now, charge=cost)
        else:
            found = {"late" if expired else "orphan"}
            if execution.open:
                self._give_back(execution, self.now)
        _, overage = self.purse.take(unpaid, "charged")
        charged = cost - overage
        if noted is None:
            noted = self.caps.begin_windows(identity, self.moment)
        for counter in noted:
            counter.charged = min(MAX_MC, counter.charged + min(MAX_MC, charged + free))
        self._look_at_caps(self.caps.matching(identity))
        self.overage += overage
        self._expose(exposure - execution.booked_for(attempt))
        self._conclude(execution, attempt, "settled", charged, overage, body=body)
        told = (reason, choices) if self.schema > 1 else ("", ())
        self.settlements.append(Settlement(self.schema, free, *told))
        assert execution.outcome
        execution.outcome.found = frozenset(found)
        return ("settled", charged, overage, self.purse.available, flags | found)

    def release(
        self,
        execution_id: str,
        attempt: str,
        identity: Identity,
        reason: str,
        exposure: int = 0,
        body: bytes | None = None,
    ) -> Answer:
        execution = self._execution(execution_id, identity)
        if conflict := execution.identity.differs_in(identity):
            return ("execution_conflict", conflict)
        outcome = execution.outcome
        if outcome and outcome.attempt == attempt and outcome.state == "released":
            return ("released", self.purse.available, True)
        if outcome:
            self._expose_loser(outcome, attempt, exposure)
            return _existing(outcome)
        if execution.runs(attempt) or (body is not None and not execution.open):
            noted = None
            if execution.open:
                noted = execution.open.notes
                self._give_back(execution, self.now)
            self._expose(exposure - execution.booked_for(attempt))
            if body is not None:
                self._conclude(execution, attempt, "released", reason=reason, body=body)
            else:
                self._remember(execution, attempt, exposure, noted)
            return ("released", self.purse.available, True)
        if exposure != execution.booked_for(attempt):
            # Nothing is left to give back, but what the call may have cost is known now.
            self._expose(exposure - execution.booked_for(attempt))
            expired = execution.expired_attempts.get(attempt)
            if not execution.is_known:
                execution.forget_at = self.now + self.rules.horizon
            self._remember(execution, attempt, exposure, expired.notes if expired else None)
            self.changed = True
        return ("released", self.purse.available, False)

    def conclude(
        self, execution_id: str, attempt: str, identity: Identity, reason: str, body: bytes = b""
    ) -> Answer:
        execution = self._execution(execution_id, identity)
        if conflict := execution.identity.differs_in(identity):
            return ("execution_conflict", conflict)
        outcome = execution.outcome
        if outcome and outcome.attempt == attempt and outcome.state == "refused":
            return ("concluded",)
        if outcome:
            return _existing(outcome)
        if execution.open:
            return ("in_progress", execution.open.deadline - self.now)
        self._conclude(execution, attempt, "refused", reason=reason, body=body)
        return ("concluded",)

    def _execution(self, execution_id: str, identity: Identity) -> Execution:
        """What is known of the id; who comes first says what it stands for."""
        execution = self.executions.get(execution_id)
        if execution is None or not execution.is_known:
            execution = self.executions[execution_id] = Execution(identity)
        return execution

    def _conclude(
        self,
        execution: Execution,
        attempt: str,
        state: str,
        charged: int = 0,
        overage: int = 0,
        reason: str | None = None,
        body: bytes = b"",
    ) -> None:
        until = self.now + self.rules.horizon
        others = {
            other: expired.booked
            for other, expired in execution.expired_attempts.items()
            if expired.booked and (other != attempt or state == "refused")
        }
        execution.outcome = Outcome(state, attempt, until, charged, overage, reason, body, others)
        self.changed = True
        if state == "refused":
            self._watch_for_exhaustion(reason)
        else:
            execution.expired_attempts.clear()

    def _watch_for_exhaustion(self, reason: str | None) -> None:
        if self.state == "open" and self.purse.granted and reason:
            self.alarms.refused(reason, self.purse.left, self.now)

    def _remember(
        self, execution: Execution, attempt: str, booked: int, notes: list[Note] | None
    ) -> None:
        """An attempt that left no outcome is remembered if its call may be billed."""
        if not booked:
            execution.expired_attempts.pop(attempt, None)
            return
        execution.expired_attempts[attempt] = Expired(booked, notes)

    def _expose_loser(self, outcome: Outcome, attempt: str, amount: int) -> None:
        """What a call cost whose execution had ended otherwise is booked once."""
        booked = outcome.exposed.get(attempt)
        if booked or (booked is None and amount):
            outcome.exposed[attempt] = 0
            self._expose(min(MAX_MC, amount) - (booked or 0))
            self.changed = True


def _existing(outcome: Outcome) -> Answer:
    words = (outcome.state, outcome.charged, outcome.overage, outcome.reason, outcome.body)
    return ("existing", *words)
