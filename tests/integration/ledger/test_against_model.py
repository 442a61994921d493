"""Laws 1, 2, 3, 8, 9, 10: random operations, answered by the ledger as by a plain model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC
from runtime.credits.answers import Existing, InProgress, Refused, Released, Reserved, Settled
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import Part, replay, verify
from tests.integration.ledger.conftest import OpenDesk
from tests.integration.ledger.desk import START_MS, Desk, instant
from tests.integration.ledger.model import PARTS, Model

HORIZON_MS = 4_000
IDS = ("journey-1:step:1", "journey-2:step:1")
ATTEMPTS = 3

amounts = st.one_of(st.integers(0, 60), st.integers(0, 400), st.just(MAX_MC))
ids = st.sampled_from(IDS)
numbers = st.integers(0, ATTEMPTS - 1)


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


class LedgerAgainstModel(RuleBasedStateMachine):
    """Small amounts and few ids, so that attempts, expiries and shortages meet all the time."""

    desk: ClassVar[Desk]
    loop: ClassVar[asyncio.AbstractEventLoop]
    runs: ClassVar[int] = 0

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def open_account(self) -> None:
        type(self).runs += 1
        self.run(self.desk.set_clock(START_MS))
        self.account_id = f"acme-{self.runs}"
        self.model = Model(now=START_MS, horizon=HORIZON_MS)
        self.run(self.desk.open(account_id=self.account_id))
        self.attempts: dict[tuple[str, int], ExecutionAttempt] = {}
        self.reserved: dict[tuple[str, int], tuple[int, int]] = {}

    def attempt(self, execution_id: str, number: int) -> ExecutionAttempt:
        name = (execution_id, number)
        if name not in self.attempts:
            self.attempts[name] = self.desk.attempt(execution_id, account_id=self.account_id)
        return self.attempts[name]

    @rule(by_ms=st.sampled_from([1, 2, 5, 50, 199, 200, 201, 1_000, HORIZON_MS]))
    def pass_time(self, by_ms: int) -> None:
        self.run(self.desk.pass_time(by_ms))
        for execution_id in self.model.set_clock(self.desk.now_ms):
            key = self.attempt(execution_id, 0).execution_key
            self.run(self.desk.client.delete(self.desk.keys.outcome(self.account_id, key)))

    @precondition(lambda self: len(self.model.grants) < 5)
    @rule(
        amount_mc=st.one_of(st.integers(1, 100), st.integers(1, 2_000)),
        priority=st.integers(0, 2),
        expires_in_ms=st.one_of(st.none(), st.sampled_from([0, 1, 200, 5_000])),
    )
    def grant(self, amount_mc: int, priority: int, expires_in_ms: int | None) -> None:
        expires_ms = None if expires_in_ms is None else self.desk.now_ms + expires_in_ms
        self.run(
            self.desk.grant(
                amount_mc,
                account_id=self.account_id,
                priority=priority,
                expires_at=None if expires_ms is None else instant(expires_ms),
            )
        )
        self.model.grant(amount_mc, priority, expires_ms)

    @rule(
        execution_id=ids, number=numbers, amount_mc=amounts, ttl_ms=st.sampled_from([1, 200, 1_000])
    )
    def reserve(self, execution_id: str, number: int, amount_mc: int, ttl_ms: int) -> None:
        attempt = self.attempt(execution_id, number)
        answer = self.run(self.desk.ledger.reserve(attempt, amount_mc, ttl_ms))
        assert plain(answer) == self.model.reserve(
            execution_id, attempt.attempt_id, amount_mc, ttl_ms
        )
        if isinstance(answer, Reserved):
            self.reserved[execution_id, number] = (answer.amount_mc, answer.reserved_at_ms)

    @rule(execution_id=ids, number=numbers, cost_mc=amounts)
    def settle(self, execution_id: str, number: int, cost_mc: int) -> None:
        attempt = self.attempt(execution_id, number)
        # One that never reserved here is an orphan: Redis lost its reservation.
        amount_mc, at_ms = self.reserved.get((execution_id, number), (50, self.desk.now_ms - 500))
        answer = self.run(
            self.desk.ledger.settle(
                attempt,
                cost_mc=cost_mc,
                reserved_mc=amount_mc,
                reserved_at_ms=at_ms,
                tokens="",
                rate_card_version="",
            )
        )
        found = ("dead",) if answer is None else plain(answer)
        assert found == self.model.settle(
            execution_id, attempt.attempt_id, cost_mc, amount_mc, at_ms
        )

    @rule(
        execution_id=ids, number=numbers, exposure_mc=st.sampled_from([0, 7]), store=st.booleans()
    )
    def release(self, execution_id: str, number: int, exposure_mc: int, store: bool) -> None:
        attempt = self.attempt(execution_id, number)
        answer = self.run(
            self.desk.ledger.release(
                attempt,
                FallbackReason.PROVIDER_ERROR,
                exposure_mc=exposure_mc,
                outcome=b"fallback" if store else None,
            )
        )
        assert plain(answer) == self.model.release(
            execution_id, attempt.attempt_id, exposure_mc, store
        )

    @rule(execution_id=ids, number=numbers)
    def conclude(self, execution_id: str, number: int) -> None:
        attempt = self.attempt(execution_id, number)
        reason = FallbackReason.INSUFFICIENT_CREDITS
        answer = self.run(self.desk.ledger.conclude(attempt, reason))
        found = ("concluded",) if answer is None else plain(answer)
        assert found == self.model.conclude(execution_id, attempt.attempt_id)

    @rule()
    def journal_adds_up_to_the_balance(self) -> None:
        self.run(self.desk.write_what_is_due(self.account_id))
        entries = self.run(self.desk.journal(self.account_id))
        verify(entries)
        books = replay(entries)
        balance = self.run(self.desk.balance(self.account_id))
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

    @invariant()
    def balances_agree_grant_by_grant(self) -> None:
        if not hasattr(self, "account_id"):
            return
        balance = self.run(self.desk.balance(self.account_id))
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
        open_ones = [execution for execution in self.model.executions.values() if execution.open]
        assert balance.open_reservations == len(open_ones)

    def teardown(self) -> None:
        if hasattr(self, "account_id"):
            self.journal_adds_up_to_the_balance()


def check(open_desk: OpenDesk, examples: int, steps: int) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        opening = stack.enter_async_context(open_desk(outcome_ttl_ms=HORIZON_MS))
        LedgerAgainstModel.desk = runner.run(opening)
        LedgerAgainstModel.loop = runner.get_loop()
        try:
            run_state_machine_as_test(
                LedgerAgainstModel,
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(stack.aclose())


def test_laws_1_2_3_8_9_10_hold_whatever_happens_in_whatever_order(open_desk: OpenDesk) -> None:
    check(open_desk, examples=60, steps=50)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_laws_1_2_3_8_9_10_hold_for_forty_thousand_steps(open_desk: OpenDesk) -> None:
    check(open_desk, examples=400, steps=100)


async def test_a_batch_answers_as_its_calls_would_one_after_another(open_desk: OpenDesk) -> None:
    async with open_desk(outcome_ttl_ms=HORIZON_MS) as desk:
        await desk.open(20_000)
        model = Model(now=START_MS, horizon=HORIZON_MS)
        model.grant(20_000, 20, None)
        # A call alone is under way while the others are made: those go in batches.
        attempts = [desk.attempt() for _ in range(400)]
        amounts_mc = [random.Random(7).randrange(200) for _ in attempts]
        answers = await asyncio.gather(
            *(
                desk.ledger.reserve(attempt, amount_mc, 1_000)
                for attempt, amount_mc in zip(attempts, amounts_mc, strict=True)
            )
        )
        for attempt, amount_mc, answer in zip(attempts, amounts_mc, answers, strict=True):
            expected = model.reserve(attempt.execution_id, attempt.attempt_id, amount_mc, 1_000)
            assert plain(answer) == expected
        balance = await desk.balance()
        assert balance.reserved_mc == sum(grant.reserved for grant in model.grants)
