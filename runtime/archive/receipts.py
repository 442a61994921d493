"""Receipts: all that is known of one execution, from the ledger and from the archive."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import literal_column, select

from runtime.archive.errors import NotArchived
from runtime.archive.lines import GrantNames, GrantPayment, StatementLine, grant_names, line_of
from runtime.archive.statement import Statements
from runtime.credits.identity import Dimensions
from runtime.credits.inspection import StreamEntry
from runtime.credits.journal import JournalEntry, Kind, parse
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Existing, InProgress
from runtime.store.database import Database
from runtime.store.schema import accounts, dimensions, entries

MOST_WAITING = 20_000
"""The entries that wait to be archived, and are looked through, at most."""

_PAGE = 1_000
_KIND, _KEY, _DIMS = 2, 4, 7
_TELLING = ("n", "g")  # what numbers and grants stand for
# Of an execution's entries, the one that says what became of it.
_ENDS = (Kind.SETTLED, Kind.REFUSED, Kind.RELEASED, Kind.EXPIRED, Kind.EXPOSURE)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One execution. Amounts are millicredits.

    Args:
        outcome: while the ledger keeps it, ``InProgress`` while the execution runs, else ``None``.
        lines: its entries, oldest first. Those that are not archived yet have no balance.
    """

    account_id: str
    execution_id: str
    outcome: Existing | InProgress | None
    lines: tuple[StatementLine, ...]

    @property
    def ending(self) -> JournalEntry | None:
        """The entry of its charge; else of its refusal, its release, its expiry, or its call."""
        by_kind = {line.entry.kind: line.entry for line in self.lines}
        return next((by_kind[kind] for kind in _ENDS if kind in by_kind), None)

    @property
    def state(self) -> str:
        """``running``, or what it ended with: ``settled``, ``refused``, ``released`` ..."""
        if isinstance(self.outcome, InProgress):
            return "running"
        if self.outcome is not None:
            return self.outcome.state
        return "" if self.ending is None else self.ending.kind.value

    @property
    def payments(self) -> tuple[GrantPayment, ...]:
        """The grants that paid, in the order in which they did."""
        return tuple(payment for line in self.lines for payment in line.payments)

    @property
    def charged_mc(self) -> int:
        """The amount charged."""
        if isinstance(self.outcome, Existing):
            return self.outcome.charged_mc
        return sum(payment.amount_mc for payment in self.payments)

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of all its entries, each once."""
        return tuple(dict.fromkeys(flag for line in self.lines for flag in line.entry.flags))


class Receipts:
    """Looks executions up by their id, however long ago they ended.

    Args:
        installation: as ``Statements`` has it.
    """

    def __init__(self, ledger: CreditLedger, database: Database, installation: str) -> None:
        self._ledger = ledger
        self._database = database
        self._statements = Statements(database, installation)

    async def find(self, account_id: str, execution_id: str) -> Receipt | None:
        """Return an execution's receipt; ``None`` if the account has none of that id.

        Raises:
            ValueError: one of the ids is not allowed.
            LedgerUnavailable: Redis does not answer.
            EntryDamaged, StoreUnavailable: as ``Statements``.
        """
        attempt = self._ledger.unnamed_attempt(account_id, execution_id)
        outcome = await self._ledger.look_up(attempt)
        lines = {line.seq: line for line in await self._waiting(account_id, attempt.execution_key)}
        # What was archived meanwhile is in both.
        for line in await self._archived(account_id, attempt.execution_key):
            lines[line.seq] = line
        if outcome is None and not lines:
            return None
        ordered = tuple(lines[seq] for seq in sorted(lines))
        return Receipt(account_id, execution_id, outcome, ordered)

    async def _archived(self, account_id: str, execution_key: str) -> Sequence[StatementLine]:
        try:
            return await self._statements.of_execution(account_id, execution_key)
        except NotArchived:
            return ()

    async def _waiting(self, account_id: str, execution_key: str) -> Sequence[StatementLine]:
        """Return the lines of entries that wait to be archived."""
        try:
            behind = (await self._statements.account(account_id)).seq
        except NotArchived:
            behind = 0
        found: list[StreamEntry] = []
        telling: list[StreamEntry] = []
        for _ in range(MOST_WAITING // _PAGE):
            page = await self._ledger.inspection.journal(account_id, behind, _PAGE)
            for entry in page:
                columns = entry.body.split("\t", _KEY + 1)
                if columns[_KIND] in _TELLING:
                    telling.append(entry)
                elif len(columns) > _KEY and columns[_KEY] == execution_key:
                    found.append(entry)
            if len(page) < _PAGE:
                break
            behind = page[-1].seq
        return await self._lines(account_id, found, telling) if found else ()

    async def _lines(
        self, account_id: str, found: Sequence[StreamEntry], telling: Sequence[StreamEntry]
    ) -> Sequence[StatementLine]:
        numbers = set(map(_dims, found))
        named, grants = await _archived_names(self._database, account_id, numbers)
        for entry in telling:
            told = _parsed(entry, named)
            for posting in told.postings if told.kind is Kind.GRANTED else ():
                grants[posting.grant_id] = (told.detail[0], told.reference)
        return [line_of(account_id, _parsed(entry, named), 0, grants) for entry in found]


async def _archived_names(
    database: Database, account_id: str, numbers: Collection[int]
) -> tuple[dict[int, Dimensions], GrantNames]:
    """Return the archived dimensions of these numbers, and kind and reference of all grants."""
    async with database.connect() as connection:
        no = await connection.scalar(
            select(accounts.c.no).where(accounts.c.account_id == account_id)
        )
        rows = await connection.execute(
            select(dimensions).where(dimensions.c.account == no, dimensions.c.number.in_(numbers))
        )
        named = {
            row.number: Dimensions(*(getattr(row, name) for name in Dimensions._fields))
            for row in rows
        }
        granted = await connection.execute(
            select(entries.c.seq, entries.c.chain, entries.c.body)
            .where(entries.c.account == no, literal_column("kind = 'g'"))
            .order_by(entries.c.seq)
        )
        return named, grant_names(account_id, granted.all(), lambda grant_id: True)


def _dims(entry: StreamEntry) -> int:
    columns = entry.body.split("\t", _DIMS + 1)
    return int(columns[_DIMS] or 0) if len(columns) > _DIMS else 0


def _parsed(entry: StreamEntry, named: dict[int, Dimensions]) -> JournalEntry:
    fields = {b"e": entry.body.encode(), b"c": entry.chain.encode()}
    return parse(f"0-{entry.seq}", fields, named)
