"""Turns that are counted in Redis: on a real server, whose clock is the tests' own in part."""

from __future__ import annotations

import asyncio
import signal
import uuid
from bisect import bisect_left
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from providers.pacing.rule import (
    LocalTurns,
    Returned,
    SharedLimit,
    Shortage,
    TurnRequest,
    TurnsGiven,
)
from runtime.turns.shared import RedisTurns, assemble
from tests.harness.ledger.desk import connect
from tests.harness.private_redis import PrivateRedis
from tests.harness.servers import CLUSTER, LedgerServers

WITH_CLOCK = assemble("""
local function server_ms()
  return tonumber(redis.call('GET', string.match(KEYS[1], '^.-}:') .. 'clock'))
end""")
START_MS = 1_800_000_000_000
ENDPOINT = "main"


@dataclass
class Server:
    """A server with a clock of the test's own, and the processes that ask it."""

    redis: Redis
    prefix: str
    now_ms: int = START_MS
    names: Any = field(default_factory=count)

    async def wait(self, milliseconds: int = 0) -> None:
        self.now_ms += milliseconds
        await self.redis.set(f"{self.prefix}:{{endpoint:{ENDPOINT}}}:clock", self.now_ms)

    def process(self, limit: SharedLimit) -> Process:
        turns = RedisTurns(self.redis, self.prefix, timeout_ms=5_000, script=WITH_CLOCK)
        return Process(self, turns, limit)


@dataclass
class Process:
    """One process: what it holds, and what it asks for."""

    server: Server
    turns: RedisTurns
    limit: SharedLimit
    held: list[str] = field(default_factory=list)

    async def ask(
        self, wanted: int = 1, back: int = 0, ttl_ms: int = 60_000, tokens: int = 1
    ) -> TurnsGiven:
        """Give back the oldest slots and ask for new ones."""
        returns = [Returned(self.held.pop(0)) for _ in range(back)]
        slots = [f"s{next(self.server.names)}" for _ in range(wanted)]
        requests = [TurnRequest(slot, ttl_ms, tokens) for slot in slots]
        given = await self.turns.exchange(ENDPOINT, self.limit, returns, requests)
        self.held += slots[: given.count]
        return given


@asynccontextmanager
async def serving(redis_url: str) -> AsyncIterator[Server]:
    async with Redis.from_url(redis_url) as redis:
        server = Server(redis, f"t{uuid.uuid4().hex[:12]}")
        await server.wait()
        yield server


SLOT = st.just("") | st.integers(0, 20).map(str)
QUESTIONS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 40, 900, 7_000, 61_000]),
        st.lists(st.builds(Returned, SLOT, st.booleans(), st.integers(0, 500)), max_size=2),
        st.lists(st.tuples(st.booleans(), st.integers(1, 5_000), st.integers(0, 500)), max_size=3),
    ),
    max_size=25,
)
LIMIT = st.builds(
    SharedLimit,
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 100),
    st.none() | st.integers(100, 5_000),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=LIMIT, questions=QUESTIONS)
def test_the_script_keeps_to_the_rule(
    redis_url: str,
    limit: SharedLimit,
    questions: list[tuple[int, list[Returned], list[tuple[bool, int, int]]]],
) -> None:
    async def compare() -> None:
        async with serving(redis_url) as server:
            process = server.process(limit)
            alone = LocalTurns(limit, lambda: server.now_ms * 1000)
            for pause_ms, back, asked in questions:
                await server.wait(pause_ms)
                wanted = [
                    TurnRequest(str(next(server.names)) if with_slot else "", ttl_ms, tokens)
                    for with_slot, ttl_ms, tokens in asked
                ]
                given = await process.turns.exchange(ENDPOINT, limit, back, wanted)
                assert given == alone.exchange(back, wanted)

    asyncio.run(compare())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans(), st.integers(0, 4_000)),
        min_size=5,
        max_size=60,
    )
)
def test_processes_together_stay_within_the_limits(
    redis_url: str, steps: list[tuple[int, int, bool, int]]
) -> None:
    limit = SharedLimit(concurrency=4, requests_per_minute=40)

    async def ask_around() -> None:
        async with serving(redis_url) as server:
            processes = [server.process(limit) for _ in range(3)]
            taken: list[int] = []
            for number, wanted, gives_back, pause_ms in steps:
                await server.wait(pause_ms)
                process = processes[number]
                back = len(process.held) if gives_back else 0
                given = await process.ask(wanted, back, ttl_ms=3_600_000)
                taken += [server.now_ms] * given.count
                assert sum(len(other.held) for other in processes) <= 4
            for index, at_ms in enumerate(taken):
                assert bisect_left(taken, at_ms + 60_000) - index <= 40

    asyncio.run(ask_around())


async def test_slots_of_a_process_that_died_come_back_by_themselves(redis_url: str) -> None:
    async with serving(redis_url) as server:
        limit = SharedLimit(concurrency=2)
        dead, other = server.process(limit), server.process(limit)
        await dead.ask(2, ttl_ms=5_000)
        await server.wait(4_999)
        assert (await other.ask()).shortage is Shortage.SLOT
        await server.wait(1)
        assert (await other.ask(2)).count == 2


