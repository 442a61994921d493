"""Asks the ledger and the model the same, and insists on the same answers and balances."""

from __future__ import annotations

from dataclasses import dataclass, field

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC
from runtime.credits.answers import Existing, InProgress, Refused, Released, Reserved, Settled
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import Part, replay, verify
from tests.integration.ledger.desk import START_MS, Desk, instant
from tests.integration.ledger.model import PARTS, Model

HORIZON_MS = 4_000


def plain(answer: object) -> tuple[object, ...]:
    """An answer of the ledger as the model's tuples."""
    match answer:
        case Reserved():
            return (
                "reserved",
                answer.amount_mc,
                answer.available_mc,
                answer.reserved_at_ms,
                answer.expires_in_ms,
            )
        case Refused():
            return ("refused", answer.reason, answer.available_mc, answer.home_mc)
        case InProgress():
            return ("in_progress", answer.remaining_ms)
        case Existing():
            return ("existing", answer.state, answer.charged_mc, answer.overage_mc)
        case Settled():
            flags = set(answer.flags)
            return ("settled", answer.charged_mc, answer.overage_mc, answer.available_mc, flags)
        case Released():
            return ("released", answer.available_mc, answer.found)
        case _:
            raise AssertionError(answer)


@dataclass
class Duel:
    """One account, kept twice."""

    desk: Desk
    account_id: str
    model: Model = field(default_factory=lambda: Model(now=START_MS, horizon=HORIZON_MS))
    attempts: dict[str, list[ExecutionAttempt]] = field(default_factory=dict)
    reserved: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def start(self) -> None:
        await self.desk.set_clock(START_MS)
        await self.desk.open(account_id=self.account_id)

    def choose(self, choice: int) -> ExecutionAttempt:
        """An attempt made before: one that runs, one that expired, or any."""
        everyone = [attempt for attempts in self.attempts.values() for attempt in attempts]
        running, expired = [], []
        for attempt in everyone:
            execution = self.model.executions[attempt.execution_id]
            if execution.open and execution.open.attempt == attempt.attempt_id:
                running.append(attempt)
            if attempt.attempt_id in execution.expired_attempts:
                expired.append(attempt)
        candidates = (running, running, expired, everyone)[choice % 4] or everyone
        return candidates[choice // 4 % len(candidates)]

    async def pass_time(self, by_ms: int) -> None:
        await self.desk.pass_time(by_ms)
        for execution_id in self.model.set_clock(self.desk.now_ms):
            # Redis would do it, by a clock that the test does not set.
            key = self.attempts[execution_id][0].execution_key
            await self.desk.client.delete(self.desk.keys.outcome(self.account_id, key))

    async def grant(self, amount_mc: int, priority: int, expires_in_ms: int | None) -> None:
        expires_ms = None if expires_in_ms is None else self.desk.now_ms + expires_in_ms
        await self.desk.grant(
            amount_mc,
            account_id=self.account_id,
            priority=priority,
            expires_at=None if expires_ms is None else instant(expires_ms),
        )
        self.model.grant(amount_mc, priority, expires_ms)

    async def reserve_for_a_new_execution(self, amount_mc: int, ttl_ms: int) -> None:
        execution_id = f"journey-{len(self.attempts)}:step:1"
        attempt = self.desk.attempt(execution_id, account_id=self.account_id)
        self.attempts[execution_id] = [attempt]
        await self._reserve(attempt, amount_mc, ttl_ms)

    async def reserve_again(
        self, choice: int, amount_mc: int, ttl_ms: int, another_attempt: bool
    ) -> None:
        attempt = self.choose(choice)
        attempts = self.attempts[attempt.execution_id]
        if another_attempt and len(attempts) < 4:
            attempt = self.desk.attempt(attempt.execution_id, account_id=self.account_id)
            attempts.append(attempt)
        await self._reserve(attempt, amount_mc, ttl_ms)

    async def _reserve(self, attempt: ExecutionAttempt, amount_mc: int, ttl_ms: int) -> None:
        answer = await self.desk.ledger.reserve(attempt, amount_mc, ttl_ms)
        assert plain(answer) == self.model.reserve(
            attempt.execution_id, attempt.attempt_id, amount_mc, ttl_ms
        )
        if isinstance(answer, Reserved):
            self.reserved[attempt.attempt_id] = (answer.amount_mc, answer.reserved_at_ms)

    async def settle(self, choice: int, above_quote_mc: int) -> None:
        attempt = self.choose(choice)
        # One that has not reserved here is an orphan: Redis lost its reservation.
        orphan = (50, self.desk.now_ms - 500)
        amount_mc, at_ms = self.reserved.get(attempt.attempt_id, orphan)
        cost_mc = min(MAX_MC, max(0, amount_mc + above_quote_mc))
        answer = await self.desk.ledger.settle(
            attempt,
            cost_mc=cost_mc,
            reserved_mc=amount_mc,
            reserved_at_ms=at_ms,
            tokens="",
            rate_card_version="",
        )
        found = ("dead",) if answer is None else plain(answer)
        assert found == self.model.settle(
            attempt.execution_id, attempt.attempt_id, cost_mc, amount_mc, at_ms
        )

    async def release(self, choice: int, exposure_mc: int, store: bool) -> None:
        attempt = self.choose(choice)
        answer = await self.desk.ledger.release(
            attempt,
            FallbackReason.PROVIDER_ERROR,
            exposure_mc=exposure_mc,
            outcome=b"fallback" if store else None,
        )
        assert plain(answer) == self.model.release(
            attempt.execution_id, attempt.attempt_id, exposure_mc, store
        )

    async def conclude(self, choice: int) -> None:
        attempt = self.choose(choice)
        answer = await self.desk.ledger.conclude(attempt, FallbackReason.INSUFFICIENT_CREDITS)
        found = ("concluded",) if answer is None else plain(answer)
        assert found == self.model.conclude(attempt.execution_id, attempt.attempt_id)

    async def compare_balances(self) -> None:
        """Law 2, grant by grant, and law 1."""
        balance = await self.desk.balance(self.account_id)
        found = {
            int(grant.grant_id[1:]): tuple(getattr(grant, f"{part}_mc") for part in PARTS)
            for grant in balance.grants
        }
        assert found == {
            grant.number: tuple(getattr(grant, part) for part in PARTS)
            for grant in self.model.grants
        }
        assert balance.charged_mc + balance.reserved_mc <= balance.granted_mc
        assert balance.overage_mc == min(self.model.overage, MAX_MC)
        assert balance.exposure_mc == min(self.model.exposure, MAX_MC)
        running = [execution for execution in self.model.executions.values() if execution.open]
        assert balance.open_reservations == len(running)

    async def compare_journal(self) -> None:
        """The journal is whole, and adds up to the balance."""
        await self.desk.write_what_is_due(self.account_id)
        entries = await self.desk.journal(self.account_id)
        verify(entries)
        books = replay(entries)
        balance = await self.desk.balance(self.account_id)
        assert len(entries) == balance.journal_seq
        assert balance.overage_mc == min(books.overage_mc, MAX_MC)
        assert balance.exposure_mc == min(books.exposure_mc, MAX_MC)
        for grant in balance.grants:
            rebuilt = books.grants[grant.grant_id]
            assert rebuilt.amount_mc == grant.amount_mc
            assert rebuilt.parts_mc == {
                Part.AVAILABLE: grant.available_mc + grant.reserved_mc,
                Part.RESERVED: 0,
                Part.CHARGED: grant.charged_mc,
                Part.EXPIRED: grant.expired_mc,
                Part.VOIDED: 0,
            }
