"""A cluster's accounts: where they are, how they are moved, and a campaign that never stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from providers.pacing.deadline import Deadline
from runtime.credits.endings import Settlement
from runtime.credits.journal import verify
from runtime.credits.results import LedgerUnavailable, Refused, Reserved, Settled
from runtime.executions.outbox import Outbox
from runtime.executions.spool import Spool
from runtime.redis.keys import bucket_of, slot_of_bucket
from tests.harness.ledger.desk import Desk, connect, make_ledger
from tests.harness.servers import PRIMARIES, Cluster, Server

TTL_MS = 5_000
PROGRESS_WITHIN_S = 100.0
"""Ends a test that makes no progress. It says nothing of speed: machines stall for seconds."""
MOST_MC = 500
"""What each execution of a campaign reserves."""


@contextlib.asynccontextmanager
async def open_desk(cluster: Cluster, timeout_ms: int = 1_000) -> AsyncIterator[Desk]:
    """A ledger as a process of its own has it, by the servers' clocks."""
    client = connect(cluster.url, socket_timeout=timeout_ms / 2_000)
    ledger = make_ledger(client, "t", timeout_ms=timeout_ms)
    try:
        yield Desk(client, "t", ledger)
    finally:
        await ledger.drain()
        await client.aclose()
        await asyncio.sleep(0)


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
    """An account on each primary, by its port."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < PRIMARIES:
        name = f"account-{number}"
        found.setdefault((await owner_of(cluster, name)).port, name)
        number += 1
    return found


async def once_available(call: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again until Redis can be asked."""
    async with asyncio.timeout(PROGRESS_WITHIN_S):
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
        self.outbox = Outbox(desk.ledger, self.spool, replay_every_ms=50)
        self.refused = self.spooled = 0
        self.faults: Counter[str] = Counter()
        """Why Redis could not be asked for a reservation, and how often."""
        self.costs: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        """What callers were told is charged, by the execution's key; the rest is in the spool."""
        self.over = False

    @property
    def unavailable(self) -> int:
        """How often Redis could not be asked for a reservation."""
        return self.faults.total()

    async def run(self, callers: int = 8) -> None:
        self.outbox.start()
        await asyncio.gather(*(self._work(number) for number in range(callers)))

    async def _work(self, caller: int) -> None:
        count = 0
        while not self.over:
            count += 1
            await self._execute(f"{self.name}-{caller}-{count}", 100 + (caller * 37 + count) % 400)

    async def _execute(self, execution_id: str, cost_mc: int) -> None:
        attempt = self.desk.attempt(execution_id, account_id=self.account_id)
        try:
            answer = await self.desk.ledger.reserve(attempt, MOST_MC, TTL_MS)
        except LedgerUnavailable as error:
            self.faults[str(error)] += 1
            await asyncio.sleep(0.01)
            return
        if isinstance(answer, Refused):
            self.refused += 1
            await asyncio.sleep(0.01)
            return
        assert isinstance(answer, Reserved), answer
        await asyncio.sleep(0.005)
        self.costs[attempt.execution_key] = cost_mc
        settlement = Settlement(
            attempt, cost_mc, MOST_MC, answer.reserved_at_ms, "1,0,0,1,0", "v1", (), 0, b"answer"
        )
        deadline = Deadline(asyncio.get_running_loop().time() + 10)
        settled = await self.outbox.close(settlement, deadline)
        self.spooled += settled is None
        if isinstance(settled, Settled):
            self.acknowledged[attempt.execution_key] = settled.charged_mc


@contextlib.asynccontextmanager
async def running(*campaigns: Campaign) -> AsyncIterator[None]:
    """Run campaigns until the block ends, and then until each has charged what it owes."""
    everybody = asyncio.gather(*(campaign.run() for campaign in campaigns))
    try:
        yield
    finally:
        for campaign in campaigns:
            campaign.over = True
        await everybody
        for campaign in campaigns:
            await campaign.outbox.aclose()


async def until_charged(campaigns: Iterable[Campaign], more: int) -> None:
    """Wait until callers of each campaign were told of so many more charges."""
    wanted = {campaign: len(campaign.acknowledged) + more for campaign in campaigns}
    async with asyncio.timeout(PROGRESS_WITHIN_S):
        while any(len(one.acknowledged) < count for one, count in wanted.items()):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def books_are_right(
    desk: Desk, account_id: str, costs: dict[str, int], unknown: int = 0
) -> None:
    """Conservation, one charge for each execution, nothing reserved after its deadline.

    Args:
        unknown: reservations whose answer was lost. Nobody ends them: those that were made are
            exposure once they expire, which a slow machine sees here.
    """
    balance = await desk.balance(account_id)
    entries = await desk.journal(account_id)
    verify(entries)
    settled = [entry for entry in entries if entry.kind == "settled"]
    assert len({entry.execution_key for entry in settled}) == len(settled)
    assert {entry.execution_key for entry in settled} == set(costs)
    assert balance.charged_mc == sum(costs.values())
    assert balance.overage_mc == 0
    assert balance.exposure_mc <= unknown * MOST_MC
    async with asyncio.timeout(TTL_MS / 1_000 + PROGRESS_WITHIN_S):
        while (await desk.balance(account_id)).reserved_mc:  # noqa: ASYNC110 - time has to pass
            await asyncio.sleep(0.1)
