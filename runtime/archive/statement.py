"""Statements: each movement of an account, with the running balance after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.archive.cursors import Query
from runtime.archive.errors import EntryDamaged, NotArchived
from runtime.archive.lines import (
    GrantNames,
    StatementLine,
    grant_names,
    line_of,
    paying,
    read_entry,
)
from runtime.archive.opening import open_written_archive
from runtime.config import Config
from runtime.credits.identity import Dimensions
from runtime.credits.installation_key import identity_of
from runtime.credits.journal import JournalError, Kind, parse
from runtime.store.database import Database
from runtime.store.schema import (
    EXECUTION_KEY_AT,
    EXECUTION_KEY_INDEXED,
    accounts,
    dimensions,
    entries,
)

MOST_LINES = 10_000
# Entries between two steps of the event loop, which others share.
_CHUNK = 500
_MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class ArchivedAccount:
    """An account, and how far it is archived. ``state`` is ``forked`` after a fork was found."""

    no: int
    account_id: str
    seq: int
    left_mc: int
    state: str
    archived_ms: int
    timezone: str


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Some lines of a statement; ``next_cursor`` is ``None`` on the last page."""

    account: ArchivedAccount
    lines: tuple[StatementLine, ...]
    next_cursor: str | None


@asynccontextmanager
async def open_statements(config: Config) -> AsyncIterator[Statements]:
    """Open the statements of the configured archive.

    Example::

        async with open_statements(config) as statements:
            page = await statements.page("acme", limit=20)
            for line in page.lines:
                print(line.at, line.what, line.change_mc, line.left_mc)

    Raises:
        StoreUnavailable: the archive can't be reached.
        StoreError: nothing was archived yet, its schema is newer, or it is another installation's.
        InstallationKeyTooShort, NotPrivate: as ``open_ledger``.
    """
    check = identity_of(config).check_value()
    async with open_written_archive(config, check) as database:
        yield Statements(database, f"{check} {config.redis.key_prefix}")


