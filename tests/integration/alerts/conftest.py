"""Fixtures of alerts on their way out."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.redis.embedded import EmbeddedRedis
from tests.harness.alerts import AlertBench, open_alert_bench

OpenAlertBench = Callable[..., AbstractAsyncContextManager[AlertBench]]


@pytest.fixture
def open_alerts(redis_url: str, key_prefix: str, tmp_path: Path) -> OpenAlertBench:
    """Open alerts: ``async with open_alerts(change=...) as bench``."""
    return partial(open_alert_bench, tmp_path / "data", redis_url, key_prefix)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_alerts(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AlertBench]:
    """The bench of a module: to open one takes half a second."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    folder = tmp_path_factory.mktemp("alerts") / "data"
    async with open_alert_bench(folder, redis_server.url, prefix) as bench:
        yield bench


@pytest_asyncio.fixture(loop_scope="module")
async def told(shared_alerts: AlertBench) -> AlertBench:
    """Alerts with a mail server and a receiver of webhooks, and an account id of the test's own."""
    await shared_alerts.begin(f"acme-{uuid.uuid4().hex[:8]}")
    return shared_alerts
