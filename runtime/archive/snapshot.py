"""One account as the archive has it at one moment, read in a transaction that sees no later one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.archive.errors import NotArchived
from runtime.archive.rollup import QUARTER_MS, Rollup, moves_of
from runtime.archive.spans import LONGEST_DAY_QUARTERS, Day, Edge, Run, Span, days_of
from runtime.archive.writing import OPEN
from runtime.credits.identity import Dimensions
from runtime.store.database import Database
from runtime.store.schema import COMPLETE_TO, accounts, days, dimensions, entries, installation

MOST_ROWS = 10_000
_PART = 2_000
_MOST_NUMBERS = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """An archived account.

    ``first_ms`` and ``last_ms`` are the times of its outermost entries; ``seen_to_ms`` is when an
    archiver last found it without news.
    """

    no: int
    account_id: str
    timezone: str
    first_ms: int
    last_ms: int
    seen_to_ms: int

    def archived_part(self, window: Span) -> Span | None:
        """Return the part of a window that entries are in, with all of their first and last day.

        Where there are no entries, a window may as well be longer: one that ends now has a whole
        day at its end then, and no single entry has to be read.
        """
        from_ms, after_ms = window.from_ms, window.after_ms
        if from_ms <= self.first_ms:
            from_ms = (self.first_ms // QUARTER_MS - LONGEST_DAY_QUARTERS) * QUARTER_MS
        if after_ms > self.last_ms:
            after_ms = (self.last_ms // QUARTER_MS + LONGEST_DAY_QUARTERS) * QUARTER_MS
        return Span("", from_ms, after_ms) if from_ms < after_ms else None

    def complete_to_ms(self, to_ms: int) -> int | None:
        """Return up to when a window is complete, ``None`` where all of it is."""
        reached_ms = max(self.last_ms, self.seen_to_ms)
        return reached_ms if reached_ms < to_ms else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Reads one account's rows."""

    connection: AsyncConnection
    is_postgres: bool
    account: Account

    async def days(self, first_slot: int, after_slot: int) -> tuple[Day, ...]:
        """Return the days of roll-ups that overlap these quarters."""
        query = (
            select(days.c.slot, days.c.quarters)
            .where(
                days.c.account == self.account.no,
                days.c.slot > first_slot - LONGEST_DAY_QUARTERS,
                days.c.slot < after_slot,
            )
            .order_by(days.c.slot, days.c.quarters)
        )
        found = (await self.connection.execute(query)).all()
        return days_of([(row.slot, row.quarters) for row in found])

    async def sums(
        self, table: str, runs: Iterable[Run], keys: Iterable[str], sums: Iterable[str]
    ) -> list[tuple[Any, ...]]:
        """Return the sums of a roll-up's rows by span and keys, which come first in each row.

        Args:
            keys: columns of the roll-up or of ``dimensions``.

        Raises:
            ValueError: a report would have more than ``MOST_ROWS``.
        """
        pieces = ", ".join(
            f"({run.span}, {run.quarters}, {run.first_slot}, {run.last_slot})" for run in runs
        )
        if not pieces:
            return []
        statement = self._summing(table, pieces, list(keys), list(sums))
        found = (await self.connection.exec_driver_sql(f"{statement} LIMIT {MOST_ROWS + 1}")).all()
        if len(found) > MOST_ROWS:
            raise ValueError(
                f"by: a report has at most {MOST_ROWS:,} rows: ask for a shorter time, or by less"
            )
        return [tuple(row) for row in found]

    def _summing(self, table: str, pieces: str, keys: list[str], sums: list[str]) -> str:
        """Return a SELECT, put together of integers and of names of columns that are known here.

        Rows are added up by the number of their dimensions before these get their names.
        """
        own = [key for key in keys if key not in Dimensions._fields]
        inner = ["span", *(["dims"] if len(own) < len(keys) else []), *own]
        added = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in sums)
        condition = (
            f"u.account = {self.account.no} AND u.quarters = p.quarters "
            "AND u.slot BETWEEN p.first AND p.last"
        )
        # Both databases are kept from reading other rows than those of the runs: SQLite joins in
        # the order of a cross join, PostgreSQL looks beyond OFFSET 0 for no other way.
        rows = f"CROSS JOIN {table} u WHERE {condition}"
        if self.is_postgres:
            fenced = f"SELECT * FROM {table} u WHERE {condition} OFFSET 0"  # noqa: S608 - names and numbers
            rows = f"CROSS JOIN LATERAL ({fenced}) u"
        grouped = ", ".join(inner)
        statement = (
            f"WITH p (span, quarters, first, last) AS (VALUES {pieces}) "  # noqa: S608 - names and numbers
            f"SELECT {grouped}, {added} FROM p {rows} GROUP BY {grouped}"
        )
        if "dims" not in inner:
            return statement
        named = ", ".join(["span", *(f"d.{key}" if key not in own else key for key in keys)])
        return (
            f"SELECT {named}, {added} FROM ({statement}) AS t "  # noqa: S608 - names and numbers
            f"LEFT JOIN dimensions d ON d.account = {self.account.no} AND d.number = t.dims "
            f"GROUP BY {named}"
        )

    async def entries(self, edges: Iterable[Edge], *kinds: str) -> list[tuple[int, Rollup]]:
        """Return the roll-ups of the entries of edges, each with the number of its span."""
        found = []
        for edge in edges:
            happened = entries.c.at_ms.between(edge.from_ms, edge.after_ms - 1)
            chosen = entries.c.kind.in_(kinds) if kinds else True
            found.append((edge.span, await self.rolled_up(happened, chosen)))
        return found

    async def rolled_up(self, *conditions: Any) -> Rollup:
        """Return the roll-up of the entries that meet conditions, read in bounded memory."""
        rollup = Rollup()
        columns = (
            entries.c.kind,
            entries.c.at_ms,
            entries.c.effective_ms,
            entries.c.dims,
            entries.c.body,
        )
        query = select(*columns).where(entries.c.account == self.account.no, *conditions)
        async with self.connection.stream(query) as found:
            async for part in found.partitions(_PART):
                for kind, at_ms, effective_ms, dims, body in part:
                    columns = body.split("\t")
                    where = (self.account.no, kind, at_ms, effective_ms, dims)
                    rollup.add(*where, columns, moves_of(columns))
        return rollup

    async def names(self, numbers: Iterable[int]) -> Mapping[int, Dimensions]:
        """Return dimensions by their numbers; 0 stands for none."""
        wanted = sorted(set(numbers) - {0})
        names = {0: Dimensions("", "", "", "", "", "")}
        columns = [dimensions.c[name] for name in Dimensions._fields]
        for start in range(0, len(wanted), _MOST_NUMBERS):
            query = select(dimensions.c.number, *columns).where(
                dimensions.c.account == self.account.no,
                dimensions.c.number.in_(wanted[start : start + _MOST_NUMBERS]),
            )
            for number, *values in await self.connection.execute(query):
                names[number] = Dimensions(*values)
        return names


