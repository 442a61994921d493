"""What an answer outlives: a write is done when as many have it as were asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis import Redis

from providers.pacing.deadline import Deadline
from runtime.config import Config
from runtime.credits.durability import Durability
from runtime.credits.endings import Settlement
from runtime.credits.results import (
    BookingUnknown,
    Existing,
    LedgerError,
    LedgerUnavailable,
    Settled,
)
from runtime.executions.outbox import Outbox
from runtime.executions.spool import Spool
from runtime.ledger_opening import open_ledger
from tests.harness.ledger.desk import Desk, connect, make_ledger
from tests.harness.ledger.shards import PROGRESS_WITHIN_S, once_available
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import (
    OLDEST,
    Server,
    ServerProgramMissing,
    free_ports,
    program,
    refuse_or_skip,
)

TIMEOUT_MS = 400


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A primary and its replica."""
    try:
        path = program(OLDEST)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    primary, replica = (Server(path, tmp_path / str(port), port) for port in free_ports(2))
    primary.start()
    try:
        replica.start()
        follow(replica, primary)
        yield primary, replica
    finally:
        replica.stop()
        primary.stop()


def follow(replica: Server, primary: Server) -> None:
    """Make one server the other's replica, and wait until it has caught up."""
    with Redis.from_url(replica.url) as client, Redis.from_url(primary.url) as leader:
        client.replicaof("127.0.0.1", primary.port)
        give_up_at_s = time.monotonic() + 20
        while leader.wait(1, 100) < 1:
            assert time.monotonic() < give_up_at_s


@pytest_asyncio.fixture
async def desk(servers: tuple[Server, Server]) -> AsyncIterator[Desk]:
    """A ledger that waits for the replica, by the primary's clock."""
    client = connect(servers[0].url)
    ledger = make_ledger(client, "t", timeout_ms=TIMEOUT_MS, durability=Durability.REPLICATED)
    desk = Desk(client, "t", ledger)
    try:
        await once_available(ledger.check_installation)
        await once_available(lambda: desk.open(10_000))
        yield desk
    finally:
        await ledger.drain()
        await client.aclose()
        await asyncio.sleep(0)


async def on_the_replica(servers: tuple[Server, Server]) -> Desk:
    """What the replica has, without asking the primary."""
    client = connect(servers[1].url)
    return Desk(client, "t", make_ledger(client, "t"))


async def test_what_is_done_is_on_the_replica(servers: tuple[Server, Server], desk: Desk) -> None:
    # A machine may stall for longer than a replica that is lost on purpose is waited for.
    hasty = desk.ledger
    desk.ledger = make_ledger(desk.client, "t", durability=Durability.REPLICATED)
    replica = await on_the_replica(servers)
    for number in range(20):
        attempt, reserved = await desk.reserve(100)
        assert (await replica.balance()).reserved_mc == 100
        assert isinstance(await desk.settle(attempt, reserved, 50), Settled)
        assert (await replica.balance()).charged_mc == 50 * (number + 1)
    await asyncio.gather(*(desk.spend(10) for _ in range(100)))
    assert (await replica.balance()).charged_mc == 2_000
    await replica.ledger.drain()
    await replica.client.aclose()
    await desk.ledger.drain()
    desk.ledger = hasty


