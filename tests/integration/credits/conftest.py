from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from tests.harness.ledger import desk as desks
from tests.harness.ledger.desk import Desk, OpenDesk
from tests.harness.servers import OLDEST, OTHERS, LedgerServers


@pytest.fixture(params=[OLDEST, *(pytest.param(kind, marks=pytest.mark.long) for kind in OTHERS)])
def redis_url(request: pytest.FixtureRequest, ledger_servers: LedgerServers) -> str:
    """The address of each server in turn that the ledger has to run on."""
    return ledger_servers.url(request.param)


@pytest.fixture
def open_desk(redis_url: str, key_prefix: str) -> OpenDesk:
    """Opens a ledger with settings of the test's own; its clock stands still until it is set."""
    return partial(desks.open_desk, redis_url, key_prefix)


@pytest_asyncio.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    """A ledger with the default settings."""
    async with open_desk() as opened:
        yield opened
