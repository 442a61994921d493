"""A process that takes shared slots and keeps them until it is killed.

python -m tests.harness.executions.holder REDIS_URL KEY_PREFIX ENDPOINT SLOTS TTL_MS
"""

from __future__ import annotations

import asyncio
import sys

from redis.asyncio import Redis

from providers.pacing.rule import SharedLimit, TurnRequest
from runtime.turns.shared import RedisTurns


async def main(url: str, prefix: str, endpoint: str, slots: str, ttl_ms: str) -> None:
    async with Redis.from_url(url) as redis:
        turns = RedisTurns(redis, prefix, timeout_ms=5_000)
        wanted = [TurnRequest(f"held-{number}", int(ttl_ms), 1) for number in range(int(slots))]
        given = await turns.exchange(endpoint, SharedLimit(concurrency=int(slots)), [], wanted)
        sys.stdout.write(f"{given.count}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
