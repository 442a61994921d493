"""The verbs about the account: each is done once per reference, and said again when repeated."""

from __future__ import annotations

from collections.abc import Iterable

from tests.harness.model.books import MAX_MC, Books, Marks
from tests.harness.model.caps import Cap, CapName
from tests.harness.model.references import Answer

DEFAULT_PRIORITY = {
    "introductory": 10,
    "promotional": 20,
    "plan": 30,
    "adjustment": 40,
    "purchased": 50,
}


class AccountVerbs(Books):
    """What its owner and its operator do to an account."""

    def open_account(self, plan: str, timezone: str = "UTC") -> Answer:
        """Opening again: the account is there since the model began."""
        if plan != self.plan:
            return ("account_conflict", "plan")
        if timezone != self.timezone:
            return ("account_conflict", "timezone")
        return ("done", False)

    def upgrade(self) -> Answer:
        """From now on the journal tells more of settlements."""
        is_new = self.schema < 2
        self.schema, self.changed = 2, self.changed or is_new
        return ("upgraded", is_new)

    def grant(
        self, reference: str, kind: str, amount: int, priority: int | None, expires: int | None
    ) -> Answer:
        known = self.references.first_answer(reference, kind=kind, amount_mc=amount)
        if known and known[0] == "granted":
            return ("granted", known[1], self.purse.available, False)
        if known:
            return known
        if self.state == "closed":
            return ("grant_refused", "account_closed")
        if not self.rules.plans[self.plan]:
            return ("grant_refused", "plan_not_eligible")
        if self.purse.granted + amount > MAX_MC:
            return ("refused_outright",)
        before = self.purse.left
        rank = DEFAULT_PRIORITY[kind] if priority is None else priority
        grant = self.purse.add(kind, amount, rank, expires, self.now)
        self.alarms.rose(before, self.purse.left)
        return self._done(
            reference,
            ("granted", f"g{grant.number}", self.purse.available, True),
            kind=kind,
            amount_mc=amount,
        )

    def void(self, reference: str, grant_id: str) -> Answer:
        known = self.references.first_answer(reference, kind="void", grant_id=grant_id)
        if known and known[0] == "voided":
            return ("voided", *known[1:3], self.purse.available, False)
        if known:
            return known
        for grant in self.purse.grants:
            if f"g{grant.number}" == grant_id:
                amount = self.purse.void(grant, self.now)
                answer = ("voided", grant_id, amount, self.purse.available, True)
                return self._done(reference, answer, kind="void", grant_id=grant_id)
        return ("grant_unknown",)

    def change_plan(self, reference: str, plan: str) -> Answer:
        known = self.references.first_answer(reference, kind="plan_change", plan=plan)
        if known:
            return _again(known)
        if self.state == "closed":
            return ("account_conflict", "state")
        self.plan = plan
        return self._done(reference, ("done", True), kind="plan_change", plan=plan)

    def change_timezone(self, reference: str, timezone: str) -> Answer:
        known = self.references.first_answer(reference, kind="timezone_change", timezone=timezone)
        if known:
            return _again(known)
        if self.state == "closed":
            return ("account_conflict", "state")
        self.timezone = timezone
        return self._done(reference, ("done", True), kind="timezone_change", timezone=timezone)

    def close(self, reference: str) -> Answer:
        known = self.references.first_answer(reference, kind="close")
        if known:
            return _again(known)
        if self.state == "closed":
            return ("done", False)
        self.state = "closed"
        for grant in self.purse.grants:
            self.purse.void(grant, self.now)
        return self._done(reference, ("done", True), kind="close")

    def set_cap(self, reference: str, cap: CapName, limit: int, used: int) -> Answer:
        known = self.references.first_answer(reference, kind="cap", cap=cap, limit_mc=limit)
        if known:
            return _again(known)
        if not self.caps.has_room_for(cap):
            return ("refused_outright",)
        is_new = cap not in self.caps.by_name
        self.caps.set(cap, limit, used, self.moment)
        if not is_new:
            self._look_at_caps([self.caps.by_name[cap]])
        return self._done(reference, ("done", True), kind="cap", cap=cap, limit_mc=limit)

    def remove_cap(self, reference: str, cap: CapName) -> Answer:
        known = self.references.first_answer(reference, kind="cap", cap=cap, limit_mc="none")
        if known:
            return _again(known)
        if cap not in self.caps.by_name:
            return ("cap_unknown",)
        del self.caps.by_name[cap]
        return self._done(reference, ("done", True), kind="cap", cap=cap, limit_mc="none")

    def set_alert_marks(self, before: Marks | None, after: Marks | None) -> Answer:
        """Marks of its own, in place of the configured ones; what is known of others is dropped."""
        if self.own_marks not in (before, after):
            return ("marks", False)
        if self.own_marks != after:
            self.own_marks, self.changed = after, True
            low, self.caps.marks = after or (self.rules.marks, self.rules.cap_marks)
            self.alarms.change(low)
        return ("marks", True)

    def _look_at_caps(self, caps: Iterable[Cap]) -> None:
        if self.state == "open":
            self._tell_of_caps(self.caps.reached(caps, self.moment))

    def switch(self, reference: str, target: str, on: bool) -> Answer:
        known = self.references.first_answer(reference, kind="switch", target=target, on=on)
        if known:
            return _again(known)
        self.switched_off.discard(target) if on else self.switched_off.add(target)
        return self._done(reference, ("done", True), kind="switch", target=target, on=on)

    def _done(self, reference: str, answer: Answer, **compared: object) -> Answer:
        self.references.keep(reference, answer, **compared)
        self.changed = True
        return answer


def _again(known: Answer) -> Answer:
    return ("done", False) if known[0] == "done" else known
