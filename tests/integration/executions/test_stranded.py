"""A balance that many executions run down at once: what is left at the end pays for nobody more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from creditgate import ActionSpec, ExecutionResult
from fallback.reasons import FallbackReason
from pricing.quote import quote_mc
from runtime.executions.execution import Execution
from tests.harness.executions.held import held
from tests.harness.workbench import OpenWorkbench, Workbench, action

CONCURRENCY = 256
# One answer takes about 430 mc, of up to 1,300 mc that are reserved for it.
CREDITS_MC = 60_000
LONG_WAIT_MS = 40_000


async def run_down(bench: Workbench, specs: list[ActionSpec]) -> list[tuple[ExecutionResult, int]]:
    """Execute them all at once; return each result with the least that it could have cost."""

    async def execute(spec: ActionSpec) -> tuple[ExecutionResult, int]:
        result, trace = await bench.traced(bench.request(spec))
        assert trace is not None
        return result, least_mc(trace)

    return await asyncio.gather(*map(execute, specs))


def least_mc(trace: Execution) -> int:
    """The quote of an execution's shortest answer."""
    tokens = trace.spec.limits.min_output_tokens
    assert tokens is not None
    return quote_mc(trace.rates, trace.progress.quote.input_tokens, tokens)


def sized(most: int, least: int) -> ActionSpec:
    """An action whose answers take at most so much, and are not asked for with less."""
    limits = {"max_output_tokens": most, "min_output_tokens": least, "deadline_ms": 90_000}
    return action(limits=limits)


ONE_SIZE = [sized(120, 120)]
SHORTER = [sized(120, 60)]
MIXED = [sized(most, least) for most, least in ((60, 60), (120, 60), (400, 200), (1_200, 100))]


@pytest.mark.parametrize("specs", [ONE_SIZE, SHORTER, MIXED], ids=["one", "shorter", "mixed"])
async def test_credits_left_at_the_end_would_pay_for_none_of_those_refused(
    open_bench: OpenWorkbench, specs: list[ActionSpec]
) -> None:
    options: dict[str, Any] = {"latency_median_ms": 60, "latency_sigma": 0.5, "seed": 3}
    async with open_bench(credits_mc=CREDITS_MC, wait_ms=LONG_WAIT_MS, **options) as bench:
        found = await run_down(bench, [specs[n % len(specs)] for n in range(CONCURRENCY)])

        books = await bench.books()
        refused = [least for result, least in found if result.status == "fallback"]
        answered = [result for result, _ in found if result.status == "model"]
        assert refused, "the balance must not have been enough"
        assert len(answered) + len(refused) == CONCURRENCY
        assert books.available_mc < min(refused)
        assert books.overage_mc == 0
        assert books.charged_mc <= CREDITS_MC
        assert books.charged_mc == sum(result.charged_mc for result in answered)
        assert bench.runtime.counters.quote_exceeded == 0
        assert bench.runtime.counters.input_undercounted == 0


async def test_an_execution_that_is_too_large_waits_for_what_would_cover_its_shortest_answer(
    open_bench: OpenWorkbench,
) -> None:
    async with held(open_bench, credits_mc=2_000) as (bench, provider):
        running = asyncio.create_task(bench.execute(sized(120, 120)))
        await bench.until_reserved()
        waiting = asyncio.create_task(bench.execute(sized(1_200, 100)))
        await asyncio.sleep(0.2)
        assert not waiting.done()

        provider.answers.set()
        async with asyncio.timeout(10):
            first, second = await running, await waiting

        assert (first.status, second.status) == ("model", "model")
        # As many whole tokens as what is left then covers.
        left_mc = 2_000 - first.charged_mc
        assert left_mc - 10 < second.reserved_mc <= left_mc
        await bench.books()


async def test_waiting_for_credits_leaves_the_model_half_of_the_deadline(
    open_bench: OpenWorkbench,
) -> None:
    async with held(open_bench, credits_mc=2_000) as (bench, provider):
        running = asyncio.create_task(bench.execute(sized(120, 120)))
        await bench.until_reserved()
        hasty = action(limits={"min_output_tokens": 120, "deadline_ms": 3_000})
        late = await bench.execute(hasty)

        [reason] = {origin.reason for origin in late.origins.values()}
        assert reason is FallbackReason.CREDITS_RESERVED_ELSEWHERE
        assert late.timings_ms["total"] < 2_500
        provider.answers.set()
        assert (await running).status == "model"
