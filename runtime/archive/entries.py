"""Reads entries of accounts: from the archive, and what is not archived yet from Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from runtime.archive.replay import Entry
from runtime.credits.inspection import Inspection
from runtime.store.database import Database
from runtime.store.schema import accounts, entries, forks

PAGE = 2_000
"""Entries that are read at a time."""


@dataclass(frozen=True, slots=True)
class ArchivedAccount:
    """An account as the archive has it: how far it is archived, and its state."""

    no: int
    account_id: str
    epoch: str
    seq: int
    chain: str
    left_mc: int
    state: str


async def archived_account(database: Database, account_id: str) -> ArchivedAccount | None:
    """Return what the archive has of an account, or ``None``."""
    query = select(accounts).where(accounts.c.account_id == account_id)
    async with database.connect() as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return ArchivedAccount(
        row.no, row.account_id, row.epoch, row.seq, row.chain, row.left_mc, row.state
    )


async def archived_accounts(database: Database) -> list[str]:
    """Return the ids of all accounts in the archive, in order."""
    query = select(accounts.c.account_id).order_by(accounts.c.account_id)
    async with database.connect() as connection:
        return [row.account_id for row in await connection.execute(query)]


async def archived_pages(
    database: Database, no: int, after_seq: int, to_seq: int
) -> AsyncIterator[list[Entry]]:
    """Yield the archived entries of an account, some at a time, from after one to another."""
    while after_seq < to_seq:
        query = (
            select(
                entries.c.seq,
                entries.c.chain,
                entries.c.body,
                entries.c.charged_mc,
                entries.c.left_mc,
            )
            .where(entries.c.account == no, entries.c.seq > after_seq, entries.c.seq <= to_seq)
            .order_by(entries.c.seq)
            .limit(PAGE)
        )
        async with database.connect() as connection:
            rows = (await connection.execute(query)).all()
        if not rows:
            return
        yield [Entry(row[0], row[1], row[2], (row[3], row[4])) for row in rows]
        after_seq = rows[-1][0]


async def pages(
    database: Database | None, inspection: Inspection, account_id: str, to_seq: int
) -> AsyncIterator[list[Entry]]:
    """Yield an account's entries from its first one to ``to_seq``, some at a time.

    What the archive has is read there, the rest from Redis, which may be archived and cut off
    meanwhile. It ends early where the next entry is in neither.
    """
    seq = 0
    while seq < to_seq:
        before = seq
        archived = None if database is None else await archived_account(database, account_id)
        if database is not None and archived is not None:
            async for page in archived_pages(database, archived.no, seq, to_seq):
                yield page
                seq = page[-1].seq
        while seq < to_seq:
            found = await inspection.journal(account_id, seq, min(PAGE, to_seq - seq))
            if not found or found[0].seq != seq + 1:
                break
            yield [Entry(entry.seq, entry.chain, entry.body) for entry in found]
            seq = found[-1].seq
        if seq == before:
            return


async def forked_at(database: Database, no: int) -> int | None:
    """Return the first sequence with another branch that is not resolved, or ``None``."""
    query = select(forks.c.seq).where(forks.c.account == no, forks.c.resolved_ms.is_(None))
    async with database.connect() as connection:
        row = (await connection.execute(query.order_by(forks.c.seq).limit(1))).one_or_none()
    return None if row is None else int(row.seq)


async def chains_of(database: Database, no: int, seqs: Sequence[int]) -> dict[int, str]:
    """Return the archived chains of these sequences."""
    query = select(entries.c.seq, entries.c.chain).where(
        entries.c.account == no, entries.c.seq.in_(seqs)
    )
    async with database.connect() as connection:
        return {row.seq: row.chain for row in await connection.execute(query)}