@pytest.mark.parametrize("slots", [1, 2, 5])
async def test_who_waits_is_served_before_who_always_has_more_to_do(
    redis_url: str, slots: int
) -> None:
    async with serving(redis_url) as server:
        limit = SharedLimit(concurrency=slots)
        busy, late = server.process(limit), server.process(limit)
        await busy.ask(10)
        assert (await late.ask()).shortage is Shortage.SLOT
        served = {id(busy): 0, id(late): 0}
        for _ in range(30):
            # In both there are always more that wait for the slot of each call that ends.
            for process in (busy, late):
                await server.wait(10)
                given = await process.ask(10, back=min(1, len(process.held)))
                served[id(process)] += given.count
        assert served[id(late)] >= 0.9 * served[id(busy)] > 0


async def test_a_process_that_died_while_it_waited_is_owed_nothing(redis_url: str) -> None:
    async with serving(redis_url) as server:
        limit = SharedLimit(concurrency=1)
        busy, dead = server.process(limit), server.process(limit)
        await busy.ask()
        await dead.ask()
        assert (await busy.ask(back=1)).count == 0
        await server.wait(500)
        assert (await busy.ask()).count == 0
        await server.wait(600)
        assert (await busy.ask()).count == 1


async def test_a_retry_needs_no_second_slot(redis_url: str) -> None:
    async with serving(redis_url) as server:
        process = server.process(SharedLimit(concurrency=1, requests_per_minute=600))
        await process.ask()
        given = await process.turns.exchange(
            ENDPOINT, process.limit, [], [TurnRequest("", 0, 1), TurnRequest("another", 1_000, 1)]
        )
        assert (given.count, given.shortage) == (1, Shortage.SLOT)


async def test_endpoints_and_installations_do_not_know_each_other(
    redis_url: str, key_prefix: str
) -> None:
    limit = SharedLimit(concurrency=1)
    async with Redis.from_url(redis_url) as redis:
        for prefix in (key_prefix, f"{key_prefix}x"):
            turns = RedisTurns(redis, prefix, timeout_ms=5_000)
            for endpoint in ("main", "other"):
                given = await turns.exchange(endpoint, limit, [], [TurnRequest("s", 60_000, 1)])
                assert given.count == 1


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_while_redis_is_away_each_process_takes_its_share_and_no_more(
    private_redis: PrivateRedis, key_prefix: str, how: str
) -> None:
    limit = SharedLimit(concurrency=4)
    client = connect(private_redis.url)
    processes = [RedisTurns(client, key_prefix, timeout_ms=300) for _ in range(2)]
    held: list[list[str]] = [[], []]
    counted_by_redis = [True, True]

    async def take(number: int, back: int = 0) -> int:
        returns = [Returned(held[number].pop()) for _ in range(back)]
        wanted = [TurnRequest(f"{number}-{uuid.uuid4().hex}", 60_000, 1) for _ in range(10)]
        given = await processes[number].exchange(ENDPOINT, limit, returns, wanted)
        counted_by_redis[number] = given.refundable
        held[number] += [request.slot for request in wanted[: given.count]]
        return given.count

    async with client:
        # Both have been seen; all slots are taken.
        assert [await take(0), await take(1)] == [4, 0]
        await take(0)
        if how == "killed":
            await private_redis.stop(signal.SIGKILL)
        else:
            private_redis.pause()
        # The first one holds more than its share already.
        assert [await take(0), await take(1)] == [0, 2]
        assert [await take(0, back=3), await take(1)] == [1, 0]
        if how == "killed":
            await private_redis.start()
        else:
            private_redis.resume()
        async with asyncio.timeout(20):
            while not counted_by_redis[0]:
                assert await take(0) == 0
                await asyncio.sleep(0.1)
        # The four that Redis counted are still out.
        assert await take(0) == 0


async def test_a_cluster_counts_like_one_server(
    ledger_servers: LedgerServers, key_prefix: str
) -> None:
    limit = SharedLimit(concurrency=2, requests_per_minute=60)
    async with connect(ledger_servers.url(CLUSTER)) as client:
        turns = [RedisTurns(client, key_prefix, timeout_ms=5_000) for _ in range(2)]
        for number in range(6):
            endpoint = f"endpoint-{number}"
            wanted = [TurnRequest(f"s{part}", 60_000, 1) for part in range(3)]
            first = await turns[0].exchange(endpoint, limit, [], wanted)
            second = await turns[1].exchange(endpoint, limit, [Returned("s0")], wanted[:1])
            assert (first.count, first.shortage) == (2, Shortage.SLOT)
            assert second.count == 0, "the first one waited longer"
            assert first.refundable, "Redis was not asked"
            assert (await turns[0].exchange(endpoint, limit, [], wanted[2:])).count == 1
