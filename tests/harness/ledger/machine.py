"""Random operations, times, failures and races, for the ledger and the model side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, ClassVar

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC, GrantKind
from tests.harness.ledger import questions
from tests.harness.ledger.desk import START_MS, Desk
from tests.harness.ledger.dice import Dice, draws
from tests.harness.ledger.duel import HORIZON_MS, Ask, Duel, Made
from tests.harness.ledger.instants import ZONES, instants_to_come, turns
from tests.harness.ledger.staged import Loss
from tests.harness.ledger.wire import Wire
from tests.harness.model import CapName, Identity
from tests.harness.model.books import Choices
from tests.harness.model.caps import WINDOWS

INTERVALS_MS = (1, 2, 50, 199, 200, 201, 1_000, HORIZON_MS)
# Longer than what passes between two steps, so that something is running most of the time.
TTLS_MS = (1, 50, 200, 201, 1_000, 1_000, HORIZON_MS, HORIZON_MS)
PASSING_MS = (*INTERVALS_MS, 1, 1, 2, 2, 50, 50, 199, 200)
LIFETIMES_MS = (None, None, 0, 1, 200, 1_000, 5_000)
REASONS = (
    FallbackReason.INSUFFICIENT_CREDITS,
    FallbackReason.EXECUTION_TOO_LARGE,
    FallbackReason.CAP_REACHED,
)
# The ledger ends at most 100 of them in one script, of which the model knows nothing.
MOST_RECORDS = 80
LOSSES = {0: Loss.ANSWER, 1: Loss.REQUEST}
WORKSPACES, CAMPAIGNS, ACTIONS = ("retail", "bank"), ("welcome", "winback"), ("route", "greet")
PEOPLE, SOURCES = ("person-1", "person-2"), ("live", "preview")
TARGETS = (
    "workspace retail",
    "action route",
    "campaign welcome",
    "workspace bank",
    "action greet",
    "account",
)
CHOICES: tuple[Choices, ...] = ((), ((0, 0),), ((0, 3), (2, 1), (2, 499)))
BEFORE_MS = (10, 1_000, 1, 100_000, 2, 200)


class LedgerAgainstModel(RuleBasedStateMachine):
    """Small amounts and short times, so that expiries, shortages and losers meet all the time.

    Each example has its own fashion: how often which verb is chosen.
    """

    desks: ClassVar[Sequence[Desk]]
    wire: ClassVar[Wire]
    loop: ClassVar[asyncio.AbstractEventLoop]
    accounts: ClassVar[int] = 0
    steps: ClassVar[int] = 0

    has_failed = False
    duel: Duel

    @initialize(drawn=draws)
    def open_account(self, drawn: bytes) -> None:
        dice = Dice(drawn)
        type(self).accounts += 1
        self.numbers = count(1)
        self.account_asks: list[Ask] = []
        self.desk = dice.pick(self.desks)
        self.duel = Duel(self.desk, self.wire, f"acme-{self.accounts}")
        self.fashion = self._fashion(dice)
        timezone = dice.pick(ZONES) if dice.below(3) else "UTC"
        turn = dice.pick(turns(START_MS, timezone))
        at_ms = turn - dice.pick((100_000, 1_000, 10))
        plan = "trial" if dice.once_in(8) else "growth"
        schema = dice.pick((2, 1))
        note(f"open {plan} in {timezone} at {at_ms}, {schema=}")
        self.run(self.duel.start(at_ms, plan, timezone, schema))

    def _fashion(self, dice: Dice) -> list[Callable[[Dice], Awaitable[None]]]:
        alone, weights = self._alone, (1, 1, 0, 3)
        verbs: list[tuple[int, Callable[[Dice], Awaitable[None]]]] = [
            (24, alone(self._reserve)),
            (14 * dice.pick(weights), alone(self._settle)),
            (12, self._pass_time),
            (4 * dice.pick((1, 1, 2, 3)), alone(self._grant)),
            (6 * dice.pick(weights), alone(self._reserve_again)),
            (6 * dice.pick(weights), alone(self._release)),
            (2 * dice.pick(weights), alone(self._conclude)),
            (2 * dice.pick(weights), self._turn_the_clock_back),
            (2 * dice.pick(weights), self._travel),
            (3 * dice.pick(weights), alone(self._void)),
            (5 * dice.pick(weights), alone(self._set_cap)),
            (2 * dice.pick(weights), alone(self._remove_cap)),
            (2 * dice.pick(weights), alone(self._set_alert_marks)),
            (2 * dice.pick(weights), alone(self._switch)),
            (3 * dice.pick((1, 1, 2, 3)), alone(self._change_plan)),
            (1 * dice.pick(weights), alone(self._open_again)),
            (1, alone(self._upgrade)),
            (2 * dice.pick(weights), alone(self._change_timezone)),
            (dice.once_in(4), alone(self._close)),
            (3 * dice.pick(weights), alone(self._repeat)),
            (6 * dice.pick(weights), self._ask_together),
            (2 * dice.pick(weights), self._ask_beside),
            (1, self._flush_scripts),
            (1, self._compare_in_full),
        ]
        return [verb for weight, verb in verbs for _ in range(weight)]

    @rule(drawn=draws)
    def step(self, drawn: bytes) -> None:
        done = self.duel.done
        self.run(self._step(Dice(drawn)))
        # Calls that are asked together are as many steps, and a chance that was let go is none.
        type(self).steps += self.duel.done - done

    async def _step(self, dice: Dice) -> None:
        await dice.pick(self.fashion)(dice)
        await self.duel.compare()

    def teardown(self) -> None:
        try:
            if not self.has_failed:
                self.run(self.duel.compare_in_full())
        finally:
            self.loop.run_until_complete(self.duel.forget())

    def run(self, work: Awaitable[Any]) -> None:
        try:
            self.loop.run_until_complete(work)
        except BaseException:
            self.has_failed = True
            raise

    # Time, failures, races

    async def _pass_time(self, dice: Dice) -> None:
        if dice.below(2):
            at_ms = self.desk.now_ms + dice.pick(PASSING_MS)
        else:
            at_ms = dice.pick(
                instants_to_come(dice, self.desk.now_ms, self.duel.model)
            ) + dice.pick((0, -1, 1))
        await self._set_clock(at_ms)

    async def _travel(self, dice: Dice) -> None:
        """Go on to just before a day or a month ends, here or elsewhere, or clocks change."""
        timezone = self.duel.model.timezone if dice.below(3) else dice.pick(ZONES)
        turn = dice.pick(turns(self.desk.now_ms, timezone))
        await self._set_clock(max(self.desk.now_ms, turn - dice.pick(BEFORE_MS)))

    async def _turn_the_clock_back(self, dice: Dice) -> None:
        # How far time had come is written whenever a script writes anything; a sweep always does.
        await self.duel.write_what_is_due()
        await self._set_clock(self.desk.now_ms - dice.pick(INTERVALS_MS))

    async def _set_clock(self, at_ms: int) -> None:
        note(f"clock {self.desk.now_ms} -> {at_ms}")
        await self.duel.set_clock(at_ms)

    async def _flush_scripts(self, dice: Dice) -> None:
        if dice.once_in(4):  # to read the scripts again costs Redis as much as ten steps
            note("flush scripts")
            await self.wire.ask(("SCRIPT", "FLUSH"))
            self.duel.done += 1

    async def _compare_in_full(self, dice: Dice) -> None:
        note("compare in full")
        await self.duel.compare_in_full()

    def _alone(self, question: Callable[[Dice], Ask | None]) -> Callable[[Dice], Awaitable[None]]:
        async def ask(dice: Dice) -> None:
            fate = dice.below(24)
            asked = question(dice)
            if asked is None:
                return
            if fate in LOSSES:
                note(f"    ... whose {LOSSES[fate]} is lost")
                await self.duel.ask(asked, lose=[LOSSES[fate]])
            elif fate == 2:
                await self.duel.ask_and_look_closely(asked)
            else:
                await self.duel.ask(asked)

        return ask

    async def _ask_together(self, dice: Dice) -> None:
        """Calls that come while another is under way."""
        loss = LOSSES.get(dice.below(12), Loss.NOTHING)
        lose = (Loss.NOTHING, loss) if dice.below(2) else (loss, Loss.NOTHING)
        asks = self._several(dice, 2 + dice.below(4))
        note(f"    ... asked together, {lose=}")
        if len(asks) > 1:
            await self.duel.ask(*asks, lose=lose)

    async def _ask_beside(self, dice: Dice) -> None:
        """A change of the account that races with executions over another connection."""
        change = dice.pick((self._grant, self._void, self._set_cap, self._switch, self._remove_cap))
        asks = [change(dice), *self._several(dice, 1 + dice.below(3))]
        if dice.below(2):
            asks.reverse()
        note("    ... one beside the others")
        await self.duel.ask(*asks)

    def _several(self, dice: Dice, number: int) -> list[Ask]:
        verbs = (self._reserve, self._settle, self._reserve_again, self._release, self._conclude)
        asked = (dice.pick(verbs)(dice) for _ in range(number))
        return [ask for ask in asked if ask is not None]

    # Executions

    def _reserve(self, dice: Dice) -> Ask | None:
        if self.duel.model.records >= MOST_RECORDS:
            return self._reserve_again(dice)
        execution_id = f"journey-{next(self.numbers)}:step:1"
        return self._reserve_for(self.duel.make(execution_id, self._identity(dice)), dice)

    def _reserve_again(self, dice: Dice) -> Ask | None:
        if not (made := self._choose(dice)):
            return None
        if dice.below(3):
            identity = self._identity(dice) if dice.once_in(6) else made.identity
            made = self.duel.make(made.attempt.execution_id, identity)
        return self._reserve_for(made, dice)

    def _reserve_for(self, made: Made, dice: Dice) -> Ask:
        ttl_ms, final, amount_mc = dice.pick(TTLS_MS), dice.once_in(6), self._amount_mc(dice)
        note(f"reserve {_name(made)}: {amount_mc=} {ttl_ms=} {final=} {tuple(made.identity)}")
        return questions.reserve(self.duel, made, amount_mc, ttl_ms, final)

    def _settle(self, dice: Dice) -> Ask | None:
        if not (made := self._choose(dice)):
            return None
        above_quote_mc = MAX_MC if dice.once_in(32) else dice.below(80) - 60
        exposure_mc, free_mc = dice.pick((0, 0, 0, 5)), dice.pick((0, 0, 0, 30))
        reason, choices = dice.pick((None, None, FallbackReason.OUTPUT_INVALID)), dice.pick(CHOICES)
        note(
            f"settle {_name(made)}: {above_quote_mc=} {exposure_mc=} {free_mc=} {reason} {choices}"
        )
        return questions.settle(
            self.duel, made, above_quote_mc, exposure_mc, free_mc, reason, choices
        )

    def _release(self, dice: Dice) -> Ask | None:
        if not (made := self._choose(dice)):
            return None
        exposure_mc, store = dice.pick((0, 7)), bool(dice.below(2))
        note(f"release {_name(made)}: {exposure_mc=} {store=}")
        return questions.release(self.duel, made, exposure_mc, store)

    def _conclude(self, dice: Dice) -> Ask | None:
        if not (made := self._choose(dice)):
            return None
        reason = dice.pick(REASONS)
        note(f"conclude {_name(made)}: {reason}")
        return questions.conclude(self.duel, made, reason)

    def _choose(self, dice: Dice) -> Made | None:
        return self.duel.choose(dice.below(256)) if self.duel.made else None

    def _identity(self, dice: Dice) -> Identity:
        number = dice.below(256)
        choices = (WORKSPACES, CAMPAIGNS, ACTIONS, PEOPLE, SOURCES)
        return Identity(*(names[number >> place & 1] for place, names in enumerate(choices)))

    def _amount_mc(self, dice: Dice) -> int:
        """Mostly small; sometimes exactly what is there, or what a cap leaves, or more by one."""
        sort = dice.below(8)
        if sort < 4:
            return dice.below(60)
        if sort < 6:
            return dice.below(200) * 2
        model = self.duel.model
        edges = [0, model.purse.available, model.purse.left, MAX_MC]
        statuses = [cap.status(model.moment) for cap in model.caps.by_name.values()]
        rooms = [(limit - charged, reserved) for _, limit, charged, reserved, _ in statuses]
        # What is reserved under a cap may come back: refusals about that are may_clear ones.
        edges += [room for room, reserved in rooms if reserved]
        edges += [room - reserved for room, reserved in rooms]
        return min(MAX_MC, max(0, dice.pick(edges[::-1]) + dice.below(2)))

    # The account

    def _account_ask(self, ask: Ask) -> Ask:
        self.account_asks.append(ask)
        return ask

    def _repeat(self, dice: Dice) -> Ask | None:
        if not self.account_asks:
            return None
        number = dice.below(len(self.account_asks))
        note(f"repeat {number}")
        return self.account_asks[number]

    def _reference(self, dice: Dice) -> str:
        used = list(self.duel.model.references.by_name)
        return dice.pick(used) if dice.once_in(8) and used else f"reference-{next(self.numbers)}"

    def _grant(self, dice: Dice) -> Ask:
        lifetime_ms, reference = dice.pick(LIFETIMES_MS), self._reference(dice)
        expires = None if lifetime_ms is None else self.desk.now_ms + lifetime_ms
        amount_mc = MAX_MC if dice.once_in(64) else 1 + dice.below(200) * dice.pick((1, 2))
        kinds = (GrantKind.PROMOTIONAL, GrantKind.PLAN, GrantKind.PURCHASED, GrantKind.ADJUSTMENT)
        priority, kind = dice.below(3), dice.pick(kinds)
        note(f"grant {reference}: {kind} {amount_mc=} {priority=} {expires=}")
        return self._account_ask(
            questions.grant(self.duel, reference, kind, amount_mc, priority, expires)
        )

    def _void(self, dice: Dice) -> Ask:
        reference = self._reference(dice)
        grant_id = f"g{1 + dice.below(1 + len(self.duel.model.purse.grants))}"
        note(f"void {reference}: {grant_id}")
        return self._account_ask(questions.void(self.duel, reference, grant_id))

    def _change_plan(self, dice: Dice) -> Ask:
        to_trial = self.duel.model.plan == "growth" and dice.once_in(6)
        reference, plan = self._reference(dice), "trial" if to_trial else "growth"
        note(f"change plan {reference}: {plan}")
        return self._account_ask(questions.change_plan(self.duel, reference, plan))

    def _change_timezone(self, dice: Dice) -> Ask:
        reference, timezone = self._reference(dice), dice.pick(ZONES)
        note(f"change time zone {reference}: {timezone}")
        return self._account_ask(questions.change_timezone(self.duel, reference, timezone))

    def _open_again(self, dice: Dice) -> Ask:
        plan = dice.pick(("growth", "trial"))
        timezone = dice.pick((self.duel.model.timezone, self.duel.model.timezone, "Asia/Tokyo"))
        note(f"open again: {plan} {timezone}")
        return questions.open_again(self.duel, plan, timezone)

    def _upgrade(self, dice: Dice) -> Ask:
        note("upgrade")
        return questions.upgrade(self.duel)

    def _close(self, dice: Dice) -> Ask:
        reference = self._reference(dice)
        note(f"close {reference}")
        return self._account_ask(questions.close(self.duel, reference))

    def _set_cap(self, dice: Dice) -> Ask:
        reference, cap = self._reference(dice), self._cap(dice)
        limit_mc = dice.pick((self._just_above(cap, dice), dice.below(250), MAX_MC, 0))
        used_mc = dice.pick((0, 0, 0, 0, 0, 0, 30, MAX_MC))
        note(f"set cap {reference}: {cap} {limit_mc=} {used_mc=}")
        return self._account_ask(questions.set_cap(self.duel, reference, cap, limit_mc, used_mc))

    def _set_alert_marks(self, dice: Dice) -> Ask:
        own = self.duel.model.own_marks
        before = own if dice.below(4) else None
        after = dice.pick((None, (("p30", "a90"), (70, 100)), ((), ()), (("p20",), (50,))))
        note(f"set alert marks: {before} -> {after}")
        return questions.set_alert_marks(self.duel, before, after)

    def _just_above(self, name: CapName, dice: Dice) -> int:
        """A limit that what runs already nearly fills."""
        cap = self.duel.model.caps.by_name.get(name)
        held = cap.window(self.duel.model.moment) if cap else None
        return min(MAX_MC, dice.below(80) + (held.charged + held.reserved if held else 0))

    def _remove_cap(self, dice: Dice) -> Ask:
        reference, caps = self._reference(dice), list(self.duel.model.caps.by_name)
        cap = dice.pick(caps) if caps and dice.below(8) else self._cap(dice)
        note(f"remove cap {reference}: {cap}")
        return self._account_ask(questions.remove_cap(self.duel, reference, cap))

    def _cap(self, dice: Dice) -> CapName:
        """One of those that are there, or one that names few dimensions."""
        caps = list(self.duel.model.caps.by_name)
        if caps and dice.below(3) == 0:
            return dice.pick(caps)
        names = [dice.pick((*[None] * 4, *choices)) for choices in (WORKSPACES, CAMPAIGNS)]
        names += [dice.pick((*[None] * 3, *choices)) for choices in (ACTIONS, SOURCES)]
        return CapName(dice.pick(WINDOWS), *names)

    def _switch(self, dice: Dice) -> Ask:
        # Rather on again than off: where all is off, nothing happens.
        off = sorted(self.duel.model.switched_off)
        target, on = dice.pick(TARGETS), dice.once_in(3)
        if off and dice.below(3):
            target, on = dice.pick(off), True
        reference = self._reference(dice)
        note(f"switch {reference}: {target} {on=}")
        return self._account_ask(questions.switch(self.duel, reference, target, on))


def _name(made: Made) -> str:
    return f"{made.attempt.execution_id} {made.attempt.attempt_id}"
