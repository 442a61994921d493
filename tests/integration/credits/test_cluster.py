"""What a cluster adds: slots that move, servers that go away one by one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import RedisCluster

from runtime.bootstrap import open_runtime
from runtime.config import Config
from runtime.credits import erasure
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.results import (
    BookingUnknown,
    Existing,
    LedgerError,
    LedgerUnavailable,
    Reserved,
    Settled,
)
from runtime.ledger_opening import open_ledger
from tests.harness.ledger.desk import Desk, make_ledger, raises_not_booked
from tests.harness.ledger.shards import (
    Campaign,
    Move,
    accounts_apart,
    ask,
    books_are_right,
    once_available,
    open_desk,
    owner_of,
    running,
    slot_of,
    until_charged,
)
from tests.harness.servers import (
    CLUSTER_SCHEME,
    OLDEST,
    Cluster,
    Server,
    ServerProgramMissing,
    free_ports,
    program,
    refuse_or_skip,
)

pytestmark = pytest.mark.long

PATIENT_MS = 4_000
"""For a call to a server that lives, of which none may fail: machines stall for seconds."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, in which a lost server stops no other."""
    options = {"cluster-require-full-coverage": "no"}
    try:
        made = Cluster(tmp_path / "cluster", options)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made.start()
    yield made
    made.stop()


@pytest_asyncio.fixture
async def desk(cluster: Cluster) -> AsyncIterator[Desk]:
    async with open_desk(cluster, PATIENT_MS) as opened:
        yield opened


