"""Copies a desk's accounts into an archive."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL, select

from runtime.archive.copier import Copier
from runtime.store.database import Database, database_url
from runtime.store.schema import accounts
from tests.harness.ledger.desk import ACCOUNT, Desk

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]
"""Parameters of a fixture ``archive_url``, for tests that are hardly about the database."""


def url_of(request: pytest.FixtureRequest, folder: Path) -> URL:
    """Return the URL of an empty database of the fixture's kind."""
    if request.param == "sqlite":
        return database_url(f"sqlite:///{folder}/archive.db")
    return database_url(request.getfixturevalue("postgres").new_database())


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
