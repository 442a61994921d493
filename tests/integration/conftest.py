"""Real Redis servers for tests: one shared by the session, and private ones to break."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from pricing.offers import GrantKind
from providers.base import Provider
from providers.litellm.adapter import LiteLLMProvider
from providers.mock.options import MockOptions
from providers.mock.server import start
from runtime.bootstrap import open_runtime
from runtime.executions.spool import Spool
from runtime.ledger_opening import open_ledger
from runtime.redis.embedded import EmbeddedRedis
from runtime.redis.keys import Keys
from tests.harness.postgres import PostgresServer, PostgresUnavailable, refuse_or_skip
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import LedgerServers
from tests.harness.service import OpenService, open_served
from tests.harness.workbench import ACCOUNT, Change, OpenWorkbench, Workbench, make_config


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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL."""
    try:
        server = PostgresServer()
        server.start()
    except PostgresUnavailable as error:
        refuse_or_skip(error)
        raise
    yield server
    server.stop()


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


@pytest.fixture
def open_service(
    imported_litellm: None, redis_url: str, key_prefix: str, tmp_path: Path
) -> OpenService:
    """Open a service: ``async with open_service(change=...) as served``."""
    return partial(open_served, tmp_path / "data", redis_url, key_prefix)


@pytest.fixture
def open_bench(
    imported_litellm: None, redis_url: str, key_prefix: str, tmp_path: Path
) -> OpenWorkbench:
    """Open a bench: ``mock`` are options of the mock provider, ``credits_mc`` the one grant."""

    @asynccontextmanager
    async def opened(
        *,
        credits_mc: int = 10_000_000,
        provider: Provider | None = None,
        url: str = redis_url,
        api_base: str | None = None,
        timeout_ms: int = 1_000,
        wait_ms: int = 300,
        max_concurrency: int = 512,
        endpoint: str = "",
        change: Change = lambda config: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        **mock: Any,
    ) -> AsyncIterator[Workbench]:
        server = await start(MockOptions(**mock))
        try:
            config = make_config(
                tmp_path / "data",
                url,
                key_prefix,
                api_base or f"{server.url}/v1",
                timeout_ms=timeout_ms,
                wait_ms=wait_ms,
                max_concurrency=max_concurrency,
                endpoint=endpoint,
                change=change,
            )
            async with (
                open_runtime(config, provider=provider, clock=clock) as runtime,
                open_ledger(config) as ledger,
            ):
                await runtime.accounts.open_account(ACCOUNT, plan="growth")
                if credits_mc:
                    await runtime.accounts.grant(
                        ACCOUNT,
                        amount_mc=credits_mc,
                        kind=GrantKind.PROMOTIONAL,
                        reference="test",
                    )
                async with Redis.from_url(url) as redis:
                    spool = Spool(config.data_dir / "spool")
                    yield Workbench(runtime, server, redis, Keys(key_prefix), ledger, spool, config)
        finally:
            await server.aclose()

    return opened


@pytest_asyncio.fixture
async def bench(open_bench: OpenWorkbench) -> AsyncIterator[Workbench]:
    """A bench with plenty of credits and a provider that always answers well."""
    async with open_bench() as opened:
        yield opened


@pytest.fixture(scope="session")
def imported_litellm() -> None:
    """Import LiteLLM once, outside the time limits of single tests."""
    asyncio.run(LiteLLMProvider().warm_up())
