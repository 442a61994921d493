"""Real Redis servers for tests: one shared by the session, and private ones to break."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.redis.embedded import EmbeddedRedis, EmbeddedRedisUnavailable, find_server
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import LedgerServers


@pytest.fixture(scope="session")
def redis_server_program() -> None:
    """Tests that need a Redis are skipped without one, but never in CI."""
    try:
        find_server()
    except EmbeddedRedisUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(
    redis_server_program: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EmbeddedRedis]:
    """The session's real Redis. Tests share it, each with keys of its own."""
    async with EmbeddedRedis(tmp_path_factory.mktemp("redis") / "data") as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The address of the session's Redis."""
    return redis_server.url


@pytest.fixture(scope="session")
def ledger_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LedgerServers]:
    """The session's servers by kind: the oldest, a newer one, a cluster."""
    servers = LedgerServers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.close()


@pytest.fixture
def key_prefix() -> str:
    """A prefix that no other test's keys have."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture
async def private_redis(redis_server_program: None, tmp_path: Path) -> AsyncIterator[PrivateRedis]:
    """A Redis of the test's own, for outages."""
    server = PrivateRedis(tmp_path / "private-redis")
    await server.start()
    yield server
    await server.aclose()
