"""A process that verifies one key again and again, and prints when it began and what it found.

    python -m tests.harness.key_process DATABASE REDIS_URL PREFIX KEY [no-sql]

Each line is the monotonic clock, which all processes of a machine share, and ``yes``, ``no``, or
``unknown`` where the database could not tell. With ``no-sql`` the database is cut off after the
first time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.api_keys.api_keys import ApiKeys
from runtime.redis.keys import Keys
from runtime.store.database import StoreUnavailable, database_url, open_database
from runtime.store.reopening import Store

TIMEOUT_MS = 1_000
_EVERY_S = 0.005


class CutStore(Store):
    """A database that can be cut off, and counts how often it is asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda: open_database(database_url(f"sqlite:///{path}")))
        self.is_away = False
        self.asked = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        self._ask()
        async with super().connect() as connection:
            yield connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        self._ask()
        async with super().begin() as connection:
            yield connection

    def _ask(self) -> None:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("the database was cut off")


@asynccontextmanager
async def open_keys(store: Store, redis_url: str, prefix: str) -> AsyncIterator[ApiKeys]:
    """The keys of one process."""
    async with Redis.from_url(redis_url) as client:
        keys = ApiKeys(store, client, Keys(prefix), TIMEOUT_MS)
        keys.start()
        try:
            yield keys
        finally:
            await keys.aclose()
            await store.aclose()


async def _main(database: str, redis_url: str, prefix: str, text: str, *how: str) -> None:
    store = CutStore(Path(database))
    async with open_keys(store, redis_url, prefix) as keys:
        while True:
            began_s = time.monotonic()
            try:
                found = "no" if await keys.verify(text) is None else "yes"
            except StoreUnavailable:
                found = "unknown"
            print(f"{began_s:.6f} {found}", flush=True)  # noqa: T201 - its answer
            store.is_away = "no-sql" in how
            await asyncio.sleep(_EVERY_S)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
