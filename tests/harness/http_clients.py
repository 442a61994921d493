"""Our HTTP client with other limits than its own, for tests that can't wait for minutes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from providers.http import HttpAnswer, HttpClient
from providers.http_pool import HttpLimits
from tests.harness.raw_http import FakeResolver


@asynccontextmanager
async def limited(
    limits: HttpLimits, resolver: FakeResolver | None = None
) -> AsyncIterator[HttpClient]:
    """Open a client with these limits."""
    client = HttpClient(limits, resolver)
    try:
        yield client
    finally:
        await client.aclose()


async def post(client: HttpClient, url: str) -> HttpAnswer:
    """Send a small request."""
    return await client.send("POST", url, [], b"{}")
