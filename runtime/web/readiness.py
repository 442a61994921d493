"""Readiness: whether this process should be sent requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic

from sqlalchemy import text

from runtime.redis.primaries import Client
from runtime.store.database import StoreError
from runtime.store.reopening import Store

_WITHIN_S = 1.0
_REMEMBERED_S = 0.5


@dataclass(frozen=True, slots=True)
class Ready:
    """The state of a process. SQL is not needed for executions."""

    draining: bool
    redis: bool
    sql: bool

    @property
    def is_ready(self) -> bool:
        """True while requests should be sent here."""
        return self.redis and not self.draining


class Readiness:
    """Asks Redis and SQL how they are, twice a second at most, however often it is asked."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._draining = False
        self._asked_s = -_REMEMBERED_S
        self._found = (False, False)
        self._asking = asyncio.Lock()

    def drain(self) -> None:
        """Be ready no more: the process is about to end."""
        self._draining = True

    async def check(self) -> Ready:
        """Return the state, at most half a second old."""
        async with self._asking:
            if monotonic() - self._asked_s >= _REMEMBERED_S:
                redis, sql = await asyncio.gather(self._redis(), self._sql())
                self._found, self._asked_s = (redis, sql), monotonic()
        return Ready(self._draining, *self._found)

    async def _redis(self) -> bool:
        try:
            async with asyncio.timeout(_WITHIN_S):
                return bool(await self._client.ping())
        except Exception:  # noqa: BLE001 - redis-py raises more than its own errors
            return False

    async def _sql(self) -> bool:
        try:
            async with asyncio.timeout(_WITHIN_S), self._store.connect() as connection:
                await connection.execute(text("SELECT 1"))
                return True
        except (StoreError, TimeoutError):
            return False
