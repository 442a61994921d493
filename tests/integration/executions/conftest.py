"""A whole runtime on real parts: Redis, LiteLLM, and the mock provider over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from runtime.bootstrap import build_runtime
from runtime.redis.keys import Keys
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, make_config


@pytest.fixture
def open_bench(redis_url: str, key_prefix: str, tmp_path: Path) -> OpenWorkbench:
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
        endpoint: str = "",
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
                endpoint=endpoint,
            )
            async with build_runtime(config, provider=provider) as runtime:
                await runtime.ledger.open_account(ACCOUNT, plan="growth")
                if credits_mc:
                    await runtime.ledger.grant(
                        ACCOUNT,
                        amount_mc=credits_mc,
                        kind=GrantKind.PROMOTIONAL,
                        reference="test",
                    )
                async with Redis.from_url(url) as redis:
                    yield Workbench(runtime, server, redis, Keys(key_prefix))
        finally:
            await server.aclose()

    return opened


@pytest_asyncio.fixture
async def bench(open_bench: OpenWorkbench) -> AsyncIterator[Workbench]:
    """A bench with plenty of credits and a provider that always answers well."""
    async with open_bench() as opened:
        yield opened


@pytest.fixture(scope="session", autouse=True)
def imported_litellm() -> None:
    """Import LiteLLM once, outside the time limits of single tests."""
    asyncio.run(LiteLLMProvider().warm_up())