class Statements:
    """The statements of an installation's accounts, as far as they are archived.

    Each line is checked as it is read: it must continue the chain of the entry before it, and its
    running balance must follow. New entries don't move what a cursor stands for.

    Args:
        installation: what tells the installation from others, for cursors.

    Raises (all methods):
        NotArchived: the account or the entry is not in the archive.
        EntryDamaged: an entry is not what the ledger wrote.
        StoreUnavailable: the archive does not answer.
    """

    def __init__(self, database: Database, installation: str) -> None:
        self._database = database
        self._installation = installation

    async def account(self, account_id: str) -> ArchivedAccount:
        """Return how far an account is archived, and its time zone."""
        async with self._database.connect() as connection:
            return await _account(connection, account_id)

    async def page(
        self,
        account_id: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        newest_first: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> StatementPage:
        """Return a page of the lines that were written in a window of time.

        Args:
            from_ms: its first instant, in milliseconds since 1970; ``None`` for the beginning.
            to_ms: the first instant after it; ``None`` for no end.
            limit: the most lines, 1 to 10,000.
            cursor: ``next_cursor`` of the page before, of the same query.

        Raises:
            CursorRefused: the cursor is of another query, account or installation.
            ValueError: ``limit`` is not allowed, or the window ends before it begins.
        """
        if type(limit) is not int or not 1 <= limit <= MOST_LINES:
            raise ValueError(f"limit: found {limit!r}, allowed are 1 to {MOST_LINES:,}")
        query = self._query(account_id, from_ms, to_ms, newest_first)
        behind = None if cursor is None else query.behind(cursor)
        lines: list[StatementLine] = []
        async with self._database.connect() as connection:
            account = await _account(connection, account_id)
            window = await _Window.of(connection, account, query)
            names: GrantNames = {}
            while len(lines) <= limit:
                wanted = min(_CHUNK, limit + 1 - len(lines))
                rows = await window.rows(connection, behind, wanted)
                lines += await _lines(connection, account, rows, names)
                if len(rows) < wanted:
                    break
                behind = rows[-1].seq
        page = tuple(lines[:limit])
        more = len(lines) > limit
        return StatementPage(account, page, query.cursor(page[-1].seq) if more else None)

    async def lines(
        self,
        account_id: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        newest_first: bool = True,
    ) -> AsyncIterator[StatementLine]:
        """Yield all lines of a window of time, in bounded memory; arguments as ``page`` has them.

        What is archived after the first line is left out.
        """
        query = self._query(account_id, from_ms, to_ms, newest_first)
        async with self._database.connect() as connection:
            account = await _account(connection, account_id)
            window = await _Window.of(connection, account, query)
        names: GrantNames = {}
        behind = None
        while True:
            # Not one long transaction, which would keep the database from tidying up.
            async with self._database.connect() as connection:
                rows = await window.rows(connection, behind, _CHUNK)
                found = await _lines(connection, account, rows, names)
            for line in found:
                yield line
            if len(rows) < _CHUNK:
                return
            behind = rows[-1].seq

    async def entry(self, account_id: str, seq: int) -> StatementLine:
        """Return the line of one entry."""
        async with self._database.connect() as connection:
            account = await _account(connection, account_id)
            rows = (
                await connection.execute(_selected().where(_of(account), _E.c.seq == seq))
            ).all()
            if not rows:
                if 1 <= seq <= account.seq:
                    raise EntryDamaged(account_id, seq, "it is missing")
                raise NotArchived(
                    f"the archive has no entry {seq} of account {account_id!r}, "
                    f"whose last one there is {account.seq}"
                )
            [line] = await _lines(connection, account, rows, {})
            return line

    async def of_execution(self, account_id: str, execution_key: str) -> tuple[StatementLine, ...]:
        """Return the lines of one execution, oldest first."""
        begins = execution_key[:EXECUTION_KEY_INDEXED]
        async with self._database.connect() as connection:
            account = await _account(connection, account_id)
            rows = (
                await connection.execute(
                    _selected().where(_of(account), _key_begins == begins).order_by(_E.c.seq)
                )
            ).all()
            lines = await _lines(connection, account, rows, {})
        return tuple(line for line in lines if line.entry.execution_key == execution_key)

    def _query(
        self, account_id: str, from_ms: int | None, to_ms: int | None, newest_first: bool
    ) -> Query:
        if from_ms is not None and to_ms is not None and from_ms >= to_ms:
            raise ValueError("the window ends before it begins")
        return Query(self._installation, account_id, from_ms, to_ms, newest_first)


_E = entries.alias("e")
# As the index has it, word for word.
_key_begins = func.substr(
    _E.c.body,
    literal_column(str(EXECUTION_KEY_AT)),
    literal_column(str(EXECUTION_KEY_INDEXED)),
)
_BEFORE = entries.alias("b")


def _of(account: ArchivedAccount) -> Any:
    return _E.c.account == account.no


def _selected() -> Select[Any]:
    """Return entries with what the one before them left, and with their dimensions."""
    joined = _E.outerjoin(
        _BEFORE, and_(_BEFORE.c.account == _E.c.account, _BEFORE.c.seq == _E.c.seq - 1)
    ).outerjoin(
        dimensions,
        and_(dimensions.c.account == _E.c.account, dimensions.c.number == _E.c.dims),
    )
    named = [dimensions.c[name] for name in Dimensions._fields]
    before = (_BEFORE.c.chain.label("before"), _BEFORE.c.left_mc.label("before_mc"))
    return select(_E, *before, *named).select_from(joined)


@dataclass(frozen=True, slots=True)
class _Window:
    """The entries of a query, between two sequences: the clock of an account does not go back.

    Where a repair did set it back, ``by_time`` is true, and the time of each entry is looked at.
    """

    account: ArchivedAccount
    query: Query
    first: int
    last: int
    by_time: bool = False

    @classmethod
    async def of(
        cls, connection: AsyncConnection, account: ArchivedAccount, query: Query
    ) -> _Window:
        first, last = 1, account.seq
        of_account = entries.c.account == account.no
        if await _was_set_back(connection, account):
            return cls(account, query, first, last, by_time=True)
        if query.from_ms is not None:
            found = await connection.scalar(
                select(entries.c.seq)
                .where(of_account, entries.c.at_ms >= query.from_ms)
                .order_by(entries.c.at_ms, entries.c.seq)
                .limit(1)
            )
            first = last + 1 if found is None else found
        if query.to_ms is not None:
            found = await connection.scalar(
                select(entries.c.seq)
                .where(of_account, entries.c.at_ms < query.to_ms)
                .order_by(entries.c.at_ms.desc(), entries.c.seq.desc())
                .limit(1)
            )
            last = 0 if found is None else min(last, found)
        return cls(account, query, first, last)

    async def rows(
        self, connection: AsyncConnection, behind: int | None, limit: int
    ) -> Sequence[Any]:
        first, last, query = self.first, self.last, self.query
        if behind is not None:
            first, last = (first, behind - 1) if query.newest_first else (behind + 1, last)
        chosen = _selected().where(
            _of(self.account),
            _E.c.kind != "n",
            _E.c.seq.between(first, min(last, self.last)),
        )
        if self.by_time and query.from_ms is not None:
            chosen = chosen.where(_E.c.at_ms >= query.from_ms)
        if self.by_time and query.to_ms is not None:
            chosen = chosen.where(_E.c.at_ms < query.to_ms)
        order = _E.c.seq.desc() if query.newest_first else _E.c.seq
        found = await connection.execute(chosen.order_by(order).limit(limit))
        rows: Sequence[Any] = found.all()
        return rows


async def _account(connection: AsyncConnection, account_id: str) -> ArchivedAccount:
    found = (
        await connection.execute(select(accounts).where(accounts.c.account_id == account_id))
    ).first()
    if found is None:
        raise NotArchived(
            f"the archive has no account {account_id!r}: there is none, or nothing of it was "
            "archived yet"
        )
    await _check_last(connection, found)
    timezone = await _timezone(connection, account_id, found.no)
    return ArchivedAccount(
        found.no,
        found.account_id,
        found.seq,
        found.left_mc,
        found.state,
        found.archived_ms,
        timezone,
    )


async def _check_last(connection: AsyncConnection, account: Any) -> None:
    """Check that the last entry is the one that was archived last."""
    if not account.seq:
        return
    last = (
        await connection.execute(
            select(entries.c.chain, entries.c.left_mc).where(
                entries.c.account == account.no, entries.c.seq == account.seq
            )
        )
    ).first()
    if last is None:
        raise EntryDamaged(account.account_id, account.seq, "it is missing")
    if tuple(last) != (account.chain, account.left_mc):
        raise EntryDamaged(
            account.account_id, account.seq, "it is not the one that was archived last"
        )


async def _timezone(connection: AsyncConnection, account_id: str, no: int) -> str:
    latest: Any = None
    # One kind at a time, as literals: so the small index of these entries answers.
    for kind in ("kind = 'o'", "kind = 'z'"):
        row = (
            await connection.execute(
                select(entries.c.seq, entries.c.chain, entries.c.body)
                .where(entries.c.account == no, literal_column(kind))
                .order_by(entries.c.seq.desc())
                .limit(1)
            )
        ).first()
        if row is not None and (latest is None or row.seq > latest.seq):
            latest = row
    if latest is None:
        return "UTC"
    fields = {b"e": latest.body.encode(), b"c": latest.chain.encode()}
    try:
        entry = parse(f"0-{latest.seq}", fields, {})
        return entry.detail[2 if entry.kind is Kind.OPENED else 0]
    except (JournalError, IndexError) as error:
        raise EntryDamaged(account_id, latest.seq, str(error)) from None


async def _was_set_back(connection: AsyncConnection, account: ArchivedAccount) -> bool:
    """Return whether a repair set the account's clock back."""
    repair = entries.alias("repair")
    before = and_(_BEFORE.c.account == repair.c.account, _BEFORE.c.seq == repair.c.seq - 1)
    found = await connection.scalar(
        select(func.count())
        .select_from(repair.join(_BEFORE, before))
        .where(
            repair.c.account == account.no,
            literal_column("repair.kind = 'y'"),
            repair.c.at_ms < _BEFORE.c.at_ms,
        )
    )
    return bool(found)


async def _lines(
    connection: AsyncConnection,
    account: ArchivedAccount,
    rows: Sequence[Any],
    names: GrantNames,
) -> tuple[StatementLine, ...]:
    """Return the lines of rows; ``names`` keeps the grants that were looked up."""
    found = [read_entry(account.account_id, row) for row in rows]
    unknown = paying(found) - names.keys()
    if unknown:
        if len(names) > _MOST_NAMES:
            names.clear()
            unknown = paying(found)
        async with connection.stream(
            select(entries.c.seq, entries.c.chain, entries.c.body)
            .where(entries.c.account == account.no, literal_column("kind = 'g'"))
            .order_by(entries.c.seq)
        ) as granted:
            async for part in granted.partitions(_CHUNK):
                names |= grant_names(account.account_id, part, unknown.__contains__)
    return tuple(
        line_of(account.account_id, entry, row.left_mc, names)
        for entry, row in zip(found, rows, strict=True)
    )
