"""What a cluster adds: slots that move, servers that go away one by one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis, RedisCluster

from runtime.bootstrap import build_runtime, open_ledger
from runtime.closing import Closer
from runtime.config import Config
from runtime.credits.answers import (
    Existing,
    LedgerError,
    LedgerUnavailable,
    Refused,
    Reserved,
    Settled,
)
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Settlement
from runtime.credits.journal import verify
from runtime.credits.keys import bucket_of, slot_of_bucket
from runtime.credits.spool import Spool
from runtime.credits.transport import NotReached, UnknownOutcome
from tests.integration.ledger.desk import Desk, connect, make_ledger
from tests.integration.servers import (
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

TTL_MS = 5_000
NODE_TIMEOUT_MS = 1_500


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, in which a lost server stops no other."""
    options = {
        "cluster-node-timeout": str(NODE_TIMEOUT_MS),
        "cluster-require-full-coverage": "no",
    }
    try:
        made = Cluster(tmp_path / "cluster", **options)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made.start()
    yield made
    made.stop()


@contextlib.asynccontextmanager
async def open_desk(cluster: Cluster, timeout_ms: int = 1_000) -> AsyncIterator[Desk]:
    """A ledger as a process of its own has it, by the servers' clocks."""
    client = connect(cluster.url, socket_timeout=timeout_ms / 2_000)
    ledger = make_ledger(client, "t", timeout_ms=timeout_ms)
    yield Desk(client, "t", ledger)
    await ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


@pytest_asyncio.fixture
async def desk(cluster: Cluster) -> AsyncIterator[Desk]:
    async with open_desk(cluster) as opened:
        yield opened


def slot_of(account_id: str) -> int:
    return slot_of_bucket(bucket_of(account_id))


async def ask(server: Server, *command: Any) -> Any:
    """Ask one server, whatever it thinks of the slot."""
    client: Any = Redis.from_url(server.url)
    async with client:
        return await client.execute_command(*command)


async def owner_of(cluster: Cluster, account_id: str) -> Server:
    slot = slot_of(account_id)
    for first, last, (_, port, *_), *_ in await ask(cluster.servers[0], "CLUSTER SLOTS"):
        if first <= slot <= last:
            return next(server for server in cluster.servers if server.port == port)
    raise AssertionError(f"nobody has {slot}")


async def accounts_apart(cluster: Cluster) -> dict[int, str]:
    """An account on each server, by its port."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < len(cluster.servers):
        name = f"account-{number}"
        found.setdefault((await owner_of(cluster, name)).port, name)
        number += 1
    return found


async def once_available(call: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again until Redis can be asked."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(LedgerUnavailable):
                return await call()
            await asyncio.sleep(0.05)


class Move:
    """The move of an account's slot, step by step."""

    def __init__(self, cluster: Cluster, account_id: str, source: Server, target: Server) -> None:
        self.cluster, self.slot = cluster, slot_of(account_id)
        self.source, self.target = source, target

    async def begin(self) -> None:
        """Announce it: from now on a key that is missing here is looked for there."""
        source_id = await ask(self.source, "CLUSTER MYID")
        target_id = await ask(self.target, "CLUSTER MYID")
        await ask(self.target, "CLUSTER SETSLOT", self.slot, "IMPORTING", source_id)
        await ask(self.source, "CLUSTER SETSLOT", self.slot, "MIGRATING", target_id)

    async def move_keys(self, share: float = 1.0) -> int:
        """Move this share of the slot's keys; return how many."""
        count = await ask(self.source, "CLUSTER COUNTKEYSINSLOT", self.slot)
        keys = await ask(self.source, "CLUSTER GETKEYSINSLOT", self.slot, round(count * share))
        if keys:
            await ask(
                self.source,
                *("MIGRATE", "127.0.0.1", self.target.port, "", 0, 5_000, "KEYS", *keys),
            )
        return len(keys)

    async def finish(self) -> None:
        """Give the slot to its new owner."""
        target_id = await ask(self.target, "CLUSTER MYID")
        for server in (self.target, self.source, *self.cluster.servers):
            await ask(server, "CLUSTER SETSLOT", self.slot, "NODE", target_id)


