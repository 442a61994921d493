"""A database that a long process opens when it can, and goes on without while it can't."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from time import monotonic

from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.store.database import Database, StoreError, StoreUnavailable

_PAUSE_S = 1.0


class Store:
    """A database that is opened at its first use that succeeds.

    While it can't be opened, uses fail at once; one a second tries again.

    Args:
        open_: opens the database, and raises ``StoreUnavailable`` where it can't be reached.
    """

    def __init__(self, open_: Callable[[], AbstractAsyncContextManager[Database]]) -> None:
        self._open = open_
        self._opened = AsyncExitStack()
        self._database: Database | None = None
        self._opening = asyncio.Lock()
        self._fault: StoreError | None = None
        self._again_s = 0.0

    async def database(self) -> Database:
        """Return the open database.

        Raises:
            StoreUnavailable: it can't be reached.
            StoreError: it is not one that this release can use.
        """
        if self._database is None:
            async with self._opening:
                if self._database is None:
                    self._database = await self._try()
        return self._database

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction; errors as ``database``."""
        async with (await self.database()).begin() as connection:
            yield connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection to read with; errors as ``database``."""
        async with (await self.database()).connect() as connection:
            yield connection

    async def aclose(self) -> None:
        """Close the database."""
        await self._opened.aclose()

    async def _try(self) -> Database:
        if self._fault is not None and monotonic() < self._again_s:
            raise type(self._fault)(str(self._fault))
        try:
            return await self._opened.enter_async_context(self._open())
        except StoreError as exc:
            self._fault, self._again_s = exc, monotonic() + _PAUSE_S
            raise
        except TimeoutError as exc:
            raise StoreUnavailable("the database did not answer in time") from exc
