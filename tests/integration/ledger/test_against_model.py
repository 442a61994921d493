"""Laws 1, 2, 3, 8, 9, 10: random operations, answered by the ledger as by a plain model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
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

from pricing.offers import MAX_MC
from runtime.credits import batch
from tests.integration.ledger.conftest import OpenDesk
from tests.integration.ledger.desk import Desk
from tests.integration.ledger.duel import HORIZON_MS, Duel

INTERVALS_MS = [1, 2, 50, 199, 200, 201, 1_000, HORIZON_MS]
LIFETIMES_MS = [None, None, 0, 1, 200, 1_000, 5_000]


class Walker:
    """Small amounts and short times, so that expiries, shortages and losers meet all the time."""

    def __init__(self, duel: Duel, chance: random.Random) -> None:
        self.duel = duel
        self.chance = chance
        self.steps: dict[Callable[[], Awaitable[None]], int] = {
            lambda: duel.pass_time(chance.choice(INTERVALS_MS)): 12,
            self.grant: 3,
            self.reserve: 30,
            self.reserve_again: 6,
            lambda: duel.settle(self.choice(), chance.randrange(-60, 20)): 20,
            lambda: duel.release(self.choice(), chance.choice([0, 7]), chance.random() < 0.5): 10,
            lambda: duel.conclude(self.choice()): 2,
            duel.compare_journal: 4,
        }

    async def walk(self, steps: int) -> None:
        await self.duel.start()
        await self.grant()
        await self.reserve()
        for _ in range(steps):
            (step,) = self.chance.choices(list(self.steps), weights=list(self.steps.values()))
            await step()
            await self.duel.compare_balances()
        await self.duel.compare_journal()

    def amount_mc(self) -> int:
        return self.chance.choice([self.chance.randrange(60), self.chance.randrange(400)])

    def choice(self) -> int:
        return self.chance.randrange(1_000)

    async def grant(self) -> None:
        lifetime_ms = self.chance.choice(LIFETIMES_MS)
        await self.duel.grant(1 + self.chance.randrange(400), self.chance.randrange(3), lifetime_ms)

    async def reserve(self) -> None:
        ttl_ms = self.chance.choice(INTERVALS_MS)
        await self.duel.reserve_for_a_new_execution(self.amount_mc(), ttl_ms)

    async def reserve_again(self) -> None:
        ttl_ms = self.chance.choice(INTERVALS_MS)
        another = self.chance.random() < 0.7
        await self.duel.reserve_again(self.choice(), self.amount_mc(), ttl_ms, another)


@pytest.mark.parametrize("seed", range(20))
async def test_laws_1_2_3_8_9_10_hold_on_a_random_walk(open_desk: OpenDesk, seed: int) -> None:
    async with open_desk(outcome_ttl_ms=HORIZON_MS) as desk:
        await Walker(Duel(desk, "acme"), random.Random(seed)).walk(steps=200)


# The same with hypothesis, which finds a shortest way to a fault


amounts = st.one_of(st.integers(0, 60), st.integers(0, 400), st.just(MAX_MC))
intervals_ms = st.sampled_from(INTERVALS_MS)
choices = st.integers(0, 1_000)
grants = st.tuples(st.integers(1, 400), st.integers(0, 2), st.sampled_from(LIFETIMES_MS))


class LedgerAgainstModel(RuleBasedStateMachine):
    desk: ClassVar[Desk]
    loop: ClassVar[asyncio.AbstractEventLoop]
    runs: ClassVar[int] = 0

    def run(self, work: Awaitable[Any]) -> None:
        self.loop.run_until_complete(work)

    @initialize(first=st.lists(grants, min_size=1, max_size=4))
    def open_account(self, first: list[tuple[int, int, int | None]]) -> None:
        type(self).runs += 1
        self.duel = Duel(self.desk, f"acme-{self.runs}")
        self.run(self.duel.start())
        for terms in first:
            self.run(self.duel.grant(*terms))

    @rule(by_ms=intervals_ms)
    def pass_time(self, by_ms: int) -> None:
        self.run(self.duel.pass_time(by_ms))

    @precondition(lambda self: len(self.duel.model.grants) < 8)
    @rule(terms=grants)
    def grant(self, terms: tuple[int, int, int | None]) -> None:
        self.run(self.duel.grant(*terms))

    @rule(amount_mc=amounts, ttl_ms=intervals_ms)
    def reserve_for_a_new_execution(self, amount_mc: int, ttl_ms: int) -> None:
        self.run(self.duel.reserve_for_a_new_execution(amount_mc, ttl_ms))

    @precondition(lambda self: self.duel.attempts)
    @rule(choice=choices, amount_mc=amounts, ttl_ms=intervals_ms, another=st.booleans())
    def reserve_again(self, choice: int, amount_mc: int, ttl_ms: int, another: bool) -> None:
        self.run(self.duel.reserve_again(choice, amount_mc, ttl_ms, another))

    @precondition(lambda self: self.duel.attempts)
    @rule(choice=choices, above_quote_mc=st.one_of(st.integers(-60, 20), st.just(MAX_MC)))
    def settle(self, choice: int, above_quote_mc: int) -> None:
        self.run(self.duel.settle(choice, above_quote_mc))

    @precondition(lambda self: self.duel.attempts)
    @rule(choice=choices, exposure_mc=st.sampled_from([0, 7]), store=st.booleans())
    def release(self, choice: int, exposure_mc: int, store: bool) -> None:
        self.run(self.duel.release(choice, exposure_mc, store))

    @precondition(lambda self: self.duel.attempts)
    @rule(choice=choices)
    def conclude(self, choice: int) -> None:
        self.run(self.duel.conclude(choice))

    @rule()
    def compare_journal(self) -> None:
        self.run(self.duel.compare_journal())

    @invariant()
    def compare_balances(self) -> None:
        if hasattr(self, "duel"):
            self.run(self.duel.compare_balances())

    def teardown(self) -> None:
        if hasattr(self, "duel"):
            self.run(self.duel.compare_journal())


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
    check(open_desk, examples=50, steps=50)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_laws_1_2_3_8_9_10_hold_for_tens_of_thousands_of_steps(open_desk: OpenDesk) -> None:
    check(open_desk, examples=500, steps=100)


async def test_a_batch_answers_as_its_calls_would_one_after_another(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Answers of two script calls may be handed out in either order.
    monkeypatch.setattr(batch, "_MOST_UNDER_WAY", 1)
    async with open_desk(outcome_ttl_ms=HORIZON_MS) as desk:
        duel = Duel(desk, "acme")
        await duel.start()
        await duel.grant(20_000, 20, None)
        chance = random.Random(7)

        await asyncio.gather(
            *(
                # The first goes alone, and the others, made while it runs, in batches.
                duel.reserve_for_a_new_execution(chance.randrange(200), 1_000)
                for _ in range(400)
            )
        )
        await duel.compare_balances()
        await asyncio.gather(*(duel.settle(4 * n, chance.randrange(-60, 20)) for n in range(400)))

        await duel.compare_balances()
        await duel.compare_journal()
