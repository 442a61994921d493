"""Asks the ledger and the model the same, and insists on the same answers and alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from runtime.credits.identity import ExecutionAttempt
from tests.harness.ledger.comparison import Comparison, insist
from tests.harness.ledger.desk import OFFERS, PLANS, SCRIPTS_WITH_CLOCK, Desk
from tests.harness.ledger.plain import answer_of, stored_as_text
from tests.harness.ledger.staged import Loss
from tests.harness.ledger.wire import Wire
from tests.harness.model import Identity, Model, Rules
from tests.harness.model.calendar import local_date, window_end
from tests.harness.model.references import Answer

HORIZON_MS = 4_000
COOLDOWN_MS = 1_000
Order = list[list[int]]


@dataclass(frozen=True)
class Ask:
    """One verb with its arguments, for both.

    ``then`` is what the model does for the scripts that the ledger runs after its first answer.
    Verbs about the account never wait behind others.
    """

    ledger: Callable[[], Awaitable[object]]
    model: Callable[[], Answer]
    ends: bool = False
    is_about_account: bool = False
    then: Callable[[Answer], None] = lambda answer: None


@dataclass(frozen=True)
class Made:
    """An attempt that was made, and what it said that its execution stands for."""

    attempt: ExecutionAttempt
    identity: Identity


@dataclass
class Duel:
    """One account, kept twice."""

    desk: Desk
    wire: Wire
    account_id: str
    model: Model = field(init=False)
    comparison: Comparison = field(init=False)
    made: list[Made] = field(default_factory=list)
    reserved: dict[str, tuple[int, int]] = field(default_factory=dict)
    done: int = 0
    wrote: bool = False
    is_current: bool = True
    """Whether the last script knew the time that it is now."""

    async def start(
        self, at_ms: int, plan: str = "growth", timezone: str = "UTC", schema: int = 2
    ) -> None:
        settings = self.desk.ledger.settings
        rules = Rules(
            HORIZON_MS,
            PLANS,
            settings.low_marks,
            tuple(int(mark[1:]) for mark in settings.cap_marks),
            settings.alert_cooldown_ms,
            tuple((cap.dimension, str(cap.window), cap.limit_mc) for cap in settings.default_caps),
        )
        self.model = Model(rules, clock=at_ms, plan=plan, timezone=timezone, schema=schema)
        self.desk.ledger.watch.schema = schema
        self.desk.transport.losses.clear()
        self.desk.transport.zone_asked_for = ""
        self.comparison = Comparison(self.desk, self.wire, self.account_id)
        self.desk.alerts.clear()
        await self.set_clock(at_ms)
        await self.desk.ledger.accounts.open_account(
            self.account_id, plan=plan, timezone=timezone, paying_since=self.today
        )
        self.give_offers(plan)
        self.is_current = True

    # Time

    @property
    def today(self) -> date:
        return local_date(self.model.clock, self.model.timezone)

    async def set_clock(self, at_ms: int) -> None:
        """Move the server's clock, onwards or back."""
        self.done += 1
        self.desk.now_ms = self.model.clock = at_ms
        # Redis would forget them by itself, by a clock that the test does not set.
        if forgotten := [self.outcome_key(name) for name in self.model.forget_outcomes()]:
            await self.wire.ask(("DEL", *forgotten))
        self.is_current = False

    # Asking

    async def ask(self, *asks: Ask, lose: Sequence[Loss] = ()) -> None:
        """Ask together: the first goes alone, and those that came meanwhile go as one batch.

        A script that asks for the windows of a time zone is run again, which only a call that is
        asked alone and undisturbed does not notice.
        """
        if not self._windows_are_told and (lose or len(asks) > 1):
            for each in asks:
                await self.ask(each)
            return
        told = len(self.desk.alerts), len(self.model.alerts)
        self.done += len(asks)
        self.desk.transport.losses[:] = lose
        answers = await asyncio.gather(*(answer_of(each.ledger()) for each in asks))
        self.desk.transport.losses.clear()
        orders = _orders(asks, lose)
        if len(orders) > 1:
            orders.insert(0, orders.pop(await self._scripts_before_the_accounts(len(orders))))
        self._follow(asks, answers, orders, self._alerts_told(told[0]))
        if Loss.ANSWER not in lose:
            self._compare_alerts_told(*told)
        self.is_current = True

    @property
    def _windows_are_told(self) -> bool:
        return self.model.timezone in ("UTC", self.desk.transport.zone_asked_for)

    async def _scripts_before_the_accounts(self, scripts: int) -> int:
        """How many of the scripts that ran last came before the one about the account.

        By the server's slow log, which has every script: answers do not always tell.
        """
        (logged,) = await self.wire.ask(("SLOWLOG", "GET", 64))
        account = self.desk.keys.of_account(self.account_id)[0].encode()
        ran = [args[1] for _, _, _, args, *_ in logged if args[3:4] == [account]][:scripts]
        about_account = SCRIPTS_WITH_CLOCK.accounts.sha.encode()
        # The newest, for one that the server did not have was logged too, and sent again.
        return scripts - 1 - ran.index(about_account) if about_account in ran else 0

    def _follow(
        self,
        asks: Sequence[Ask],
        answers: list[Answer],
        orders: Sequence[Order],
        alerts: list[tuple[str, int, int]],
    ) -> None:
        """Have the model do the same, in the order that explains the answers and the alerts."""
        self.wrote = False
        before, told = self.model, len(self.model.alerts)
        expected: list[tuple[list[Answer], list[tuple[str, int, int]]]] = []
        for order in orders:
            self.model = before if order is orders[-1] else deepcopy(before)
            expected.append((self._answers_in(asks, order), self._told_by_model(told)))
            if expected[-1] == (answers, alerts):
                break
            if len(orders) == 1:
                insist(answers, expected[-1][0])
                break
        else:
            insist((answers, alerts), expected)
        for each, answer in zip(asks, answers, strict=True):
            each.then(answer)

    def _answers_in(self, asks: Sequence[Ask], order: Order) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for script in order:
            replies = self.model.script(*(asks[number].model for number in script))
            answers.update(zip(script, map(stored_as_text, replies), strict=True))
            self.wrote = self.wrote or self.model.changed
        return [answers[number] for number in range(len(asks))]

    async def ask_and_look_closely(self, ask: Ask) -> None:
        """Law 11a: what changes nothing by the model's word leaves every key as it was."""
        await self.write_what_is_due()
        keys = self.all_keys()
        before = await self.desk.contents(keys)
        await self.ask(ask)
        if not self.wrote:
            insist(await self.desk.contents(keys), before)

    async def write_what_is_due(self) -> None:
        told = len(self.desk.alerts), len(self.model.alerts)
        await self.desk.write_what_is_due(self.account_id)
        self.model.script(self.model.sweep)
        self._compare_alerts_told(*told)
        self.is_current = True

    def _compare_alerts_told(self, by_ledger: int, by_model: int) -> None:
        insist(self._alerts_told(by_ledger), self._told_by_model(by_model))

    def _alerts_told(self, since: int) -> list[tuple[str, int, int]]:
        """Sorted: answers of script calls that raced may come in another order than they ran in."""
        return sorted((a.mark, a.threshold_mc, a.left_mc) for a in self.desk.alerts[since:])

    def _told_by_model(self, since: int) -> list[tuple[str, int, int]]:
        return sorted(alert[:3] for alert in self.model.alerts[since:])

    def give_offers(self, plan: str) -> None:
        """What the ledger does after an account came to a plan, each offer in its own script."""
        if not PLANS[plan] or self.model.plan != plan:
            return
        for offer in OFFERS:
            expires = None
            if offer.expires_after_days is not None:
                expires = window_end("day", self.model.clock, self.model.timezone)
            reference, amount_mc = f"offer:{offer.id}", offer.amount_mc
            self.model.script(
                partial(self.model.grant, reference, offer.kind, amount_mc, None, expires)
            )
            self.wrote = self.wrote or self.model.changed

    # Attempts

    def choose(self, choice: int) -> Made:
        """An attempt made before: one that runs, one that expired, or any."""
        running, expired = [], []
        for made in self.made:
            execution = self.model.executions.get(made.attempt.execution_id)
            if execution and execution.runs(made.attempt.attempt_id):
                running.append(made)
            if execution and made.attempt.attempt_id in execution.expired_attempts:
                expired.append(made)
        wanted = (running, running, expired, self.made)[choice % 4]
        candidates = wanted or expired or running or self.made
        return candidates[choice // 4 % len(candidates)]

    def make(self, execution_id: str, identity: Identity) -> Made:
        """Another attempt; it is remembered unless it turns out to be in conflict."""
        attempt = self.desk.attempt(execution_id, account_id=self.account_id, **identity._asdict())
        return Made(attempt, identity)

    # Keys

    def outcome_key(self, execution_id: str) -> str:
        return self.desk.outcome_key(execution_id, self.account_id)

    def all_keys(self) -> list[str]:
        executions = sorted({made.attempt.execution_id for made in self.made})
        return [*self.desk.keys.of_account(self.account_id), *map(self.outcome_key, executions)]

    # Comparing

    async def compare(self) -> None:
        """Everything that is cheap enough to compare after each step."""
        if self.is_current:
            await self.comparison.after_a_script(self.model)
        else:
            await self.comparison.by_reading_alone(self.model)

    async def compare_in_full(self) -> None:
        await self.write_what_is_due()
        await self.comparison.in_full(self.model)

    async def forget(self) -> None:
        """Take the account and its bucket out of Redis, so that long runs stay small."""
        await self.wire.ask(("DEL", *self.all_keys()))


def _orders(asks: Sequence[Ask], lose: Sequence[Loss]) -> list[Order]:
    """The orders in which script calls may have run, each call with the asks that it carried."""
    waiting = [number for number, ask in enumerate(asks) if not ask.is_about_account]
    at_once = [number for number, ask in enumerate(asks) if ask.is_about_account]
    if not waiting:
        (alone,) = at_once
        return [_order([alone], lose, asks)]
    order = _order(waiting, lose, asks)
    if not at_once:
        return [order]
    assert not any(loss is not Loss.NOTHING for loss in lose)
    (alone,) = at_once
    return [[*order[:place], [alone], *order[place:]] for place in range(len(order) + 1)]


def _order(numbers: Sequence[int], lose: Sequence[Loss], asks: Sequence[Ask]) -> Order:
    """Endings go before others that came earlier; who hears of a loss asks again."""
    first, others = [numbers[0]], numbers[1:]
    rest = [n for n in others if asks[n].ends] + [n for n in others if not asks[n].ends]
    first_lost, rest_lost = (*lose, Loss.NOTHING, Loss.NOTHING)[:2]
    assert Loss.NOTHING in (first_lost, rest_lost)
    order = []
    if first_lost is not Loss.REQUEST:
        order.append(first)
    if rest_lost is not Loss.REQUEST:
        order.append(rest)
    if first_lost is not Loss.NOTHING:
        order.append(first)
    if rest_lost is not Loss.NOTHING:
        order += [rest[:1], rest[1:]]
    return [script for script in order if script]
