"""The servers that the ledger is tested on are what they are taken for."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis, RedisCluster

from tests.harness.servers import CLUSTER, CLUSTER_SCHEME, NEWER, OLDEST, VALKEY, LedgerServers


@pytest.mark.parametrize(
    "kind, least, below",
    [
        (OLDEST, (6, 2), (6, 3)),
        pytest.param(NEWER, (7, 0), (100, 0), marks=pytest.mark.long),
    ],
)
async def test_a_server_has_the_version_that_it_is_named_by(
    kind: str, least: tuple[int, int], below: tuple[int, int], ledger_servers: LedgerServers
) -> None:
    async with Redis.from_url(ledger_servers.url(kind)) as client:
        found = (await client.info("server"))["redis_version"]
    major, minor = map(int, found.split(".")[:2])
    assert least <= (major, minor) < below


@pytest.mark.long
async def test_valkey_is_valkey(ledger_servers: LedgerServers) -> None:
    async with Redis.from_url(ledger_servers.url(VALKEY)) as client:
        assert "valkey_version" in await client.info("server")


@pytest.mark.long
async def test_the_cluster_has_three_primaries_for_all_slots(ledger_servers: LedgerServers) -> None:
    url = ledger_servers.url(CLUSTER).removeprefix(CLUSTER_SCHEME)
    async with RedisCluster.from_url(url) as client:
        assert len(client.get_primaries()) == 3
        slots = {client.nodes_manager.get_node_from_slot(slot).name for slot in range(16_384)}
        assert len(slots) == 3
        assert client.get_replicas() == []
