from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from runtime.credits.answers import Alert
from tests.integration.ledger.desk import SCRIPTS_WITH_CLOCK, Desk, connect, make_ledger
from tests.integration.servers import OLDEST, OTHERS, LedgerServers

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture(params=[OLDEST, *(pytest.param(kind, marks=pytest.mark.long) for kind in OTHERS)])
def redis_url(request: pytest.FixtureRequest, ledger_servers: LedgerServers) -> str:
    """The address of each server in turn that the ledger has to run on."""
    return ledger_servers.url(request.param)


@pytest.fixture
def open_desk(redis_url: str, key_prefix: str) -> OpenDesk:
    """Opens a ledger with settings of the test's own; its clock stands still until it is set."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Desk]:
        client = connect(redis_url)
        alerts: list[Alert] = []
        ledger = make_ledger(
            client, key_prefix, scripts=SCRIPTS_WITH_CLOCK, alerts=alerts, **settings
        )
        desk = Desk(client, key_prefix, ledger, alerts)
        desk.go_by_own_clock()
        try:
            yield desk
        finally:
            await ledger.drain()
            await client.aclose()
            await asyncio.sleep(0)  # closed transports say goodbye in the next turn of the loop

    return opened


@pytest_asyncio.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    """A ledger with the default settings."""
    async with open_desk() as opened:
        yield opened
