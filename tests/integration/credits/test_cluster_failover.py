"""A cluster whose primaries have a replica each: a write counts when the replica has it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from runtime.credits.durability import Durability
from runtime.credits.results import BookingUnknown, LedgerError, Settled
from tests.harness.ledger.desk import Desk, connect, make_ledger
from tests.harness.ledger.shards import (
    PROGRESS_WITHIN_S,
    Campaign,
    accounts_apart,
    ask,
    books_are_right,
    once_available,
    owner_of,
    running,
    until_charged,
)
from tests.harness.servers import Cluster, Server, ServerProgramMissing, refuse_or_skip

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    # redis-py leaves its own connections to a node that the map no longer has to the collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

TIMEOUT_MS = 4_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, in which a lost server stops no other."""
    options = {
        "cluster-require-full-coverage": "no",
        "cluster-allow-replica-migration": "no",
        "min-replicas-to-write": "1",
    }
    try:
        made = Cluster(tmp_path / "cluster", options, replicas=1)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made.start()
    yield made
    made.stop()


@asynccontextmanager
async def open_desk(cluster: Cluster, **settings: Any) -> AsyncIterator[Desk]:
    """A ledger that waits for a replica, by the servers' clocks."""
    client = connect(cluster.url, socket_timeout=TIMEOUT_MS / 2_000)
    settings = {"timeout_ms": TIMEOUT_MS, "durability": Durability.REPLICATED, **settings}
    ledger = make_ledger(client, "t", **settings)
    try:
        await once_available(ledger.check_installation)
        yield Desk(client, "t", ledger)
    finally:
        await ledger.drain()
        await client.aclose()
        await asyncio.sleep(0.05)  # redis-py closes some connections in tasks of its own


async def replica_of(cluster: Cluster, primary: Server) -> Server:
    told = await ask(primary, "INFO", "replication")
    port = told["slave0"]["port"]
    return next(server for server in cluster.servers if server.port == port)


async def test_what_is_done_is_on_the_replica_of_the_accounts_primary(cluster: Cluster) -> None:
    async with open_desk(cluster) as desk:
        accounts = await accounts_apart(cluster)
        for port, account_id in accounts.items():
            await desk.open(10_000, account_id=account_id)
            primary = next(server for server in cluster.servers if server.port == port)
            replica: Any = Redis.from_url((await replica_of(cluster, primary)).url)
            async with replica:
                await replica.execute_command("READONLY")
                for _ in range(10):
                    attempt = desk.attempt(account_id=account_id)
                    _, reserved = await desk.reserve(100, attempt)
                    assert isinstance(await desk.settle(attempt, reserved, 50), Settled)
                    entries = await replica.xlen(desk.key("journal", account_id))
                    assert entries == (await desk.balance(account_id)).journal_seq
                    assert await replica.hvals(desk.key("open", account_id)) == []
                assert (await desk.balance(account_id)).charged_mc == 500


async def test_law_3c_too_few_replicas_of_one_primary_are_an_unknown_outcome_of_its_accounts_alone(
    cluster: Cluster,
) -> None:
    async with open_desk(cluster, timeout_ms=3_000) as desk:
        accounts = await accounts_apart(cluster)
        for account_id in accounts.values():
            await desk.open(10_000, account_id=account_id)
            # From now on the server knows the script: learning it takes a WAIT of its own.
            await desk.reserve(1, desk.attempt(account_id=account_id))
        hit = cluster.servers[0]
        replica = await replica_of(cluster, hit)
        replica.pause()
        again = desk.attempt(account_id=accounts.pop(hit.port))
        with pytest.raises(BookingUnknown, match="0 of 1 replicas have it"):
            await desk.ledger.reserve(again, 10, 60_000)
        for account_id in accounts.values():
            await desk.reserve(10, desk.attempt(account_id=account_id))
        replica.resume()
        _, reserved = await once_available(lambda: desk.reserve(10, again))
        await once_available(lambda: desk.settle(again, reserved, 10))
        assert (await desk.balance(again.account_id)).charged_mc == 10


async def test_each_primary_is_checked_for_its_replicas_at_start(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    for server in cluster.servers[:2]:
        await ask(server, "CONFIG", "SET", "min-replicas-to-write", 0)
    async with open_desk(cluster):
        pass
    assert caplog.text.count("set min-replicas-to-write") == 2
    for server in cluster.servers[:2]:
        assert f"127.0.0.1:{server.port} takes writes without a replica" in caplog.text

    bare = cluster.servers[2]
    (await replica_of(cluster, bare)).stop()
    async with asyncio.timeout(PROGRESS_WITHIN_S):
        while (await ask(bare, "INFO", "replication"))["connected_slaves"]:  # noqa: ASYNC110 - a server's
            await asyncio.sleep(0.05)
    with pytest.raises(LedgerError, match=f"127.0.0.1:{bare.port} has 0 of the 1 replicas"):
        async with open_desk(cluster):
            pass


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_law_3b_a_primary_that_fails_over_loses_nothing_and_other_accounts_notice_nothing(
    cluster: Cluster, how: signal.Signals, tmp_path: Path
) -> None:
    async with open_desk(cluster) as desk:
        accounts = await accounts_apart(cluster)
        for account_id in accounts.values():
            await desk.open(10_000_000, account_id=account_id)
        campaigns = {
            port: Campaign(desk, account_id, tmp_path / "spool", f"on-{port}")
            for port, account_id in accounts.items()
        }
        lost, heir = cluster.servers[0], await replica_of(cluster, cluster.servers[0])
        async with running(*campaigns.values()):
            await until_charged(campaigns.values(), 20)
            lost.pause() if how is signal.SIGSTOP else lost.stop(how)
            with cluster.impatient():
                async with asyncio.timeout(PROGRESS_WITHIN_S):
                    while (await ask(heir, "INFO", "replication"))["role"] != "master":  # noqa: ASYNC110 - a server's
                        await asyncio.sleep(0.05)
            lost.resume() if how is signal.SIGSTOP else lost.start()
            await until_charged([campaigns[lost.port]], 20)
            for campaign in campaigns.values():
                campaign.over = True
            async with asyncio.timeout(PROGRESS_WITHIN_S):
                while any(campaign.spool.waiting() for campaign in campaigns.values()):  # noqa: ASYNC110 - files
                    await asyncio.sleep(0.05)

        assert (await ask(lost, "INFO", "replication"))["role"] == "slave"
        assert await owner_of(cluster, accounts[lost.port]) is heir
        for port, campaign in campaigns.items():
            if port != lost.port:
                assert (campaign.faults, campaign.spooled) == ({}, 0)
            assert len(campaign.costs) > 20
            await books_are_right(desk, campaign.account_id, campaign.costs, campaign.unavailable)
