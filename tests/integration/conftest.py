"""Real Redis servers for tests: one shared by the session, and private ones to break."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.redis.embedded import EmbeddedRedis, EmbeddedRedisUnavailable, find_server
from tests.harness.servers import LedgerServers


class PrivateRedis:
    """A server of one test's own, to stop, freeze and start again. Its `url` stays the same."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._joined = AsyncExitStack()
        self.url = ""
        self.pid = 0

    async def start(self) -> None:
        """Start the server on the data that it had."""
        server = await self._joined.enter_async_context(EmbeddedRedis(self._data_dir))
        assert self.url in {"", server.url}, "the address changed with the restart"
        self.url, self.pid = server.url, server.pid

    async def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill the server, or end it by another signal, and wait until it is gone."""
        os.kill(self.pid, how)
        watcher = EmbeddedRedis(self._data_dir)
        async with asyncio.timeout(10):
            while watcher._is_running():  # noqa: ASYNC110  another process has no event to wait for
                await asyncio.sleep(0.01)

    def pause(self) -> None:
        """Freeze the server: it takes connections and commands, and answers none."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def aclose(self) -> None:
        """Stop the server for good."""
        if EmbeddedRedis(self._data_dir)._is_running():
            self.resume()
        await self._joined.aclose()


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
