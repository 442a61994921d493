"""Retries at a real server: only where they help, each listed, each lost one counted."""

from __future__ import annotations

import asyncio

import pytest

from fallback.reasons import FallbackReason
from tests.harness.workbench import ACCOUNT, OpenWorkbench, action, reasons


@pytest.mark.parametrize(
    "scenario, outcome, lost_calls",
    [
        ("status=429,retry_after=0.1", "provider_rate_limited", 0),
        ("status=503", "provider_error", 0),
        ("status=529", "provider_error", 0),
        ("status=500", "provider_error", 2),
        ("status=502", "provider_error", 2),
    ],
)
async def test_what_passes_is_answered_at_the_third_attempt_and_lost_calls_are_exposure(
    open_bench: OpenWorkbench, scenario: str, outcome: str, lost_calls: int
) -> None:
    async with open_bench(scenario=f"{scenario},times=2") as bench:
        result = await bench.execute(action(limits={"attempts": 3}))

        assert result.status == "model"
        assert [attempt.outcome for attempt in result.attempts] == [outcome, outcome, "answered"]
        assert [attempt.number for attempt in result.attempts] == [1, 2, 3]
        books = await bench.books()
        assert books.charged_mc == result.charged_mc
        assert books.exposure_mc == lost_calls * result.reserved_mc
        assert await bench.calls() == 3


@pytest.mark.parametrize(
    "scenario, reason",
    [
        ("status=400", FallbackReason.PROVIDER_REJECTED),
        ("status=401", FallbackReason.PROVIDER_REJECTED),
        ("insufficient_quota", FallbackReason.PROVIDER_RATE_LIMITED),
        ("malformed=broken_json", FallbackReason.OUTPUT_INVALID),
        ("truncated", FallbackReason.OUTPUT_TRUNCATED),
        ("refusal", FallbackReason.CONTENT_REFUSED),
    ],
)
async def test_what_another_call_can_not_mend_is_called_once(
    open_bench: OpenWorkbench, scenario: str, reason: FallbackReason
) -> None:
    async with open_bench(scenario=scenario) as bench:
        result = await bench.execute(action(limits={"attempts": 5}))

        assert reasons(result) == {reason}
        assert len(result.attempts) == await bench.calls() == 1


async def test_attempts_that_hang_are_ended_and_each_is_exposure(open_bench: OpenWorkbench) -> None:
    limits = {"attempts": 2, "attempt_timeout_ms": 300, "deadline_ms": 5_000}
    async with open_bench(scenario="hang") as bench:
        result = await bench.execute(action(limits=limits))

        assert reasons(result) == {FallbackReason.PROVIDER_TIMEOUT}
        assert len(result.attempts) == 2
        assert (await bench.books()).exposure_mc == 2 * result.reserved_mc


async def test_a_wait_that_the_provider_asks_for_beyond_the_deadline_is_not_begun(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(scenario="status=429,retry_after=60") as bench:
        result = await bench.execute(action(limits={"attempts": 3, "deadline_ms": 20_000}))

        assert reasons(result) == {FallbackReason.PROVIDER_RATE_LIMITED}
        assert await bench.calls() == 1
        assert result.timings_ms["total"] < 20_000


@pytest.mark.parametrize("status, lost_calls", [(503, 0), (500, 1)])
async def test_cancelled_between_two_attempts_only_calls_that_were_made_are_exposure(
    open_bench: OpenWorkbench, status: int, lost_calls: int
) -> None:
    async with open_bench(scenario=f"status={status},retry_after=20") as bench:
        running = asyncio.create_task(bench.execute(action(limits={"attempts": 2})))
        await bench.until_reserved()
        quote_mc = (await bench.runtime.accounts.balance(ACCOUNT)).reserved_mc
        async with asyncio.timeout(10):
            while bench.mock.stats()["outcomes"] == {}:  # noqa: ASYNC110 - the server's count
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.wait([running])
        await bench.runtime.drain()

        assert (await bench.books()).exposure_mc == lost_calls * quote_mc
