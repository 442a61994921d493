"""Open runtimes sweep the ledger in the background, in turn."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from runtime.bootstrap import open_runtime
from runtime.credits import sweeping
from runtime.redis.keys import bucket_of
from tests.harness.workbench import ACCOUNT, OpenWorkbench


async def test_every_open_runtime_sweeps_in_the_background_and_only_one_at_a_time(
    open_bench: OpenWorkbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "SWEEP_EVERY_S", 0.02)
    swept = 0
    sweep = sweeping.Sweeper.sweep

    async def counted(self: sweeping.Sweeper) -> int:
        nonlocal swept
        swept += 1
        return await sweep(self)

    monkeypatch.setattr(sweeping.Sweeper, "sweep", counted)
    async with open_bench() as bench, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(open_runtime(bench.config))
        due = bench.keys.bucket(bucket_of(ACCOUNT), "due")
        await bench.redis.zadd(due, {ACCOUNT: 1})
        await bench.redis.delete(bench.keys.sweeping())
        before = swept
        async with asyncio.timeout(10):
            while await bench.redis.zscore(due, ACCOUNT) == 1:  # noqa: ASYNC110 - Redis has no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert swept - before == 1
