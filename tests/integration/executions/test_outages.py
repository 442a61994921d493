"""Redis goes away in the middle: the campaign goes on, and the books are right afterwards."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionResult
from tests.harness.private_redis import PrivateRedis
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action, reasons

DEADLINE_MS = 4_000


async def until_replayed(bench: Workbench) -> None:
    await bench.runtime.drain()
    async with asyncio.timeout(20):
        while bench.spool.waiting():  # noqa: ASYNC110 - a folder tells nobody
            await asyncio.sleep(0.05)


async def execute_many(bench: Workbench, count: int) -> list[tuple[ExecutionResult, float]]:
    """Execute at concurrency 16; return each result with the seconds that it took."""
    results: list[tuple[ExecutionResult, float]] = []
    spec = action(limits={"deadline_ms": DEADLINE_MS})
    todo = iter(range(count))

    async def work() -> None:
        for _ in todo:
            since_s = time.perf_counter()
            result = await bench.execute(spec)
            results.append((result, time.perf_counter() - since_s))

    await asyncio.gather(*[work() for _ in range(16)])
    return results


async def test_law_4_with_redis_killed_results_keep_coming_inside_the_deadline(
    open_bench: OpenWorkbench, private_redis: PrivateRedis
) -> None:
    async with open_bench(url=private_redis.url, latency_median_ms=100) as bench:
        before = await execute_many(bench, 16)
        running = asyncio.create_task(execute_many(bench, 400))
        await asyncio.sleep(0.5)
        await private_redis.stop()
        during = await running
        await private_redis.start()
        await until_replayed(bench)
        after = await execute_many(bench, 16)

        assert all(result.status == "model" for result, _ in before + after)
        away = [r for r, _ in during if reasons(r) == {FallbackReason.LEDGER_UNAVAILABLE}]
        assert away
        assert all(result.kept == (result not in away) for result, _ in during)
        # The deadline is a promise, not a speed: a whole second is left for a slow machine.
        assert max(spent_s for _, spent_s in during) < DEADLINE_MS / 1000 + 1
        answered = [r for r, _ in before + during + after if r.status == "model"]
        books = await bench.books()
        # Answers that came while Redis was away were given out, and are charged all the same.
        assert books.charged_mc == sum(result.charged_mc for result in answered)
        assert await bench.calls() == len(answered)


async def test_law_4_with_redis_frozen_results_keep_coming_inside_the_deadline(
    open_bench: OpenWorkbench, private_redis: PrivateRedis
) -> None:
    async with open_bench(url=private_redis.url, latency_median_ms=50, timeout_ms=300) as bench:
        await execute_many(bench, 16)
        private_redis.pause()
        during = await execute_many(bench, 48)
        private_redis.resume()
        await until_replayed(bench)

        assert {reason for r, _ in during for reason in reasons(r)} == {
            FallbackReason.LEDGER_UNAVAILABLE
        }
        assert max(spent_s for _, spent_s in during) < DEADLINE_MS / 1000 + 1
        # Reserves that the frozen server found when it woke up are given back by the spool.
        await bench.books()


async def test_a_settlement_in_the_spool_is_for_its_owner_alone_and_gone_after_the_replay(
    open_bench: OpenWorkbench, private_redis: PrivateRedis, tmp_path: Path
) -> None:
    async with open_bench(url=private_redis.url, latency_median_ms=600) as bench:
        running = asyncio.create_task(bench.execute())
        await bench.until_reserved()
        await private_redis.stop()
        result = await running
        spool = tmp_path / "data" / "spool"
        files = list(spool.glob("*.json"))

        assert result.status == "model"
        assert result.available_after_mc is None
        assert len(files) == 1
        assert files[0].stat().st_mode & 0o777 == 0o600
        assert spool.stat().st_mode & 0o777 == 0o700
        await private_redis.start()
        await until_replayed(bench)
        assert (await bench.books()).charged_mc == result.charged_mc
        assert not list(spool.glob("*.json"))


async def test_a_settlement_older_than_the_spool_may_keep_it_is_set_aside_and_not_charged(
    open_bench: OpenWorkbench, private_redis: PrivateRedis, tmp_path: Path
) -> None:
    async with open_bench(url=private_redis.url, latency_median_ms=600) as bench:
        running = asyncio.create_task(bench.execute())
        await bench.until_reserved()
        await private_redis.stop()
        await running
        spool = tmp_path / "data" / "spool"
        (written,) = spool.glob("*.json")
        two_days_ago_ns = time.time_ns() - 48 * 3_600 * 10**9
        written.rename(spool / f"{two_days_ago_ns:020d}-{written.name.partition('-')[2]}")
        await private_redis.start()
        await until_replayed(bench)

        assert (await bench.runtime.accounts.balance("acme")).charged_mc == 0
        assert len(list((spool / "dead").glob("*.json"))) == 1


async def test_law_3c_a_server_that_is_emptied_during_a_call_loses_no_charge(
    open_bench: OpenWorkbench, private_redis: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_bench(url=private_redis.url, latency_median_ms=400) as bench:
        running = asyncio.create_task(bench.execute())
        await bench.until_reserved()
        redis: Any = bench.redis
        data = {name: await redis.dump(name) for name in await redis.keys()}
        await redis.flushall()

        charged = await running
        assert charged.status == "model"
        assert charged.charged_mc > 0
        assert bench.spool.waiting() == 1
        fallen_back = await bench.execute()
        assert reasons(fallen_back) == {FallbackReason.LEDGER_UNAVAILABLE}
        assert not fallen_back.kept
        assert "all its entries are lost" in caplog.text
        assert await redis.keys(f"*:{ACCOUNT}:*") == [], "nothing was written meanwhile"

        await redis.flushall()
        for name, value in data.items():
            await redis.restore(name, 0, value)
        await until_replayed(bench)
        books = await bench.books()
        assert books.charged_mc == charged.charged_mc
        again = await bench.execute()
        assert again.status == "model"
