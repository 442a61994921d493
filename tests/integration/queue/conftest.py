"""Queues on real servers of each kind that they promise to run on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runtime.queue.entries import QueueSettings
from runtime.queue.queue import RequestQueue
from tests.harness.ledger.desk import connect
from tests.harness.queues import Bench
from tests.harness.servers import CLUSTER, NEWER, OLDEST, LedgerServers


@pytest_asyncio.fixture(params=[OLDEST, NEWER, CLUSTER])
async def bench(
    request: pytest.FixtureRequest, ledger_servers: LedgerServers, key_prefix: str
) -> AsyncIterator[Bench]:
    """A queue on a server of each kind, with settings that tests reach quickly."""
    async with connect(ledger_servers.url(request.param)) as client:
        queue = RequestQueue(client, key_prefix, QueueSettings(max_deliveries=3), timeout_ms=5_000)
        yield Bench(queue, client, key_prefix)
        await queue.aclose()
