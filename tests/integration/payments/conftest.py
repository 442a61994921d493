"""Payments on a real ledger, on SQLite or PostgreSQL, and a fake of Stripe."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import URL

from runtime.store.database import database_url, open_database
from tests.harness.payments import Till, open_till
from tests.harness.postgres import PostgresServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the tables, to be copied: making them takes longer than most tests."""
    path: Path = tmp_path_factory.mktemp("payments") / "empty.db"
    async with open_database(database_url(f"sqlite:///{path}")):
        pass
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def payments_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The URL of an empty database."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("empty_file"), tmp_path / "payments.db")
        return database_url(f"sqlite:///{tmp_path}/payments.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return database_url(server.new_database())


@pytest_asyncio.fixture
async def till(payments_url: URL, redis_url: str, key_prefix: str) -> AsyncIterator[Till]:
    """Payments of an account without credits."""
    async with open_till(payments_url, redis_url, key_prefix) as opened:
        yield opened
