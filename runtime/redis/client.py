"""Makes redis-py's clients from the config's ``redis`` section."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster

from runtime.background import finish
from runtime.config.sections import RedisSection
from runtime.redis.embedded import EmbeddedRedis
from runtime.redis.primaries import Client

_EMBEDDED = "embedded"


@asynccontextmanager
async def open_client(section: RedisSection, data_dir: Path) -> AsyncIterator[Client]:
    """Yield a client of the configured server or cluster, and close it afterwards.

    Args:
        data_dir: the embedded server keeps its data in ``redis`` below it.

    Raises:
        EmbeddedRedisUnavailable: no server can be started here.
    """
    async with AsyncExitStack() as stack:
        url = section.url
        if url == _EMBEDDED:
            url = (await stack.enter_async_context(EmbeddedRedis(data_dir / "redis"))).url
        client = make_client(section, url)
        try:
            yield client
        finally:
            await finish("closing the connections to Redis", client.aclose())


def make_client(section: RedisSection, url: str) -> Client:
    """Return a client with the section's settings. It connects on first use."""
    timeout_s = section.timeout_ms / 1000
    options = {"username": section.username} if section.username else {}
    if section.password:
        options["password"] = section.password.get_secret_value()
    if section.cluster:
        # For plain commands. Half of the whole leaves time to ask another server for the map if one
        # hangs.
        return RedisCluster.from_url(
            url,
            max_connections=section.max_connections,
            socket_connect_timeout=timeout_s / 2,
            socket_timeout=timeout_s / 2,
            # One server that is away must not stop the accounts of the others.
            require_full_coverage=False,
            **options,
        )
    # The ledger bounds each call as a whole; redis-py's time-outs would add a task per call.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=section.max_connections,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_timeout=None,
        **options,
    )
    return Redis.from_pool(pool)
