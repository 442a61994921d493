"""What is compared: balances, caps, what reservations pin, the journal, alerts in Redis."""

from __future__ import annotations

from dataclasses import dataclass, field

from pricing.offers import MAX_MC
from runtime.credits.identity import Dimensions
from runtime.credits.journal import JournalEntry, Kind, Part, parse, replay, verify
from runtime.credits.results import Balance
from tests.harness.ledger.desk import Desk
from tests.harness.ledger.plain import plain_cap
from tests.harness.ledger.wire import Wire
from tests.harness.model import PARTS, Grant, Model
from tests.harness.model.books import Settlement

BUCKET_DUE, ALERTS = -4, -1


def insist(found: object, expected: object) -> None:
    """The ledger's word is the model's."""
    assert found == expected, f"the ledger says {found}, the model {expected}"


@dataclass
class Comparison:
    """One account's books beside the model's."""

    desk: Desk
    wire: Wire
    account_id: str
    entries: list[JournalEntry] = field(default_factory=list)
    names: dict[int, Dimensions] = field(default_factory=dict)

    async def after_a_script(self, model: Model) -> Balance:
        balance = await self.desk.ledger.accounts.balance(self.account_id)
        _compare_balance(balance, model)
        await self._compare_caps(model)
        await self._compare_open_and_journal(balance)
        return balance

    async def by_reading_alone(self, model: Model) -> None:
        """Law 8a: what is due by now is shown as ended, though no script has ended it."""
        seen = model.look()
        _compare_balance(await self.desk.ledger.accounts.balance(self.account_id), seen)
        await self._compare_caps(seen)

    async def in_full(self, model: Model) -> None:
        """What costs more: the journal adds up to the balance, and every alert is in Redis."""
        balance = await self.after_a_script(model)
        _compare_replay(self.entries, balance)
        insist(_settlements(self.entries), model.settlements)
        keys = self.desk.keys.of_account(self.account_id)
        due, alerts = await self.wire.ask(
            ("ZSCORE", keys[BUCKET_DUE], self.account_id), ("XRANGE", keys[ALERTS], "-", "+")
        )
        # The order of what one script tells is nobody's concern.
        found = sorted((_alert(fields) for _, fields in alerts), key=_when_told)
        insist(found, sorted(model.alerts, key=_when_told))
        _compare_due(due, model)

    async def _compare_caps(self, model: Model) -> None:
        if model.caps.by_name:
            found = [
                plain_cap(status)
                for status in await self.desk.ledger.accounts.caps(self.account_id)
            ]
            expected = [cap.status(model.moment) for cap in model.caps.by_name.values()]
            insist(sorted(found, key=str), sorted(expected, key=str))

    async def _compare_open_and_journal(self, balance: Balance) -> None:
        """Law 2b: what is reserved is what reservations pin. Law 2c: no entry is missing."""
        last = self.entries[-1] if self.entries else None
        records, raw = await self.wire.ask(
            ("HVALS", self.desk.key("open", self.account_id)),
            (
                "XRANGE",
                self.desk.key("journal", self.account_id),
                f"(0-{last.seq}" if last else "-",
                "+",
            ),
        )
        pinned: dict[str, int] = {}
        for grant_id, amount_mc in (pair for record in records for pair in _slices_of(record)):
            pinned[grant_id] = pinned.get(grant_id, 0) + amount_mc
        insist(pinned, {g.grant_id: g.reserved_mc for g in balance.grants if g.reserved_mc})
        entries = [parse(id_, {b"e": e, b"c": c}, self.names) for id_, (_, e, _, c) in raw]
        verify(entries, last.chain if last else "", last.seq if last else 0)
        self.entries += entries
        insist(len(self.entries), balance.journal_seq)
        insist({entry.epoch for entry in entries} - {self.entries[0].epoch}, set())


def _compare_balance(balance: Balance, model: Model) -> None:
    assert balance.conserved, balance
    grants = sorted(model.purse.grants, key=Grant.burn_order)
    found = [
        (grant.grant_id, *(getattr(grant, f"{part}_mc") for part in PARTS))
        for grant in balance.grants
    ]
    insist(found, [(f"g{g.number}", *(getattr(g, part) for part in PARTS)) for g in grants])
    assert min((amount for _, *amounts in found for amount in amounts), default=0) >= 0, found
    assert balance.charged_mc + balance.reserved_mc <= balance.granted_mc
    running = [execution for execution in model.executions.values() if execution.open]
    insist(
        (
            balance.at_ms,
            balance.state,
            balance.plan,
            balance.timezone,
            balance.overage_mc,
            balance.exposure_mc,
            balance.open_reservations,
            set(balance.switched_off),
        ),
        (
            model.now,
            model.state,
            model.plan,
            model.timezone,
            min(model.overage, MAX_MC),
            model.exposure,
            len(running),
            model.switched_off,
        ),
    )


def _compare_replay(entries: list[JournalEntry], balance: Balance) -> None:
    books = replay(entries)
    insist(balance.overage_mc, min(books.overage_mc, MAX_MC))
    insist(balance.exposure_mc, books.exposure_mc)
    for grant in balance.grants:
        rebuilt = books.grants[grant.grant_id]
        insist(rebuilt.amount_mc, grant.amount_mc)
        expected = {
            Part.AVAILABLE: grant.available_mc + grant.reserved_mc,
            Part.RESERVED: 0,
            Part.CHARGED: grant.charged_mc,
            Part.EXPIRED: grant.expired_mc,
            Part.VOIDED: grant.voided_mc,
        }
        insist(rebuilt.parts_mc, expected)


def _compare_due(score: bytes | None, model: Model) -> None:
    """The sweeper comes no later than something is due, and not again and again for nothing."""
    next_due = model.next_due()
    if next_due is not None:
        assert score is not None, f"no sweep, though something is due at {next_due}"
        assert model.now < float(score) <= next_due, f"swept at {score!r}, due at {next_due}"


def _settlements(entries: list[JournalEntry]) -> list[Settlement]:
    return [
        Settlement(_version(entry), entry.free_mc, entry.reason or "", entry.choices)
        for entry in entries
        if entry.kind is Kind.SETTLED
    ]


def _version(entry: JournalEntry) -> int:
    return int(entry.body.partition("\t")[0])


def _when_told(alert: tuple[str, int, int, int]) -> tuple[int, str]:
    mark, _, _, at = alert
    return at, mark


def _alert(fields: list[bytes]) -> tuple[str, int, int, int]:
    by_name = dict(zip(fields[::2], fields[1::2], strict=True))
    threshold, left, at = (by_name[name] for name in (b"threshold_mc", b"left_mc", b"at_ms"))
    return (by_name[b"mark"].decode(), int(threshold), int(left), int(at))


def _slices_of(record: bytes) -> list[tuple[str, int]]:
    """What an open reservation's record pins, by grant; nothing where it has expired."""
    _, state, _, _, _, _, slices, *_ = record.decode().split("\t")
    if state != "o":
        return []
    pairs = (text.split(":") for text in slices.split(",") if text)
    return [(grant_id, int(amount)) for grant_id, amount in pairs]
