"""Archives in SQLite files, as the copier fills them from a test's own ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.archive.copier import Copier
from runtime.archive.statement import Statements
from runtime.store.database import Database, database_url, open_database
from tests.harness.ledger.desk import ACCOUNT, Desk


@asynccontextmanager
async def open_file(path: Path) -> AsyncIterator[Database]:
    """Open a file as an archive, which belongs to no installation yet."""
    async with open_database(database_url(f"sqlite:///{path}")) as database:
        yield database


@asynccontextmanager
async def open_pages(path: Path, installation: str = "here") -> AsyncIterator[Statements]:
    """Open the statements of a file."""
    async with open_file(path) as database:
        yield Statements(database, installation)


async def archive(desk: Desk, path: Path, *account_ids: str) -> None:
    """Archive what is new of some accounts, or of the usual one, in a file."""
    async with open_file(path) as database:
        copier = Copier(database, desk.client, desk.keys, timeout_ms=10_000)
        for account_id in account_ids or (ACCOUNT,):
            archived = await copier.archive_account(account_id)
            assert not archived.left, archived