@asynccontextmanager
async def snapshot_of(database: Database, account_id: str) -> AsyncIterator[Snapshot]:
    """Open a transaction in which nothing changes, on one account.

    Raises:
        NotArchived: the archive does not know the account.
        StoreUnavailable: the archive does not answer.
    """
    async with database.connect() as connection:
        if database.is_postgres:
            reader = await connection.execution_options(isolation_level="REPEATABLE READ")
        else:
            reader = connection
            # Python's driver begins no transaction of its own before a SELECT.
            await reader.exec_driver_sql("BEGIN")
        yield Snapshot(reader, database.is_postgres, await _account(reader, account_id))


async def _account(connection: AsyncConnection, account_id: str) -> Account:
    first, last = (
        select(entries.c.at_ms)
        .where(entries.c.account == accounts.c.no)
        .order_by(order)
        .limit(1)
        .scalar_subquery()
        for order in (entries.c.at_ms, entries.c.at_ms.desc())
    )
    seen_to = (
        select(installation.c.value).where(installation.c.name == COMPLETE_TO).scalar_subquery()
    )
    query = select(
        accounts.c.no,
        accounts.c.timezone,
        accounts.c.state,
        first.label("first_ms"),
        last.label("last_ms"),
        seen_to.label("seen_to"),
    ).where(accounts.c.account_id == account_id)
    found = (await connection.execute(query)).first()
    if found is None or found.first_ms is None:
        raise NotArchived(
            f"the archive has no account {account_id!r}: there is none, or nothing of it was "
            "archived yet"
        )
    return Account(
        no=found.no,
        account_id=account_id,
        timezone=found.timezone or "UTC",
        first_ms=found.first_ms,
        last_ms=found.last_ms,
        seen_to_ms=int(found.seen_to or 0) if found.state == OPEN else 0,
    )


KIND_G: ColumnElement[bool] = literal_column("kind = 'g'")
"""The entries of grants, in the words by which SQLite finds their index."""
