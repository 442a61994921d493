"""A process that runs executions against the ledger: for tests of races and of sudden death.

Usage: python -m tests.harness.ledger.campaigner REDIS_URL PREFIX WORKER COUNT TTL_MS

Prints a line when it is ready, waits for one on stdin, and prints at its end what it was
charged, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from runtime.credits.endings import Release
from runtime.credits.results import Existing, InProgress, Refused, Reserved, Settled
from tests.harness.ledger.desk import Desk, connect, make_ledger

AMOUNT_MC = 1_000


async def run(url: str, prefix: str, worker: int, count: int, ttl_ms: int) -> None:
    client = connect(url)
    ledger = make_ledger(client, prefix, timeout_ms=10_000)
    desk = Desk(client, prefix, ledger)
    chance = random.Random(worker)
    tally = {"settled": 0, "charged_mc": 0, "refused": 0, "existing": 0, "in_progress": 0}

    async def execute(number: int) -> None:
        # Every tenth id is shared by all processes: a job that was delivered to each of them.
        shared = number % 10 == 0
        name = f"shared-{number}" if shared else f"worker-{worker}-{number}"
        attempt = desk.attempt(name)
        answer = await ledger.reserve(attempt, AMOUNT_MC, ttl_ms)
        match answer:
            case Refused():
                tally["refused"] += 1
            case Existing():
                tally["existing"] += 1
            case InProgress():
                tally["in_progress"] += 1
            case Reserved():
                await asyncio.sleep(chance.random() * 0.005)
                if number % 7 == 0:
                    await ledger.release(Release(attempt))
                    return
                settled = await desk.settle(attempt, answer, chance.randrange(1, AMOUNT_MC))
                assert isinstance(settled, Settled), settled
                tally["settled"] += 1
                tally["charged_mc"] += settled.charged_mc

    await asyncio.to_thread(print, "ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await execute(number)

    await asyncio.gather(*(work() for _ in range(32)))
    await ledger.drain()
    await client.aclose()
    await asyncio.to_thread(print, json.dumps(tally), flush=True)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