async def test_law_3c_what_too_few_acknowledged_is_unknown_and_settled_by_asking_again(
    servers: tuple[Server, Server], desk: Desk, tmp_path: Path
) -> None:
    attempt, reserved = await desk.reserve(100)
    spool = Spool(tmp_path / "spool", 3_600_000)
    outbox = Outbox(desk.ledger, spool, replay_every_ms=50)
    settlement = Settlement(
        attempt, 60, 100, reserved.reserved_at_ms, "1,0,0,1,0", "v1", (), 0, b"the answer"
    )
    servers[1].pause()

    with pytest.raises(BookingUnknown, match="0 of 1 replicas have it"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    deadline = Deadline(asyncio.get_running_loop().time() + 10)
    assert await outbox.close(settlement, deadline) is None
    assert spool.waiting() == 1
    # Asked again while the replica is still away, a call that writes nothing is no more certain.
    with pytest.raises(BookingUnknown):
        await desk.ledger.end(settlement)
    # What is only read is nobody's to acknowledge.
    assert (await desk.balance()).charged_mc == 60

    servers[1].resume()
    outbox.start()
    async with asyncio.timeout(PROGRESS_WITHIN_S):
        while spool.waiting():  # noqa: ASYNC110 - a folder tells nobody
            await asyncio.sleep(0.02)
    await outbox.aclose()
    again = await desk.ledger.reserve(desk.attempt(attempt.execution_id), 100, 1_000)
    assert isinstance(again, Existing)
    assert again.outcome == b"the answer"
    assert (await desk.balance()).charged_mc == 60


async def test_callers_who_give_up_while_a_replica_is_waited_for_leave_nothing_reserved(
    servers: tuple[Server, Server], desk: Desk
) -> None:
    servers[1].pause()
    for wait_s in (0.0, 0.002, 0.02, 0.1):
        tasks = [asyncio.create_task(desk.reserve(10)) for _ in range(5)]
        await asyncio.sleep(wait_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await desk.ledger.drain()
    servers[1].resume()
    await desk.ledger.drain()

    assert (await desk.balance()).reserved_mc == 0
    # No answer was left on a line for somebody else to read.
    await asyncio.gather(*(desk.spend(10) for _ in range(50)))
    assert (await desk.balance()).charged_mc == 500


async def test_a_script_that_the_primary_forgot_is_waited_for_as_well(
    servers: tuple[Server, Server], desk: Desk
) -> None:
    for _ in range(3):
        await desk.client.script_flush()
        await asyncio.gather(*(desk.spend(10) for _ in range(10)))
    assert (await desk.balance()).charged_mc == 300


# At the start


async def refused_at_start(url: str, **settings: Any) -> str:
    client = connect(url)
    ledger = make_ledger(client, "t", **settings)
    try:
        with pytest.raises(LedgerError) as refused:
            await ledger.check_installation()
        assert not isinstance(refused.value, LedgerUnavailable)
        return str(refused.value)
    finally:
        await ledger.drain()
        await client.aclose()
        await asyncio.sleep(0)


async def test_too_few_replicas_are_refused_at_start(private_redis: PrivateRedis) -> None:
    told = await refused_at_start(
        private_redis.url, durability=Durability.REPLICATED, wait_replicas=2
    )
    assert "the server has 0 of the 2 replicas that redis.wait_replicas asks for" in told


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("appendfsync", "everysec", "runs with appendfsync everysec: set it to always"),
        ("appendonly", "no", "has no append-only file: set appendonly yes"),
    ],
)
async def test_a_server_that_does_not_sync_every_write_is_refused_at_start(
    private_redis: PrivateRedis, name: str, value: str, words: str
) -> None:
    client: Any = connect(private_redis.url)
    await client.config_set("appendfsync", "always")
    await client.config_set(name, value)
    await client.aclose()
    await asyncio.sleep(0)

    assert words in await refused_at_start(private_redis.url, durability=Durability.FSYNC)


EVICTING = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu"]
EVICTING += ["volatile-random", "volatile-ttl"]


@pytest.mark.parametrize("hides_info", [False, True])
async def test_law_3c_a_server_that_may_evict_what_was_charged_is_refused_at_start(
    private_redis: PrivateRedis, hides_info: bool
) -> None:
    client: Any = connect(private_redis.url)
    if hides_info:
        await client.execute_command("ACL", "SETUSER", "default", "-info")
    for policy in EVICTING:
        await client.config_set("maxmemory-policy", policy)
        words = f"maxmemory-policy is {policy}; set it to noeviction"
        assert words in await refused_at_start(private_redis.url)
    await client.aclose()
    await asyncio.sleep(0)


@pytest.mark.parametrize("hidden", [(), ("-config",), ("-config", "-info")])
async def test_what_a_service_hides_is_believed_and_said(
    private_redis: PrivateRedis, hidden: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = connect(private_redis.url)
    await client.config_set("appendfsync", "always")
    if hidden:
        await client.execute_command("ACL", "SETUSER", "default", *hidden)
    desk = Desk(client, "t", make_ledger(client, "t", durability=Durability.FSYNC))
    await desk.ledger.check_installation()
    await desk.open(100)

    assert ("does not tell whether it runs with appendfsync always" in caplog.text) == bool(hidden)
    assert ("does not tell its maxmemory-policy" in caplog.text) == ("-info" in hidden)
    await desk.ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


async def test_without_an_append_only_file_and_without_min_replicas_it_is_said(
    servers: tuple[Server, Server], caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = connect(servers[0].url)
    await client.config_set("appendonly", "no")
    for durability in (Durability.RELAXED, Durability.REPLICATED):
        ledger = make_ledger(client, "t", durability=durability)
        await ledger.check_installation()
        await ledger.drain()
    assert caplog.text.count("has no append-only file") == 1
    assert caplog.text.count("set min-replicas-to-write") == 1

    await client.config_set("min-replicas-to-write", 1)
    ledger = make_ledger(client, "t", durability=Durability.REPLICATED)
    await ledger.check_installation()
    assert caplog.text.count("set min-replicas-to-write") == 1
    await ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


async def test_the_configured_durability_is_the_ledgers(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    config = Config.model_validate(
        {
            "version": 1,
            "data_dir": str(tmp_path / "data"),
            "redis": {"url": servers[0].url, "durability": "replicated", "timeout_ms": TIMEOUT_MS},
            "plans": {"growth": {"ai_credits": True}},
        }
    )
    async with open_ledger(config) as ledger:
        assert await ledger.accounts.open_account("acme", plan="growth")
        servers[1].pause()
        with pytest.raises(BookingUnknown):
            await ledger.accounts.open_account("other", plan="growth")
        servers[1].resume()
