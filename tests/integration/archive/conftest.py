from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.harness.ledger.desk import Desk, open_desk


@pytest_asyncio.fixture
async def desk(redis_url: str, key_prefix: str) -> AsyncIterator[Desk]:
    """A ledger whose clock the test sets."""
    async with open_desk(redis_url, key_prefix) as opened:
        yield opened
