"""A process that works on one account's queue until nothing is left, and may be killed at any time.

    python -m tests.harness.queue_process REDIS_URL PREFIX (take | add) SEED

``take`` takes slices, ends some of their entries with a result of the model or of a fallback, gives
some back and forgets about others. ``add`` adds the people of an import, from wherever it is.
It prints ``ready`` once it has begun.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

from redis.asyncio import Redis, RedisCluster

from fallback.reasons import FallbackReason
from runtime.queue.entries import Ended, QueueSettings
from runtime.queue.errors import QueueUnavailable
from runtime.queue.queue import RequestQueue
from tests.harness.queues import ACCOUNT, CAMPAIGN, WORKSPACE, request_of, result_of

PEOPLE = 2_000
CLUSTER_SCHEME = "cluster+"
LEASE_MS = 300
_BATCH = 50
_PAUSE_S = 0.02
SETTINGS = QueueSettings(max_deliveries=1_000_000, results_most=1_000_000)


async def take(queue: RequestQueue, dice: random.Random) -> None:
    """Take and end slices for ever."""
    while True:
        try:
            taken = await queue.take(ACCOUNT, "worker", dice.randint(1, 64), LEASE_MS)
            if taken is None:
                await asyncio.sleep(_PAUSE_S)
                continue
            entries = list(taken.entries)
            dice.shuffle(entries)
            back = entries[: dice.choice([0, 0, 1, 5])]
            left = entries[len(back) : len(back) + dice.choice([0, 0, 0, 2])]
            ended = [
                Ended(
                    each, result_of(each.request, dice.choice([None, FallbackReason.CAP_REACHED]))
                )
                for each in entries[len(back) + len(left) :]
            ]
            await queue.give_back(taken, back, dice.choice([0, 50]), counts=dice.random() < 0.5)
            # Twice, as after an answer that was lost.
            await asyncio.gather(queue.finish(taken, ended), queue.finish(taken, ended))
        except QueueUnavailable:
            await asyncio.sleep(_PAUSE_S)


async def add(queue: RequestQueue) -> None:
    """Add the rest of the import."""
    row = await queue.import_position(ACCOUNT, CAMPAIGN, "people")
    while row < PEOPLE:
        requests = [request_of(number) for number in range(row, min(row + _BATCH, PEOPLE))]
        try:
            added = await queue.add(
                ACCOUNT, WORKSPACE, CAMPAIGN, requests, import_id="people", row=row
            )
        except QueueUnavailable:
            await asyncio.sleep(_PAUSE_S)
        else:
            row = added.position


async def main(url: str, prefix: str, what: str, seed: str) -> None:
    """Do what the arguments say."""
    client: Any
    if url.startswith(CLUSTER_SCHEME):
        client = RedisCluster.from_url(url.removeprefix(CLUSTER_SCHEME))
    else:
        client = Redis.from_url(url)
    async with client:
        queue = RequestQueue(client, prefix, SETTINGS, timeout_ms=2_000)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await (add(queue) if what == "add" else take(queue, random.Random(seed)))
        await queue.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
