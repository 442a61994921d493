"""Processes that race and are killed: every request ends once, and is counted once."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter

import pytest

from runtime.queue.queue import RequestQueue
from tests.harness.ledger.desk import connect
from tests.harness.private_redis import PrivateRedis
from tests.harness.queue_process import PEOPLE, SETTINGS
from tests.harness.queues import ACCOUNT, CAMPAIGN
from tests.harness.servers import CLUSTER, OLDEST, LedgerServers

_TAKERS = 2
_KILLS = 6
_PATIENCE_S = 90


async def start(*arguments: str) -> Process:
    """Start a process, and wait until it has begun."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.harness.queue_process", *arguments, stdout=PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"
    return process


async def kill(process: Process) -> None:
    """End a process with SIGKILL."""
    if process.returncode is None:
        process.kill()
    await process.wait()


async def run_to_the_end(url: str, prefix: str, queue: RequestQueue) -> None:
    """Let processes add and take everything, and kill one of them every now and then."""
    dice = random.Random(7)
    adding = await start(url, prefix, "add", "0")
    taking = [await start(url, prefix, "take", str(number)) for number in range(_TAKERS)]
    try:
        for number in range(_KILLS):
            await asyncio.sleep(dice.uniform(0.05, 0.3))
            if number % 2:
                await kill(adding)
                adding = await start(url, prefix, "add", str(number))
            victim = dice.randrange(_TAKERS)
            await kill(taking[victim])
            taking[victim] = await start(url, prefix, "take", f"again {number}")
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                status = await queue.status(ACCOUNT, CAMPAIGN)
                if status.imports["people"] == PEOPLE and status.waiting + status.running == 0:
                    return
                await asyncio.sleep(0.1)
    finally:
        for process in (adding, *taking):
            await kill(process)


async def check(queue: RequestQueue) -> None:
    """Assert that each person ended once and is counted once."""
    status = await queue.status(ACCOUNT, CAMPAIGN)
    assert (status.added, status.dead, status.model + status.fallback) == (PEOPLE, 0, PEOPLE)
    ended: Counter[str] = Counter()
    by_status: Counter[str] = Counter()
    charged_mc, after = 0, ""
    while page := await queue.results(ACCOUNT, after=after, count=500):
        after = page[-1].entry_id
        ended.update(each.person_id for each in page)
        by_status.update(each.result["status"] for each in page)
        charged_mc += sum(each.result["charged_mc"] for each in page)
    assert ended == Counter(f"p{number}" for number in range(PEOPLE))
    assert (by_status["model"], by_status["fallback"]) == (status.model, status.fallback)
    assert status.charged_mc == charged_mc
    assert sum(status.missed.values()) == status.fallback
    counts = await queue.missed_counts(ACCOUNT, CAMPAIGN)
    assert sum(each.kept for each in counts.values()) == status.fallback


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", [OLDEST, CLUSTER])
async def test_law_3_processes_that_are_killed_lose_nothing_and_count_nothing_twice(
    ledger_servers: LedgerServers, key_prefix: str, kind: str
) -> None:
    url = ledger_servers.url(kind)
    async with connect(url) as client:
        queue = RequestQueue(client, key_prefix, SETTINGS, timeout_ms=5_000)
        await run_to_the_end(url, key_prefix, queue)
        await check(queue)
        await queue.aclose()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_law_3_a_server_that_is_killed_and_started_again_loses_nothing_it_acknowledged(
    private_redis: PrivateRedis, key_prefix: str
) -> None:
    url = private_redis.url
    taking = [await start(url, key_prefix, "take", str(number)) for number in range(2)]
    adding = await start(url, key_prefix, "add", "0")
    async with connect(url) as client:
        queue = RequestQueue(client, key_prefix, SETTINGS, timeout_ms=5_000)
        try:
            for _ in range(2):
                await asyncio.sleep(0.4)
                await private_redis.stop()
                await asyncio.sleep(0.1)
                await private_redis.start()
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    status = await queue.status(ACCOUNT, CAMPAIGN)
                    if status.imports["people"] == PEOPLE and status.waiting + status.running == 0:
                        break
                    await asyncio.sleep(0.1)
        finally:
            for process in (adding, *taking):
                await kill(process)
        await check(queue)
        await queue.aclose()
