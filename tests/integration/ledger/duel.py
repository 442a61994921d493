"""Asks the ledger and the model the same, and insists on the same answers, books and alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pricing.offers import MAX_MC
from runtime.credits.answers import Balance
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import Dimensions, JournalEntry, Part, parse, replay, verify
from tests.integration.ledger.desk import PLANS, Desk
from tests.integration.ledger.loss import Loss, LossyTransport
from tests.integration.ledger.model import PARTS, Grant, Identity, Model
from tests.integration.ledger.model.books import Rules
from tests.integration.ledger.model.references import Answer
from tests.integration.ledger.plain import answer_of

HORIZON_MS = 4_000


@dataclass(frozen=True)
class Ask:
    """One verb with its arguments, for both."""

    ledger: Callable[[], Awaitable[object]]
    model: Callable[[], Answer]
    ends: bool = False
    hear: Callable[[Answer], None] = lambda answer: None


@dataclass(frozen=True)
class Made:
    """An attempt that was made, and what it said that its execution stands for."""

    attempt: ExecutionAttempt
    identity: Identity


@dataclass
class Duel:
    """One account, kept twice."""

    desk: Desk
    account_id: str
    model: Model = field(init=False)
    transport: LossyTransport = field(init=False)
    made: list[Made] = field(default_factory=list)
    reserved: dict[str, tuple[int, int]] = field(default_factory=dict)
    entries: list[JournalEntry] = field(default_factory=list)
    names: dict[int, Dimensions] = field(default_factory=dict)
    is_current: bool = True
    """Whether the last script knew the time that it is now."""

    async def start(self, at_ms: int, plan: str = "growth") -> None:
        await self.desk.set_clock(at_ms)
        settings = self.desk.ledger.settings
        rules = Rules(HORIZON_MS, PLANS, settings.low_marks, settings.alert_cooldown_ms)
        self.model = Model(rules, clock=at_ms, plan=plan)
        self.transport = LossyTransport(self.desk.ledger)
        self.desk.alerts.clear()
        await self.desk.ledger.open_account(self.account_id, plan=plan)

    async def set_clock(self, at_ms: int) -> None:
        """Move the server's clock, onwards or back."""
        await self.desk.set_clock(at_ms)
        self.model.clock = at_ms
        for execution_id in self.model.forget_outcomes():
            # Redis would do it, by a clock that the test does not set.
            await self.desk.client.delete(self._outcome_key(execution_id))
        self.is_current = False

    # Asking

    async def ask(self, *asks: Ask, lose: Sequence[Loss] = ()) -> None:
        """Ask together: the first goes alone, and those that came meanwhile go as one batch."""
        told = len(self.desk.alerts), len(self.model.alerts)
        self.transport.losses = list(lose)
        answers = await asyncio.gather(*(answer_of(each.ledger()) for each in asks))
        self.transport.losses.clear()
        expected: dict[int, Answer] = {}
        for script in _scripts(asks, lose):
            replies = self.model.script(*(asks[number].model for number in script))
            expected.update(zip(script, replies, strict=True))
        for number, answer in enumerate(answers):
            insist(answer, expected[number])
            asks[number].hear(answer)
        if Loss.ANSWER not in lose:
            self._compare_alerts_told(*told)
        self.is_current = True

    async def ask_and_look_closely(self, ask: Ask) -> None:
        """What changes nothing by the model's word leaves every key as it was, byte for byte."""
        await self.write_what_is_due()
        before = await self._dump()
        await self.ask(ask)
        if not self.model.changed:
            after = await self._dump()
            insist({k: v for k, v in after.items() if v != before.get(k)}, {})

    async def write_what_is_due(self) -> None:
        told = len(self.desk.alerts), len(self.model.alerts)
        await self.desk.write_what_is_due(self.account_id)
        self.model.script(self.model.sweep)
        self._compare_alerts_told(*told)
        self.is_current = True

    def _compare_alerts_told(self, by_ledger: int, by_model: int) -> None:
        found = [(a.mark, a.threshold_mc, a.left_mc) for a in self.desk.alerts[by_ledger:]]
        insist(found, [alert[:3] for alert in self.model.alerts[by_model:]])

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
        candidates = (running, running, expired, self.made)[choice % 4] or self.made
        return candidates[choice // 4 % len(candidates)]

    def make(self, execution_id: str, identity: Identity) -> Made:
        """Another attempt; it is remembered once an answer says that it is none of a conflict."""
        attempt = self.desk.attempt(
            execution_id, account_id=self.account_id, **identity._asdict()
        )
        return Made(attempt, identity)

    def _outcome_key(self, execution_id: str) -> str:
        key = self.desk.ledger._identity.execution_key(self.account_id, execution_id)
        return self.desk.keys.outcome(self.account_id, key)

    # Comparing

    async def compare(self) -> None:
        """Everything that is cheap to compare after each step."""
        balance = await self.desk.ledger.balance(self.account_id)
        model = self.model if self.is_current else self.model.look()
        self._compare_balance(balance, model)
        if self.is_current:
            await self._compare_open_and_journal(balance)

    def _compare_balance(self, balance: Balance, model: Model) -> None:
        assert balance.conserved, balance
        found = [
            (grant.grant_id, *(getattr(grant, f"{part}_mc") for part in PARTS))
            for grant in balance.grants
        ]
        in_order = [
            (f"g{grant.number}", *(getattr(grant, part) for part in PARTS))
            for grant in sorted(model.purse.grants, key=Grant.burn_order)
        ]
        insist(found, in_order)
        assert min((amount for _, *amounts in found for amount in amounts), default=0) >= 0
        assert balance.charged_mc + balance.reserved_mc <= balance.granted_mc
        insist(balance.at_ms, model.now)
        insist((balance.state, balance.plan), (model.state, model.plan))
        insist(balance.overage_mc, min(model.overage, MAX_MC))
        insist(balance.exposure_mc, min(model.exposure, MAX_MC))
        running = [execution for execution in model.executions.values() if execution.open]
        insist(balance.open_reservations, len(running))

    async def _compare_open_and_journal(self, balance: Balance) -> None:
        """Promise 4: what is reserved is what reservations pin. Promise 16: no entry is missing."""
        last = self.entries[-1] if self.entries else None
        pipeline = self.desk.client.pipeline(transaction=False)
        pipeline.hvals(self.desk.key("open", self.account_id))
        pipeline.xrange(self.desk.key("journal", self.account_id), f"(0-{last.seq}" if last else "-")
        records, raw = await pipeline.execute()
        pinned: dict[str, int] = {}
        for slices in map(_slices_of, records):
            for grant_id, amount_mc in slices:
                pinned[grant_id] = pinned.get(grant_id, 0) + amount_mc
        insist(pinned, {g.grant_id: g.reserved_mc for g in balance.grants if g.reserved_mc})
        entries = [parse(entry_id, fields, self.names) for entry_id, fields in raw]
        verify(entries, last.chain if last else "", last.seq if last else 0)
        self.entries += entries
        insist(len(self.entries), balance.journal_seq)
        assert len({entry.epoch for entry in self.entries[-len(entries) - 1 :]}) == 1

    async def compare_in_full(self) -> None:
        """What costs more: the journal adds up to the balance, and every alert is in Redis."""
        await self.write_what_is_due()
        await self.compare()
        books = replay(self.entries)
        balance = await self.desk.ledger.balance(self.account_id)
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
                Part.VOIDED: grant.voided_mc,
            }
        insist(await self._alerts_in_redis(), self.model.alerts)

    async def _alerts_in_redis(self) -> list[tuple[str, int, int, int]]:
        raw = await self.desk.client.xrange(self.desk.keys.of_account(self.account_id)[-1])
        return [
            (
                fields[b"mark"].decode(),
                int(fields[b"threshold_mc"]),
                int(fields[b"left_mc"]),
                int(fields[b"at_ms"]),
            )
            for _, fields in raw
            if fields[b"account"] == self.account_id.encode()
        ]

    async def _dump(self) -> dict[str, bytes | None]:
        names = self._all_keys()
        pipeline = self.desk.client.pipeline(transaction=False)
        for name in names:
            pipeline.dump(name)
        return dict(zip(names, await pipeline.execute(), strict=True))

    async def forget(self) -> None:
        """Take the account and its bucket out of Redis, so that long runs stay small."""
        await self.desk.client.delete(*self._all_keys())

    def _all_keys(self) -> list[str]:
        outcomes = {made.attempt.execution_id for made in self.made}
        return [*self.desk.keys.of_account(self.account_id), *map(self._outcome_key, outcomes)]