class Campaign:
    """Executions of one account that never stop, as one process runs them."""

    def __init__(self, desk: Desk, account_id: str, folder: Path, name: str) -> None:
        self.desk, self.account_id, self.name = desk, account_id, name
        self.spool = Spool(folder / name, 3_600_000)
        self.closer = Closer(desk.ledger, self.spool, replay_every_ms=50)
        self.unavailable = self.refused = self.spooled = 0
        self.costs: dict[str, int] = {}
        self.over = False

    async def run(self, callers: int = 8) -> None:
        self.closer.start()
        await asyncio.gather(*(self._work(number) for number in range(callers)))

    async def _work(self, caller: int) -> None:
        count = 0
        while not self.over:
            count += 1
            await self._execute(f"{self.name}-{caller}-{count}", 100 + (caller * 37 + count) % 400)

    async def _execute(self, execution_id: str, cost_mc: int) -> None:
        attempt = self.desk.attempt(execution_id, account_id=self.account_id)
        try:
            answer = await self.desk.ledger.reserve(attempt, 500, TTL_MS)
        except LedgerUnavailable:
            self.unavailable += 1
            return
        if isinstance(answer, Refused):
            self.refused += 1
            await asyncio.sleep(0.01)
            return
        assert isinstance(answer, Reserved), answer
        await asyncio.sleep(0.005)
        self.costs[attempt.execution_key] = cost_mc
        settlement = Settlement(
            attempt, cost_mc, 500, answer.reserved_at_ms, "1,0,0,1,0", "v1", (), 0, b"answer"
        )
        deadline_s = asyncio.get_running_loop().time() + 10
        settled = await self.closer.close(settlement, deadline_s)
        self.spooled += settled is None


async def books_are_right(desk: Desk, account_id: str, costs: dict[str, int]) -> None:
    """Conservation, one charge for each execution, nothing reserved after its deadline."""
    balance = await desk.balance(account_id)
    entries = await desk.journal(account_id)
    verify(entries)
    settled = [entry for entry in entries if entry.kind == "settled"]
    assert len({entry.execution_key for entry in settled}) == len(settled)
    assert {entry.execution_key for entry in settled} == set(costs)
    assert balance.charged_mc == sum(costs.values())
    assert (balance.overage_mc, balance.exposure_mc) == (0, 0)
    async with asyncio.timeout(TTL_MS / 1_000 + 5):
        while (await desk.balance(account_id)).reserved_mc:  # noqa: ASYNC110 - time has to pass
            await asyncio.sleep(0.1)


