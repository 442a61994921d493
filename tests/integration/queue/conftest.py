"""Queues on real servers of each kind that they promise to run on, whose clock the tests set."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness.ledger.desk import connect
from tests.harness.queues import Bench
from tests.harness.servers import OLDEST, OTHERS, LedgerServers


@pytest_asyncio.fixture(
    params=[OLDEST, *(pytest.param(kind, marks=pytest.mark.long) for kind in OTHERS)]
)
async def bench(
    request: pytest.FixtureRequest, ledger_servers: LedgerServers, key_prefix: str
) -> AsyncIterator[Bench]:
    """A queue on a server of each kind."""
    async with connect(ledger_servers.url(request.param)) as client:
        bench = Bench(client, key_prefix)
        yield bench
        await bench.aclose()


@pytest_asyncio.fixture
async def one_bench(ledger_servers: LedgerServers, key_prefix: str) -> AsyncIterator[Bench]:
    """A queue on the oldest server, for what no kind of server changes."""
    async with connect(ledger_servers.url(OLDEST)) as client:
        bench = Bench(client, key_prefix)
        yield bench
        await bench.aclose()
