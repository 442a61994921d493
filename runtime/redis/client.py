"""Makes redis-py's clients from the config's ``redis`` section."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from runtime.background import finish
from runtime.config.sections import RedisSection, SentinelSection
from runtime.redis.embedded import EmbeddedRedis
from runtime.redis.primaries import Client
from runtime.redis.sentinel import (
    Following,
    PrimaryConnection,
    PrimaryPool,
    PrimarySSLConnection,
    Sentinels,
)

# All sentinels are asked within this share of a call's time; the rest is for the call.
_SHARE_FOR_SENTINELS = 0.25


@asynccontextmanager
async def open_client(section: RedisSection, data_dir: Path) -> AsyncIterator[Client]:
    """Yield a client of the configured server or cluster, and close it afterwards.

    Args:
        data_dir: the embedded server keeps its data in ``redis`` below it.

    Raises:
        EmbeddedRedisUnavailable: no server can be started here.
    """
    async with AsyncExitStack() as stack:
        if section.sentinel is not None:
            sentinels = make_sentinels(section.sentinel, section.timeout_ms / 1000)
            client: Client = make_following_client(section, section.sentinel, sentinels)
            stack.push_async_callback(_close_sentinels, sentinels)
        else:
            url = section.url
            if section.is_embedded:
                url = (await stack.enter_async_context(EmbeddedRedis(data_dir / "redis"))).url
            client = make_client(section, url)
        try:
            yield client
        finally:
            await finish("closing the connections to Redis", client.aclose())


def make_client(section: RedisSection, url: str) -> Client:
    """Return a client with the section's settings. It connects on first use."""
    timeout_s = section.timeout_ms / 1000
    options = _credentials(section)
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


def make_sentinels(section: SentinelSection, timeout_s: float) -> Sentinels:
    """Return the configured sentinels. They are connected to at their first use.

    Args:
        timeout_s: of a call of the ledger, of which asking them takes a part at most.
    """
    timeout_s *= _SHARE_FOR_SENTINELS
    clients = []
    for node in section.nodes:
        address = urlsplit(f"redis://{node}")
        options: dict[str, Any] = {
            "host": address.hostname,
            "port": address.port,
            "socket_connect_timeout": timeout_s,
            "socket_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
            **_tls(section),
            **_credentials(section),
        }
        clients.append(Redis(ssl=section.tls, **options))
    return Sentinels(clients, section.master, timeout_s)


def make_following_client(
    section: RedisSection, sentinel: SentinelSection, sentinels: Sentinels
) -> Redis:
    """Return a client of whichever server the sentinels name."""
    timeout_s = section.timeout_ms / 1000
    pool = PrimaryPool(
        Following(sentinels.find),
        connection_class=PrimarySSLConnection if sentinel.tls else PrimaryConnection,
        max_connections=section.max_connections,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_timeout=None,
        **_tls(sentinel),
        **_credentials(section),
    )
    return Redis.from_pool(pool)


def _tls(section: SentinelSection) -> dict[str, str]:
    return {"ssl_ca_certs": str(section.ca_file)} if section.ca_file else {}


def _credentials(section: RedisSection | SentinelSection) -> dict[str, str]:
    options = {"username": section.username} if section.username else {}
    if section.password:
        options["password"] = section.password.get_secret_value()
    return options


async def _close_sentinels(sentinels: Sentinels) -> None:
    await finish("closing the connections to the sentinels", sentinels.aclose())