async def test_promise_02_charges_are_right_while_the_accounts_slot_moves_under_load(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with open_desk(cluster) as one, open_desk(cluster) as other:
        source = await owner_of(cluster, "acme")
        target = next(server for server in cluster.servers if server is not source)
        bystander = (await accounts_apart(cluster))[source.port]
        await one.open(200_000, account_id="acme")
        await one.open(10_000_000, account_id=bystander)
        folder = tmp_path / "spool"
        campaigns = [
            Campaign(one, "acme", folder, "one"),
            Campaign(other, "acme", folder, "other"),
        ]
        beside = Campaign(one, bystander, folder, "beside")
        running = asyncio.gather(*(campaign.run() for campaign in (*campaigns, beside)))

        for _ in range(2):
            await asyncio.sleep(0.3)
            move = Move(cluster, "acme", source, target)
            await move.begin()
            moved = await move.move_keys(0.5)
            await asyncio.sleep(1.3)
            moved += await move.move_keys()
            await asyncio.sleep(0.2)
            await move.finish()
            assert moved > 11
            source, target = target, source
        await asyncio.sleep(0.3)
        for campaign in (*campaigns, beside):
            campaign.over = True
        await running
        for campaign in (*campaigns, beside):
            await campaign.closer.aclose()
            assert campaign.spool.waiting() == 0

        assert sum(campaign.unavailable + campaign.spooled for campaign in campaigns) > 0
        assert (beside.unavailable, beside.spooled) == (0, 0)
        await books_are_right(one, "acme", campaigns[0].costs | campaigns[1].costs)
        await books_are_right(one, bystander, beside.costs)
        assert (await one.balance("acme")).charged_mc <= 200_000


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

    transport: Any = desk.ledger._asker._batcher._transport
    async with asyncio.timeout(5):
        while transport._map.owner(slot_of("acme")).host != "127.0.0.1" or (
            desk.client.nodes_manager.get_node_from_slot(slot_of("acme")).port != target.port
        ):
            await desk.reserve(1)


async def test_promise_09_an_account_whose_keys_have_all_moved_is_served_before_its_slot_has(
    cluster: Cluster, desk: Desk
) -> None:
    source = await owner_of(cluster, "acme")
    target = next(server for server in cluster.servers if server is not source)
    # Something under every key: Redis refuses scripts for which one is missing.
    await desk.open(100, 1_000)
    await desk.ledger.set_cap("acme", Cap(CapWindow.DAY), limit_mc=10_000, reference="cap")
    await desk.spend(100)
    await desk.spend(850)
    attempt, reserved = await desk.reserve(10)
    await desk.settle(attempt, reserved, 5)
    await desk.reserve(10)
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
    with pytest.raises(NotReached, match="TryAgainError"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    await move.finish()
    await desk.spend(10)


async def test_a_slot_that_nobody_serves_is_unavailable_until_somebody_does(
    cluster: Cluster, desk: Desk
) -> None:
    source = await owner_of(cluster, "acme")
    await desk.open(1_000)
    for server in cluster.servers:
        await ask(server, "CLUSTER DELSLOTS", slot_of("acme"))

    since_s = time.monotonic()
    with pytest.raises(NotReached, match=r"ClusterDown|no server has slot"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    assert time.monotonic() - since_s < 4

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
        until_s = time.monotonic() + 6
        while time.monotonic() < until_s:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    monkeypatch.setattr(type(desk.client.nodes_manager), "initialize", deaf)
    del desk.client.nodes_manager.slots_cache[slot_of("acme")]
    since_s = time.monotonic()

    with pytest.raises(NotReached):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)

    assert time.monotonic() - since_s < 4


async def test_promise_02_a_server_that_goes_away_takes_its_own_accounts_with_it_and_no_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with open_desk(cluster) as desk:
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
    running = asyncio.gather(*(campaign.run() for campaign in campaigns.values()))
    await asyncio.sleep(0.3)

    lost.stop(signal.SIGKILL)
    # Longer than it takes the others to agree that it is gone.
    await asyncio.sleep(NODE_TIMEOUT_MS / 1_000 + 1)
    lost.start()
    await asyncio.to_thread(cluster.wait_until_whole)
    await asyncio.sleep(0.3)
    for campaign in campaigns.values():
        campaign.over = True
    await running
    for campaign in campaigns.values():
        await campaign.closer.aclose()
        assert campaign.spool.waiting() == 0

    for port, campaign in campaigns.items():
        assert (campaign.unavailable > 0) == (port == lost.port)
        assert len(campaign.costs) > 10
        await books_are_right(desk, campaign.account_id, campaign.costs)


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


async def test_promise_09_what_a_hanging_server_did_after_all_is_found_by_asking_again(
    cluster: Cluster, desk: Desk
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(300)
    server = await owner_of(cluster, "acme")
    server.pause()
    with pytest.raises(UnknownOutcome):
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
    async with open_desk(cluster) as first:
        await first.ledger.check_installation()
        slot = first.client.keyslot(first.keys.installation)
        keeper = first.client.nodes_manager.get_node_from_slot(slot).port
    lost = next(s for s in cluster.servers[1:] if s.port != keeper)
    lost.stop()

    async with open_desk(cluster) as desk:
        await desk.ledger.check_installation()

    assert f"127.0.0.1:{lost.port} can't be asked" in caplog.text


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
            assert await ledger.open_account(account_id, plan="growth")
        assert await ledger.sweep() == 0


async def test_a_hosts_own_client_of_a_cluster_will_do(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(cluster, tmp_path)
    url = cluster.url.removeprefix(CLUSTER_SCHEME)
    provider: Any = object()  # no model is called
    async with (
        RedisCluster.from_url(url, decode_responses=True) as client,
        build_runtime(config, redis=client, provider=provider) as runtime,
    ):
        assert await runtime.ledger.open_account("acme", plan="growth")
        assert (await runtime.ledger.balance("acme")).available_mc == 0


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
