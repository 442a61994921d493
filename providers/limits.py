"""How many calls may run at one endpoint at once, from this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager


class EndpointLimits:
    """Slots for calls, per endpoint name.

    Args:
        max_concurrency: the most calls at once, by endpoint name; others are not limited.
    """

    def __init__(self, max_concurrency: Mapping[str, int]) -> None:
        self._slots = {name: asyncio.Semaphore(most) for name, most in max_concurrency.items()}

    @asynccontextmanager
    async def slot(self, endpoint: str, deadline_s: float) -> AsyncIterator[None]:
        """Occupy a slot, waiting for it until ``deadline_s`` on the event loop's clock.

        Raises:
            TimeoutError: no slot came free in time.
        """
        slots = self._slots.get(endpoint)
        if slots is None:
            yield
            return
        if slots.locked():
            async with asyncio.timeout_at(deadline_s):
                await slots.acquire()
        else:
            await slots.acquire()
        try:
            yield
        finally:
            slots.release()
