"""A library on a database of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import URL

from runtime.store.database import database_url
from tests.harness.library import LibraryDesk, open_desk
from tests.harness.postgres import PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return database_url(f"sqlite:///{tmp_path}/store.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return database_url(server.new_database())


@pytest_asyncio.fixture
async def desk(
    store_url: URL, redis_url: str, key_prefix: str, tmp_path: Path
) -> AsyncIterator[LibraryDesk]:
    """A library with nothing in it."""
    async with open_desk(store_url, redis_url, key_prefix, tmp_path / "data") as opened:
        yield opened
