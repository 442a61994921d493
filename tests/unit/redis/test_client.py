"""A configured server becomes redis-py's client, with the section's bounds."""

from __future__ import annotations

from redis.asyncio import Redis, RedisCluster

from runtime.config.sections import RedisSection
from runtime.redis.client import make_client


def test_a_client_has_as_many_connections_and_as_much_time_as_the_section_says() -> None:
    section = RedisSection(url="redis://redis.internal:6380/2", timeout_ms=250, max_connections=3)

    client = make_client(section, section.url)

    assert isinstance(client, Redis)
    pool = client.connection_pool
    assert pool.max_connections == 3
    assert pool.connection_kwargs["host"] == "redis.internal"
    assert pool.connection_kwargs["db"] == 2
    assert pool.connection_kwargs["socket_connect_timeout"] == 0.25
    assert pool.connection_kwargs["socket_timeout"] is None, "the ledger bounds each call itself"


async def test_a_cluster_is_asked_by_a_client_that_knows_it() -> None:
    section = RedisSection(url="redis://redis.internal:6380", cluster=True, timeout_ms=250)

    client = make_client(section, section.url)

    assert isinstance(client, RedisCluster)
    await client.aclose()