async def test_law_1a_charges_are_right_while_the_accounts_slot_moves_under_load(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with (
        open_desk(cluster) as one,
        open_desk(cluster) as other,
        open_desk(cluster, PATIENT_MS) as third,
    ):
        source = await owner_of(cluster, "acme")
        target = next(server for server in cluster.servers if server is not source)
        bystander = (await accounts_apart(cluster))[source.port]
        await third.open(200_000, account_id="acme")
        await third.open(10_000_000, account_id=bystander)
        folder = tmp_path / "spool"
        campaigns = [
            Campaign(one, "acme", folder, "one"),
            Campaign(other, "acme", folder, "other"),
        ]
        beside = Campaign(third, bystander, folder, "beside")
        async with running(*campaigns, beside):
            for _ in range(2):
                await until_charged((*campaigns, beside), 20)
                move = Move(cluster, "acme", source, target)
                await move.begin()
                moved = await move.move_keys(0.5)
                await asyncio.sleep(1.3)
                moved += await move.move_keys()
                await asyncio.sleep(0.2)
                await move.finish()
                assert moved > 11
                source, target = target, source
            await until_charged((*campaigns, beside), 20)
        for campaign in (*campaigns, beside):
            assert campaign.spool.waiting() == 0

        assert sum(campaign.unavailable + campaign.spooled for campaign in campaigns) > 0
        assert (beside.faults, beside.spooled) == ({}, 0)
        unknown = campaigns[0].unavailable + campaigns[1].unavailable
        await books_are_right(third, "acme", campaigns[0].costs | campaigns[1].costs, unknown)
        await books_are_right(third, bystander, beside.costs)
        assert (await third.balance("acme")).charged_mc <= 200_000


async def test_a_slot_that_has_moved_is_found_and_the_map_read_again(
    cluster: Cluster, desk: Desk
) -> None:
    source = await owner_of(cluster, "acme")
    target = next(server for server in cluster.servers if server is not source)
    await desk.open(1_000)
    await desk.reserve(10)
    move = Move(cluster, "acme", source, target)
    await move.begin()
    await move.move_keys()
    await move.finish()

    attempt, reserved = await desk.reserve(10)
    assert isinstance(await desk.settle(attempt, reserved, 5), Settled)

    slots = desk.client.nodes_manager
    async with asyncio.timeout(5):
        while slots.get_node_from_slot(slot_of("acme")).port != target.port:
            await desk.reserve(1)


async def test_law_3c_an_account_whose_keys_have_all_moved_is_served_before_its_slot_has(
    cluster: Cluster, desk: Desk
) -> None:
    source = await owner_of(cluster, "acme")
    target = next(server for server in cluster.servers if server is not source)
    # Something under every key: Redis refuses scripts for which one is missing.
    await desk.open(100, 1_000)
    await desk.ledger.accounts.set_cap("acme", Cap(CapWindow.DAY), limit_mc=10_000, reference="cap")
    await desk.spend(100)
    await desk.spend(850)
    attempt, reserved = await desk.reserve(10)
    await desk.settle(attempt, reserved, 5)
    await desk.reserve(10)
    await desk.ledger.erasure.begin("acme", "ada", "r-1")
    move = Move(cluster, "acme", source, target)
    await move.begin()
    await move.move_keys()
    before = await desk.balance()

    again = await desk.settle(attempt, reserved, 5)

    assert isinstance(again, Settled)
    assert again.charged_mc == 5
    assert (await desk.balance()).charged_mc == before.charged_mc == 955
    asked = (await ask(target, "INFO", "commandstats"))["cmdstat_asking"]["calls"]
    assert asked >= 3
    # A new execution has no outcome on either side.
    with raises_not_booked(match="TryAgainError"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    await move.finish()
    await desk.spend(10)


async def test_law_3f_a_person_is_forgotten_wholly_though_the_slot_moves_midway(
    cluster: Cluster, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_SCAN_COUNT", 10)
    source = await owner_of(cluster, "acme")
    target = next(server for server in cluster.servers if server is not source)
    await desk.open(10_000)
    attempts = []
    for _ in range(100):
        attempt, reserved = await desk.reserve(10, desk.attempt(person_id="ada"))
        attempts.append(attempt)
        await desk.settle(attempt, reserved, 5)
    move = Move(cluster, "acme", source, target)
    begun = await desk.ledger.erasure.begin("acme", "ada", "r-1")
    await move.begin()
    await move.move_keys(0.3)

    with pytest.raises(LedgerUnavailable):
        await desk.ledger.erasure.erase_outcomes(begun)
    await move.move_keys()
    await move.finish()
    await once_available(lambda: desk.ledger.erasure.erase_outcomes(begun))
    done = await once_available(
        lambda: desk.ledger.erasure.finish(begun, reason="a request", actor="ann")
    )

    assert done.removed == {"outcomes": 100}
    for attempt in attempts:
        found = await desk.ledger.look_up(attempt)
        assert isinstance(found, Existing)
        assert found.outcome == b""


async def test_a_slot_that_nobody_serves_is_unavailable_until_somebody_does(
    cluster: Cluster, desk: Desk
) -> None:
    source = await owner_of(cluster, "acme")
    await desk.open(1_000)
    for server in cluster.servers:
        await ask(server, "CLUSTER DELSLOTS", slot_of("acme"))

    since_s = time.monotonic()
    with raises_not_booked(match=r"ClusterDown|no server has slot"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    assert time.monotonic() - since_s < 4 * PATIENT_MS / 1_000

    await ask(source, "CLUSTER ADDSLOTS", slot_of("acme"))
    attempt, reserved = await once_available(lambda: desk.reserve(10))
    await once_available(lambda: desk.settle(attempt, reserved, 10))
    assert (await desk.balance()).charged_mc == 10


async def test_a_call_does_not_wait_longer_than_its_time_for_a_map_that_does_not_come(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open(1_000)

    async def deaf(manager: object) -> None:
        """As redis-py is now and then: a cancellation that comes while it sends is lost."""
        until_s = time.monotonic() + 10
        while time.monotonic() < until_s:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    monkeypatch.setattr(type(desk.client.nodes_manager), "initialize", deaf)
    del desk.client.nodes_manager.slots_cache[slot_of("acme")]
    impatient = make_ledger(desk.client, "t", timeout_ms=1_000)
    since_s = time.monotonic()

    with raises_not_booked():
        await impatient.reserve(desk.attempt(), 10, 1_000)

    assert time.monotonic() - since_s < 9
    await impatient.drain()


async def test_law_1a_a_server_that_goes_away_takes_its_own_accounts_with_it_and_no_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with open_desk(cluster, PATIENT_MS) as desk:
        await lose_a_server(cluster, desk, tmp_path / "spool")


async def lose_a_server(cluster: Cluster, desk: Desk, folder: Path) -> None:
    accounts = await accounts_apart(cluster)
    for account_id in accounts.values():
        await desk.open(10_000_000, account_id=account_id)
    lost = cluster.servers[1]
    campaigns = {
        port: Campaign(desk, account_id, folder, f"on-{port}")
        for port, account_id in accounts.items()
    }
    async with running(*campaigns.values()):
        await until_charged(campaigns.values(), 20)
        lost.stop(signal.SIGKILL)
        with cluster.impatient():
            await asyncio.to_thread(cluster.wait_until_lost, lost)
            lost.start()
            await asyncio.to_thread(cluster.wait_until_whole)
        await until_charged(campaigns.values(), 20)

    for port, campaign in campaigns.items():
        assert campaign.spool.waiting() == 0
        if port == lost.port:
            assert campaign.unavailable > 0
        else:
            assert campaign.faults == {}
        assert len(campaign.costs) > 10
        await books_are_right(desk, campaign.account_id, campaign.costs, campaign.unavailable)


async def test_a_sweep_visits_the_servers_that_are_there_and_says_that_one_is_not(
    cluster: Cluster, desk: Desk
) -> None:
    accounts = await accounts_apart(cluster)
    for account_id in accounts.values():
        await desk.open(1_000, account_id=account_id)
        await desk.ledger.reserve(desk.attempt(account_id=account_id), 10, 50)
    await asyncio.sleep(0.06)
    lost = cluster.servers[2]
    lost.stop()

    with pytest.raises(LedgerUnavailable):
        await desk.ledger.sweep()

    for port, account_id in accounts.items():
        if port != lost.port:
            assert (await desk.journal(account_id))[-1].kind == "expired"
    lost.start()
    await once_available(desk.ledger.sweep)
    assert (await desk.journal(accounts[lost.port]))[-1].kind == "expired"


async def test_law_3c_what_a_hanging_server_did_after_all_is_found_by_asking_again(
    cluster: Cluster, desk: Desk
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(300)
    server = await owner_of(cluster, "acme")
    server.pause()
    with pytest.raises(BookingUnknown):
        await desk.settle(attempt, reserved, 200)
    server.resume()
    again = await once_available(lambda: desk.settle(attempt, reserved, 200))
    other = await desk.ledger.reserve(desk.attempt(attempt.execution_id), 300, 1_000)

    assert isinstance(again, Settled)
    assert isinstance(other, Existing)
    assert (await desk.balance()).charged_mc == 200


async def test_a_process_starts_while_a_server_is_away(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_desk(cluster, PATIENT_MS) as first:
        await first.ledger.check_installation()
        slot = first.client.keyslot(first.keys.installation)
        keeper = first.client.nodes_manager.get_node_from_slot(slot).port
    lost = next(s for s in cluster.servers[1:] if s.port != keeper)
    lost.stop()

    async with open_desk(cluster, PATIENT_MS) as desk:
        await desk.ledger.check_installation()

    assert f"127.0.0.1:{lost.port} can't be reached" in caplog.text


async def test_a_server_that_is_nearly_full_refuses_its_own_accounts_alone(
    cluster: Cluster, desk: Desk
) -> None:
    accounts = await accounts_apart(cluster)
    for account_id in accounts.values():
        await desk.open(1_000, account_id=account_id)
    full = cluster.servers[1]
    used = (await ask(full, "INFO", "memory"))["used_memory"]
    await ask(full, "CONFIG", "SET", "maxmemory", used * 100 // 95)
    await desk.ledger.check_installation()

    for port, account_id in accounts.items():
        attempt = desk.attempt(account_id=account_id)
        if port == full.port:
            with pytest.raises(LedgerUnavailable, match=f"{port} is full to"):
                await desk.ledger.reserve(attempt, 10, 1_000)
        else:
            assert isinstance(await desk.ledger.reserve(attempt, 10, 1_000), Reserved)


# The configuration


def config_of(made: Cluster, tmp_path: Path, **redis: Any) -> Config:
    section = {"url": made.url.removeprefix(CLUSTER_SCHEME), "key_prefix": "t", **redis}
    return Config.model_validate(
        {
            "version": 1,
            "data_dir": str(tmp_path / "data"),
            "redis": section,
            "plans": {"growth": {"ai_credits": True}},
        }
    )


async def test_a_configured_cluster_holds_the_ledger(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(cluster, tmp_path, cluster=True)
    async with open_ledger(config) as ledger:
        for account_id in (await accounts_apart(cluster)).values():
            assert await ledger.accounts.open_account(account_id, plan="growth")
        assert await ledger.sweep() == 0


async def test_a_hosts_own_client_of_a_cluster_will_do(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(cluster, tmp_path)
    url = cluster.url.removeprefix(CLUSTER_SCHEME)
    provider: Any = object()  # no model is called
    async with (
        RedisCluster.from_url(url, decode_responses=True) as client,
        open_runtime(config, redis=client, provider=provider) as runtime,
    ):
        assert await runtime.accounts.open_account("acme", plan="growth")
        assert (await runtime.accounts.balance("acme")).available_mc == 0


async def test_a_cluster_that_is_configured_as_one_server_is_refused(
    cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(LedgerError, match=r"node of a cluster: set redis\.cluster to true"):
        async with open_ledger(config_of(cluster, tmp_path)):
            pass


async def test_one_server_that_is_configured_as_a_cluster_is_refused(
    cluster: Cluster, tmp_path: Path
) -> None:
    server = Server(program(OLDEST), tmp_path / "alone", free_ports(1)[0])
    server.start()
    try:
        config = config_of(cluster, tmp_path, cluster=True, url=server.url)
        with pytest.raises(LedgerError, match="Cluster mode is not enabled"):
            async with open_ledger(config):
                pass
    finally:
        server.stop()
