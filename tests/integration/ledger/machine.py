"""Random operations, times, failures and races, for the ledger and the model side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, note, seed, settings
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
from pricing.offers import MAX_MC, GrantKind
from tests.integration.ledger import questions
from tests.integration.ledger.desk import START_MS, Desk, open_desk
from tests.integration.ledger.duel import HORIZON_MS, Ask, Duel, Made
from tests.integration.ledger.loss import Loss, asking_again_at_once
from tests.integration.ledger.model import Identity
from tests.integration.ledger.model.caps import window_end

T = TypeVar("T")

LOW_MARKS = (("p20",), ("p50", "a120", "p10"), ())
INTERVALS_MS = (1, 2, 50, 199, 200, 201, 1_000, HORIZON_MS)
LIFETIMES_MS = (None, None, 0, 1, 200, 1_000, 5_000)
REASONS = (FallbackReason.INSUFFICIENT_CREDITS, FallbackReason.EXECUTION_TOO_LARGE)
LOSSES = {0: Loss.ANSWER, 1: Loss.REQUEST}

draws = st.binary(min_size=16, max_size=16)
long_draws = st.binary(min_size=100, max_size=100)


class Dice:
    """Drawn bytes, thrown one after another. Zeros give the first choice, where shrinking ends."""

    def __init__(self, drawn: bytes) -> None:
        self._drawn = iter(drawn)

    def below(self, number: int) -> int:
        return next(self._drawn) % number

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def once_in(self, number: int) -> bool:
        return self.below(number) == number - 1


class LedgerAgainstModel(RuleBasedStateMachine):
    """Small amounts and short times, so that expiries, shortages and losers meet all the time."""

    desks: ClassVar[Sequence[Desk]]
    loop: ClassVar[asyncio.AbstractEventLoop]
    accounts: ClassVar[int] = 0
    steps: ClassVar[int] = 0

    duel: Duel

    has_failed = False

    def run(self, work: Awaitable[Any]) -> None:
        try:
            self.loop.run_until_complete(work)
        except BaseException:
            self.has_failed = True
            raise

    @initialize(drawn=long_draws)
    def open_account(self, drawn: bytes) -> None:
        dice = Dice(drawn)
        type(self).accounts += 1
        self.executions = 0
        self.desk = dice.pick(self.desks)
        self.duel = Duel(self.desk, f"acme-{self.accounts}")
        month_ends = window_end("month", START_MS)
        assert month_ends
        self.run(self.duel.start(month_ends - dice.pick((100_000, 1_000, 10))))
        for _ in range(1 + dice.below(3)):
            self.run(self.duel.ask(self._grant(dice)))

    # Rules

    @rule(drawn=draws)
    def pass_time(self, drawn: bytes) -> None:
        dice = Dice(drawn)
        if dice.below(4) == 3:
            at_ms = dice.pick(self._instants_to_come()) + dice.pick((0, -1, 1))
        else:
            at_ms = self.desk.now_ms + dice.pick(INTERVALS_MS)
        self._set_clock(at_ms)

    @rule(drawn=draws)
    def turn_the_clock_back(self, drawn: bytes) -> None:
        self._set_clock(self.desk.now_ms - Dice(drawn).pick(INTERVALS_MS))

    @precondition(lambda self: len(self.duel.model.purse.grants) < 10)
    @rule(drawn=draws)
    def grant(self, drawn: bytes) -> None:
        self._ask(drawn, self._grant)

    @rule(drawn=draws)
    def reserve(self, drawn: bytes) -> None:
        self._ask(drawn, self._reserve)

    @precondition(lambda self: self.duel.made)
    @rule(drawn=draws)
    def reserve_again(self, drawn: bytes) -> None:
        self._ask(drawn, self._reserve_again)

    @precondition(lambda self: self.duel.made)
    @rule(drawn=draws)
    def settle(self, drawn: bytes) -> None:
        self._ask(drawn, self._settle)

    @precondition(lambda self: self.duel.made)
    @rule(drawn=draws)
    def release(self, drawn: bytes) -> None:
        self._ask(drawn, self._release)

    @precondition(lambda self: self.duel.made)
    @rule(drawn=draws)
    def conclude(self, drawn: bytes) -> None:
        self._ask(drawn, self._conclude)

    @precondition(lambda self: self.duel.made)
    @rule(drawn=long_draws)
    def ask_together(self, drawn: bytes) -> None:
        dice = Dice(drawn)
        verbs = (self._reserve, self._settle, self._reserve_again, self._release, self._conclude)
        loss = LOSSES.get(dice.below(12), Loss.NOTHING)
        lose = (Loss.NOTHING, loss) if dice.below(2) else (loss, Loss.NOTHING)
        asks = [dice.pick(verbs)(dice) for _ in range(2 + dice.below(5))]
        self.run(self.duel.ask(*asks, lose=lose))

    @rule()
    def flush_scripts(self) -> None:
        self.run(self.desk.client.script_flush())

    @rule()
    def compare_in_full(self) -> None:
        self.run(self.duel.compare_in_full())

    @invariant()
    def compare(self) -> None:
        if hasattr(self, "duel"):
            type(self).steps += 1
            self.run(self.duel.compare())

    def teardown(self) -> None:
        if hasattr(self, "duel") and not self.has_failed:
            self.run(self.duel.compare_in_full())
            self.run(self.duel.forget())

    # What is asked

    def _ask(self, drawn: bytes, question: Callable[[Dice], Ask]) -> None:
        dice = Dice(drawn)
        fate = dice.below(24)
        ask = question(dice)
        if fate in LOSSES:
            note(f"loses its {LOSSES[fate]}")
            self.run(self.duel.ask(ask, lose=[LOSSES[fate]]))
        elif fate == 2:
            self.run(self.duel.ask_and_look_closely(ask))
        else:
            self.run(self.duel.ask(ask))

    def _grant(self, dice: Dice) -> Ask:
        lifetime_ms = dice.pick(LIFETIMES_MS)
        expires = None if lifetime_ms is None else self.desk.now_ms + lifetime_ms
        amount_mc = 1 + dice.pick((1, 2)) * dice.below(200)
        reference = f"grant-{len(self.duel.model.purse.grants)}"
        priority, kind = dice.below(3), dice.pick((GrantKind.PROMOTIONAL, GrantKind.PLAN))
        note(f"grant {reference}: {kind} {amount_mc} {priority=} {expires=}")
        return questions.grant(self.duel, reference, kind, amount_mc, priority, expires)

    def _reserve(self, dice: Dice) -> Ask:
        self.executions += 1
        made = self.duel.make(f"journey-{self.executions}:step:1", self._identity(dice))
        return self._reserve_for(made, dice)

    def _reserve_again(self, dice: Dice) -> Ask:
        made = self.duel.choose(dice.below(256))
        if dice.below(3):
            identity = self._identity(dice) if dice.once_in(6) else made.identity
            made = self.duel.make(made.attempt.execution_id, identity)
        return self._reserve_for(made, dice)

    def _reserve_for(self, made: Made, dice: Dice) -> Ask:
        amount_mc, ttl_ms, final = self._amount_mc(dice), dice.pick(INTERVALS_MS), dice.once_in(4)
        note(f"reserve {made.attempt.execution_id}: {amount_mc=} {ttl_ms=} {final=} {made.identity}")
        return questions.reserve(self.duel, made, amount_mc, ttl_ms, final)

    def _settle(self, dice: Dice) -> Ask:
        made = self.duel.choose(dice.below(256))
        above_quote_mc = dice.below(80) - 60
        if dice.once_in(32):
            above_quote_mc = MAX_MC
        note(f"settle {made.attempt}: {above_quote_mc=}")
        return questions.settle(self.duel, made, above_quote_mc, dice.pick((0, 0, 0, 5)))

    def _release(self, dice: Dice) -> Ask:
        made = self.duel.choose(dice.below(256))
        note(f"release {made.attempt}")
        return questions.release(self.duel, made, dice.pick((0, 7)), bool(dice.below(2)))

    def _conclude(self, dice: Dice) -> Ask:
        made = self.duel.choose(dice.below(256))
        note(f"conclude {made.attempt}")
        return questions.conclude(self.duel, made, dice.pick(REASONS))

    # What it is asked about

    def _identity(self, dice: Dice) -> Identity:
        number = dice.below(32)
        workspace, campaign, action, person, source = (number >> bit & 1 for bit in range(5))
        return Identity(
            ("retail", "bank")[workspace],
            ("welcome", "winback")[campaign],
            ("route", "greet")[action],
            ("person-1", "person-2")[person],
            ("live", "preview")[source],
        )

    def _amount_mc(self, dice: Dice) -> int:
        available = self.duel.model.purse.available
        edges = (0, available, available + 1, self.duel.model.purse.left + dice.below(2), MAX_MC)
        return dice.pick((dice.below(60), dice.below(200) * 2, dice.pick(edges)))

    def _instants_to_come(self) -> list[int]:
        """Deadlines, expiries, ends of windows."""
        now, model = self.desk.now_ms, self.duel.model
        windows = [end for name in ("day", "month") if (end := window_end(name, now))]
        deadlines = [e.open.deadline for e in model.executions.values() if e.open]
        horizons = [e.outcome.until for e in model.executions.values() if e.outcome]
        expiries = [grant.expires or 0 for grant in model.purse.grants]
        return [at for at in deadlines + expiries + horizons if at > now] + windows

    def _set_clock(self, at_ms: int) -> None:
        note(f"clock {self.desk.now_ms} -> {at_ms}")
        self.run(self.duel.set_clock(at_ms))


def walk(url: str, prefix: str, *, steps: int, first_seed: int, shrink: bool) -> int:
    """Run example after example until so many steps were made; return how many."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    with asyncio.Runner() as runner, asking_again_at_once():
        stack = AsyncExitStack()
        machine = LedgerAgainstModel
        machine.loop, machine.steps = runner.get_loop(), 0
        machine.desks = [
            runner.run(
                stack.enter_async_context(
                    open_desk(url, prefix, outcome_ttl_ms=HORIZON_MS, low_marks=marks)
                )
            )
            for marks in LOW_MARKS
        ]
        try:
            while machine.steps < steps:
                run_state_machine_as_test(
                    seed(first_seed + machine.accounts)(machine),
                    settings=settings(
                        max_examples=100,
                        stateful_step_count=100,
                        phases=phases,
                        database=None,
                        report_multiple_bugs=False,
                        deadline=None,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
        finally:
            runner.run(stack.aclose())
    return machine.steps
