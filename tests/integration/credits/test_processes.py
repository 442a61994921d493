"""Laws 1 to 3 between real processes."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import pytest_asyncio

from runtime.credits.journal import Part, replay, verify
from runtime.credits.results import Reserved
from tests.harness.ledger.campaigner import AMOUNT_MC
from tests.harness.ledger.desk import Desk, connect, make_ledger
from tests.harness.paths import ROOT


@pytest_asyncio.fixture
async def desk(redis_url: str, key_prefix: str) -> AsyncIterator[Desk]:
    """A ledger by the server's own clock, as other processes have it."""
    client = connect(redis_url)
    ledger = make_ledger(client, key_prefix, timeout_ms=10_000)
    yield Desk(client, key_prefix, ledger)
    await ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


async def start(url: str, prefix: str, worker: int, count: int, ttl_ms: int) -> Process:
    arguments = ["-m", "tests.harness.ledger.campaigner", url, prefix]
    numbers = [str(number) for number in (worker, count, ttl_ms)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, *numbers, cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()) == b"ready\n"
    return process


async def test_laws_1_to_3_hold_between_four_processes_with_credits_for_half(
    desk: Desk, redis_url: str
) -> None:
    count = 400
    # Four times as many executions, whose bills are half a reservation on the average.
    await desk.open(count * AMOUNT_MC)
    workers = await asyncio.gather(
        *(start(redis_url, desk.prefix, worker, count, 60_000) for worker in range(4))
    )
    outputs = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    tallies = [json.loads(output) for output, _ in outputs]

    balance = await desk.balance()
    entries = await desk.journal()
    verify(entries)
    settled = [entry for entry in entries if entry.kind == "settled"]

    assert balance.charged_mc == sum(tally["charged_mc"] for tally in tallies)
    assert balance.charged_mc <= balance.granted_mc
    assert (balance.reserved_mc, balance.overage_mc, balance.open_reservations) == (0, 0, 0)
    assert sum(tally["refused"] for tally in tallies) > 0
    assert len(settled) == sum(tally["settled"] for tally in tallies)
    assert len({entry.execution_key for entry in settled}) == len(settled)
    assert replay(entries).grants["g1"].parts_mc[Part.CHARGED] == balance.charged_mc


async def test_law_6_what_a_killed_process_had_reserved_is_home_after_the_deadline_and_exposed(
    desk: Desk, redis_url: str
) -> None:
    await desk.open(10_000_000)
    doomed = await start(redis_url, desk.prefix, 1, 100_000, 1_500)
    assert doomed.stdin is not None
    doomed.stdin.write(b"go\n")
    await doomed.stdin.drain()
    async with asyncio.timeout(20):
        while (await desk.balance()).reserved_mc == 0:  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.02)
        doomed.kill()
        await doomed.wait()
        left_behind = await desk.balance()
        while (await desk.balance()).reserved_mc:  # noqa: ASYNC110 - time has to pass in Redis
            await asyncio.sleep(0.05)

    attempt, _ = await desk.reserve(10)
    balance = await desk.balance()
    entries = await desk.journal()
    verify(entries)

    assert left_behind.granted_mc == balance.granted_mc
    assert balance.charged_mc + balance.available_mc == balance.granted_mc - 10
    expired = [entry for entry in entries if entry.kind == "expired"]
    assert balance.exposure_mc == sum(entry.exposure_mc for entry in expired) > 0
    for entry in expired:
        assert entry.exposure_mc == sum(posting.amount_mc for posting in entry.postings)
    assert isinstance(await desk.ledger.reserve(attempt, 10, 1_000), Reserved)
    assert replay(entries).grants["g1"].parts_mc[Part.CHARGED] == balance.charged_mc
