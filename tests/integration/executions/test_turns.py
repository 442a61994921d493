"""Executions wait for their turn, counted where it counts: at the provider."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from providers.mock.server import MockServer
from runtime.turns.shared import RedisTurns
from tests.harness.executions.processes import results_of, start_worker
from tests.harness.workbench import ACCOUNT, OpenWorkbench, action, reasons

PROCESSES, EACH = 3, 32
AT_ONCE, A_MINUTE = 6, 900
BURST, A_SECOND = A_MINUTE / 12, 0.9 * A_MINUTE / 60


async def count_requests(mock: MockServer, seen: list[tuple[float, int]]) -> None:
    while True:
        seen.append((asyncio.get_running_loop().time(), int(mock.stats()["requests"])))
        await asyncio.sleep(0.02)


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_processes_together_never_exceed_the_limits_as_the_provider_sees_it(
    open_bench: OpenWorkbench, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    endpoint = f"shared_concurrency: {AT_ONCE}, requests_per_minute: {A_MINUTE}"
    # One in ten fails and is asked again: retries are requests too.
    mock: dict[str, Any] = {"error_rate": 0.1, "error_statuses": (503,), "latency_median_ms": 40}
    async with open_bench(endpoint=endpoint, **mock) as bench:
        base = f"{bench.mock.url}/v1"
        common = (str(tmp_path / "data"), redis_url, key_prefix, base)
        workers = await asyncio.gather(
            *(
                start_worker(*common, f"p{n}", str(EACH), endpoint, module="paced_worker")
                for n in range(PROCESSES)
            )
        )
        seen: list[tuple[float, int]] = []
        counting = asyncio.create_task(count_requests(bench.mock, seen))
        shares = await asyncio.gather(*map(results_of, workers))
        counting.cancel()

        for share in shares:
            assert Counter(status for status, *_ in share) == {"model": EACH}
        stats = bench.mock.stats()
        assert stats["requests"] > PROCESSES * EACH, "nothing was retried"
        assert 1 < stats["peak_in_flight"] <= AT_ONCE
        for index, (since_s, before) in enumerate(seen):
            for until_s, after in seen[index:]:
                # Who had its turn before may come late, but so many are under way at most.
                most = BURST + A_SECOND * (until_s - since_s) + AT_ONCE
                assert after - before <= most
        assert seen[-1][1] - seen[0][1] > BURST, "the limit was never met"
        await bench.books()


async def test_slots_of_a_killed_process_come_back_and_nobody_falls_back_for_it(
    open_bench: OpenWorkbench, redis_url: str, key_prefix: str
) -> None:
    async with open_bench(endpoint="shared_concurrency: 3") as bench:
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.harness.executions.holder"),
            *(redis_url, key_prefix, "mock", "3", "2500"),
            stdout=PIPE,
        )
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"3\n"
        hurried = await bench.execute(action(limits={"deadline_ms": 300}))
        holder.kill()
        await holder.wait()

        assert reasons(hurried) == {FallbackReason.DEADLINE_EXCEEDED}
        assert hurried.detail == (
            "it waited for its turn: as many calls as allowed were already running at this provider"
        )
        results = await asyncio.gather(*(bench.execute() for _ in range(5)))
        assert all(result.status == "model" for result in results)
        assert bench.mock.stats()["peak_in_flight"] <= 3
        await bench.books()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_process_that_is_killed_in_the_middle_takes_nothing_from_the_others(
    open_bench: OpenWorkbench, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    endpoint = "shared_concurrency: 4, requests_per_minute: 100000"
    async with open_bench(endpoint=endpoint, latency_median_ms=150) as bench:
        common = (str(tmp_path / "data"), redis_url, key_prefix, f"{bench.mock.url}/v1")

        async def start(name: str, count: int, deadline_ms: int) -> Process:
            more = (name, str(count), endpoint, str(deadline_ms))
            return await start_worker(*common, *more, module="paced_worker")

        survivor = await start("survivor", 60, 30_000)
        victim = await start("victim", 500, 5_000)
        assert victim.stdin is not None
        victim.stdin.write(b"go\n")
        async with asyncio.timeout(30):
            while await bench.calls() < 8:  # noqa: ASYNC110 - the server's count
                await asyncio.sleep(0.01)
        share = asyncio.create_task(results_of(survivor))
        await asyncio.sleep(0.5)
        victim.kill()
        await victim.wait()

        assert Counter(status for status, *_ in await share) == {"model": 60}
        assert bench.mock.stats()["peak_in_flight"] <= 4
        # Slots come back at their calls' deadline, credits at the reservations'.
        slots = f"{key_prefix}:{{endpoint:mock}}:slots"
        held = 4
        async with asyncio.timeout(30):
            while held:
                assert (await bench.execute()).status == "model"
                await asyncio.sleep(0.1)
                held = await bench.redis.zcard(slots)


async def test_credits_are_reserved_only_by_those_who_have_their_turn(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint="shared_concurrency: 2", latency_median_ms=50) as bench:
        running = [asyncio.create_task(bench.execute()) for _ in range(12)]
        most_open = 0
        while not all(task.done() for task in running):
            balance = await bench.runtime.accounts.balance(ACCOUNT)
            most_open = max(most_open, balance.open_reservations)
            await asyncio.sleep(0.01)
        assert all(task.result().status == "model" for task in running)
        assert 1 <= most_open <= 2


async def test_who_lacks_credits_does_not_use_up_the_providers_turns(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(credits_mc=0, endpoint="requests_per_minute: 1") as bench:
        for _ in range(10):
            assert reasons(await bench.execute()) == {FallbackReason.INSUFFICIENT_CREDITS}
        assert await bench.calls() == 0


async def test_tokens_are_counted_in_advance_as_the_provider_does(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint="tokens_per_minute: 1500") as bench:
        spec = action(limits={"deadline_ms": 500, "max_output_tokens": 110})
        first, second = await bench.execute(spec), await bench.execute(spec)
        assert first.status == "model"
        assert reasons(second) == {FallbackReason.DEADLINE_EXCEEDED}
        assert "tokens for this minute" in (second.detail or "")


async def test_a_retry_that_has_no_turn_in_time_is_not_made(open_bench: OpenWorkbench) -> None:
    async with open_bench(endpoint="requests_per_minute: 6", scenario="status=503") as bench:
        result = await bench.execute(action(limits={"attempts": 3, "deadline_ms": 900}))
        assert reasons(result) == {FallbackReason.PROVIDER_ERROR}
        assert len(result.attempts) == await bench.calls() == 1
        await bench.books()


async def test_retry_after_keeps_the_whole_process_away(open_bench: OpenWorkbench) -> None:
    async with open_bench(scenario="status=429,retry_after=1.5,times=1") as bench:
        request = bench.request()
        limited = await bench.run(request)
        assert reasons(limited) == {FallbackReason.PROVIDER_RATE_LIMITED}
        results = await asyncio.gather(
            *(bench.execute(data=request.data, person_id=f"p{n}") for n in range(10)),
            bench.execute(action(limits={"deadline_ms": 300})),
        )
        *waited, hurried = results
        assert all(result.status == "model" for result in waited)
        assert all(result.timings_ms["total"] >= 900 for result in waited)
        assert reasons(hurried) == {FallbackReason.DEADLINE_EXCEEDED}
        assert "asked for a pause" in (hurried.detail or "")


async def test_shared_limits_cost_at_most_a_round_trip_an_execution_and_nothing_without_them(
    open_bench: OpenWorkbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = 0
    exchange = RedisTurns.exchange

    async def counted(turns: RedisTurns, *args: Any) -> Any:
        nonlocal questions
        questions += 1
        return await exchange(turns, *args)

    monkeypatch.setattr(RedisTurns, "exchange", counted)
    async with open_bench() as bench:
        await asyncio.gather(*(bench.execute() for _ in range(20)))
        assert questions == 0
    async with open_bench(endpoint="shared_concurrency: 100, requests_per_minute: 100000") as bench:
        for _ in range(10):
            await bench.execute()
        await asyncio.gather(*(bench.execute() for _ in range(100)))
    assert questions <= 110
