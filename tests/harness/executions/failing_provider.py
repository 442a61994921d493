"""A provider that fails slowly in ways that are retried, and logs when each request arrives."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_STATUSES = (429, 500, 502, 503)
_SECONDS = (0.05, 0.6)


class FailingProvider:
    """``arrivals`` are instants of ``time.monotonic``, which all processes of a machine share."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.url = ""

    async def _answer(self, request: web.Request) -> web.Response:
        self.arrivals.append(time.monotonic())
        _ = await request.read()
        await asyncio.sleep(random.uniform(*_SECONDS))
        return web.json_response({"error": {"message": "later"}}, status=random.choice(_STATUSES))

    def since(self, instant_s: float) -> list[float]:
        """Return how long after an instant each later request arrived."""
        return sorted(at - instant_s for at in self.arrivals if at > instant_s)


@asynccontextmanager
async def failing_provider() -> AsyncIterator[FailingProvider]:
    """Start one on a free port of loopback."""
    provider = FailingProvider()
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", provider._answer)  # noqa: SLF001 - its own
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    provider.url = f"http://{host}:{port}/v1"
    try:
        yield provider
    finally:
        await runner.cleanup()
