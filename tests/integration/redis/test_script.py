"""Scripts that run through redis-py: known by their SHA-1, sent whole where they are not."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from runtime.redis.script import Script
from tests.harness.ledger.desk import connect
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import CLUSTER, LedgerServers

ADD = Script.of("return redis.call('INCRBY', KEYS[1], ARGV[1])")


async def test_a_script_is_sent_once_and_again_after_a_server_forgot_it(
    private_redis: PrivateRedis,
) -> None:
    client: Any
    async with Redis.from_url(private_redis.url) as client:
        for total in (2, 4, 6):
            assert await ADD.run(client, ["sum"], [2]) == total
        assert await evals(client) == (3, 1)
        await client.script_flush()
        assert await ADD.run(client, ["sum"], [2]) == 8
        assert await evals(client) == (4, 2)


async def test_in_a_cluster_each_server_learns_it_from_the_first_key_that_it_has(
    ledger_servers: LedgerServers, key_prefix: str
) -> None:
    client: Any
    async with connect(ledger_servers.url(CLUSTER)) as client:
        keys = [f"{key_prefix}:{number}" for number in range(20)]
        assert [await ADD.run(client, [key], [1]) for key in keys] == [1] * 20


async def test_an_error_of_the_script_is_the_callers(private_redis: PrivateRedis) -> None:
    async with Redis.from_url(private_redis.url) as client:
        with pytest.raises(Exception, match="not an integer"):
            await ADD.run(client, ["sum"], ["much"])


async def evals(client: Any) -> tuple[int, int]:
    """How often the server was asked by SHA-1, and how often by source."""
    told = await client.info("commandstats")
    return told["cmdstat_evalsha"]["calls"], told["cmdstat_eval"]["calls"]
