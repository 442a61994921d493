"""The sweep: one bad key holds up no other, and processes take turns at it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest

from runtime.bootstrap import open_runtime
from runtime.credits import sweeping
from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import Desk
from tests.harness.workbench import ACCOUNT, OpenWorkbench


@pytest.mark.parametrize("part", ["due", "news"])
async def test_a_bucket_key_of_the_wrong_type_keeps_the_sweep_from_no_other_bucket(
    desk: Desk, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    await desk.set_clock(await desk.server_ms() - 10_000)
    names = [f"acme-{number}" for number in range(6)]
    for account_id in names:
        await desk.open(100, account_id=account_id)
        await desk.ledger.reserve(desk.attempt(account_id=account_id), 50, 1_000)
    wrong = desk.keys.bucket(bucket_of("acme-2"), part)
    await desk.client.set(wrong, "not a sorted set")
    await desk.pass_time(5_000)

    with caplog.at_level(logging.ERROR, "creditgate.ledger"):
        for _ in range(3):
            await desk.ledger.sweep()

    named = wrong if part == "due" else "account acme-2: can't be swept"
    assert caplog.text.count(named) == 1
    for account_id in names:
        if account_id != "acme-2":
            raw = await desk.client.hget(desk.key("account", account_id), "books")
            assert raw.decode().split("\t")[6] == "0", "still reserved"


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
