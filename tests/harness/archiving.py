"""An archive of a test's own, and the entries of a desk's accounts in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import select, update

from runtime.archive.replay import Entry, Replay
from runtime.store.database import Database, database_url, open_database
from runtime.store.schema import accounts, entries
from tests.harness.ledger.desk import ACCOUNT, Desk


@asynccontextmanager
async def sqlite_archive(folder: Path) -> AsyncIterator[Database]:
    """Open an archive in a file."""
    async with open_database(database_url(f"sqlite:///{folder / 'archive.db'}")) as database:
        yield database


async def archive(desk: Desk, database: Database, account_id: str = ACCOUNT) -> int:
    """Copy what the journal in Redis has and the archive lacks; return the archived sequence."""
    async with database.engine.begin() as connection:
        query = select(accounts).where(accounts.c.account_id == account_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            fresh = accounts.insert().values(
                account_id=account_id,
                epoch="",
                seq=0,
                chain="",
                left_mc=0,
                state="open",
                archived_ms=0,
            )
            await connection.execute(fresh)
            row = (await connection.execute(query)).one()
        replay = Replay()
        known = await connection.execute(
            select(entries.c.seq, entries.c.chain, entries.c.body)
            .where(entries.c.account == row.no)
            .order_by(entries.c.seq)
        )
        for entry in known:
            replay.apply(Entry(*entry))
        epoch = row.epoch
        for one in await desk.ledger.inspection.journal(account_id, replay.seq, 100_000):
            columns = replay.apply(Entry(one.seq, one.chain, one.body))
            epoch = columns[1]
            charged = [p.split(":") for p in columns[5].split(",") if p]
            await connection.execute(
                entries.insert().values(
                    account=row.no,
                    seq=one.seq,
                    chain=one.chain,
                    kind=columns[2],
                    at_ms=int(columns[3]),
                    effective_ms=int(columns[14] or columns[3]),
                    dims=int(columns[7] or 0),
                    left_mc=replay.left_mc,
                    body=one.body,
                    charged_mc=sum(int(amount) for _, parts, amount in charged if parts[1] == "c"),
                )
            )
        await connection.execute(
            update(accounts)
            .where(accounts.c.no == row.no)
            .values(
                epoch=epoch,
                seq=replay.seq,
                chain=replay.chain,
                left_mc=replay.left_mc,
            )
        )
    return replay.seq
