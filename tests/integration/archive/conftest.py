"""Archives on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import URL

from runtime.redis.keys import Keys
from runtime.store.database import Database, database_url, open_database
from tests.harness.archive import ArchiveDesk
from tests.harness.ledger.desk import Desk, connect, make_ledger, open_desk
from tests.harness.postgres import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return database_url(f"sqlite:///{tmp_path}/archive.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return database_url(server.new_database())


@pytest_asyncio.fixture
async def database(archive_url: URL) -> AsyncIterator[Database]:
    """An archive with its tables."""
    async with open_database(archive_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def desk(redis_url: str, key_prefix: str) -> AsyncIterator[Desk]:
    """A ledger whose clock the test sets."""
    async with open_desk(redis_url, key_prefix) as opened:
        yield opened


@pytest_asyncio.fixture
async def archive_desk(
    database: Database, redis_url: str, key_prefix: str
) -> AsyncIterator[ArchiveDesk]:
    """A ledger on the session's Redis, and an archive."""
    client = connect(redis_url)
    ledger = make_ledger(client, key_prefix)
    yield ArchiveDesk(client, Keys(key_prefix), ledger, database)
    await ledger.drain()
    await client.aclose()