def insist(found: object, expected: object) -> None:
    """The ledger's word is the model's."""
    assert found == expected, f"the ledger says {found}, the model {expected}"


def _scripts(asks: Sequence[Ask], lose: Sequence[Loss]) -> list[list[int]]:
    """Which calls go together, in order, when one script call's request or answer is lost.

    Endings go before others that came earlier. Who hears of a loss asks again.
    """
    numbers = range(1, len(asks))
    rest = [n for n in numbers if asks[n].ends] + [n for n in numbers if not asks[n].ends]
    first_lost, rest_lost = (*lose, Loss.NOTHING, Loss.NOTHING)[:2]
    assert Loss.NOTHING in (first_lost, rest_lost)
    scripts = []
    if first_lost is not Loss.REQUEST:
        scripts.append([0])
    if rest_lost is not Loss.REQUEST:
        scripts.append(rest)
    if first_lost is not Loss.NOTHING:
        scripts.append([0])
    if rest_lost is not Loss.NOTHING:
        scripts += [rest[:1], rest[1:]]
    return [script for script in scripts if script]


def _slices_of(record: bytes) -> list[tuple[str, int]]:
    """What an open reservation's record pins, by grant; nothing where it has expired."""
    _, state, _, _, _, _, slices, *_ = record.decode().split("\t")
    if state != "o":
        return []
    pairs = (text.split(":") for text in slices.split(",") if text)
    return [(grant_id, int(amount)) for grant_id, amount in pairs]
