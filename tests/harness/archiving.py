"""Copies a desk's accounts into an archive."""

from __future__ import annotations

from sqlalchemy import select

from runtime.archive.copier import Copier
from runtime.store.database import Database
from runtime.store.schema import accounts
from tests.harness.ledger.desk import ACCOUNT, Desk


async def archive(desk: Desk, database: Database, account_id: str = ACCOUNT) -> int:
    """Archive what is new in an account, trim its journal, and return the archived sequence."""
    repairs = desk.another_ledger(clock_ms=lambda: desk.now_ms).repairs

    async def stop(stopped_id: str, why: str) -> None:
        await repairs.stop(stopped_id, why=why)

    copier = Copier(database, desk.client, desk.keys, timeout_ms=10_000, stop=stop)
    await copier.archive_account(account_id)
    query = select(accounts.c.seq).where(accounts.c.account_id == account_id)
    async with database.engine.connect() as connection:
        return int((await connection.execute(query)).scalar_one())
