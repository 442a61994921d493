"""``adaptive_reserved_ratio`` and ``truncated_answers``: reservations by what was learned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from statistics import mean
from typing import Any, Literal

from creditgate import ExecutionResult
from tests.bench.conditions import say
from tests.bench.loads import CONCURRENCY, run_calls
from tests.bench.registry import Measured
from tests.bench.stage import ACCOUNT, Stage, open_stage
from tests.bench.workload import Workload

_PROMPT_TOKENS = 300
_WORST_CASES = 500
_ADAPTIVE = 4_000
_LATENCY_MS = 20

_MAX_OUTPUT_TOKENS = 1_000
_MIN_OUTPUT_TOKENS = 100
_REASONING_TOKENS = 60
_REASONING_SIGMA = 0.5


@dataclass(frozen=True, slots=True)
class _Found:
    worst_case_mc: float
    adaptive_mc: float
    cut_share: float
    conditions: Mapping[str, Any]


def measure_reserved() -> Measured:
    """Measure the credits that an execution ties up, against the worst case."""
    found = _measured()
    return Measured(found.adaptive_mc / found.worst_case_mc, found.conditions)


def measure_truncated() -> Measured:
    """Measure the share of answers that the lowered limit cut off."""
    found = _measured()
    return Measured(found.cut_share, found.conditions)


@cache
def _measured() -> _Found:
    """Run it once for both figures."""
    return asyncio.run(_measure())


async def _measure() -> _Found:
    async with open_stage(
        latency_ms=_LATENCY_MS,
        reasoning_tokens=_REASONING_TOKENS,
        reasoning_sigma=_REASONING_SIGMA,
    ) as stage:
        workload = Workload(_PROMPT_TOKENS)
        worst_case = await _run(stage, workload, "worst_case", _WORST_CASES)
        adaptive = await _run(stage, workload, "adaptive", _ADAPTIVE)
        counters = stage.runtime.counters
        books = await stage.runtime.accounts.balance(ACCOUNT)
        if books.overage_mc or counters.quote_exceeded or counters.input_undercounted:
            raise RuntimeError(f"a quote did not hold: {books.overage_mc} mc over, {counters}")
        if not books.conserved or books.reserved_mc:
            raise RuntimeError(f"the books do not balance: {books}")
        return _Found(
            worst_case_mc=mean(result.reserved_mc for result in worst_case),
            adaptive_mc=mean(result.reserved_mc for result in adaptive),
            cut_share=counters.cut_by_us / len(adaptive),
            conditions={
                "executions": len(adaptive),
                "learning_included": True,
                "cut_off": counters.cut_by_us,
                "overspend_mc": books.overage_mc,
                "ratio_at_the_end": round(
                    mean(r.reserved_mc for r in adaptive[-500:])
                    / mean(r.reserved_mc for r in worst_case),
                    3,
                ),
                "output_tokens_mean": round(
                    mean(r.usage.output_tokens for r in adaptive if r.usage), 1
                ),
                "max_output_tokens": _MAX_OUTPUT_TOKENS,
                "reasoning_median": _REASONING_TOKENS,
                "reasoning_sigma": _REASONING_SIGMA,
                "prompt_tokens": _PROMPT_TOKENS,
                "concurrency": CONCURRENCY,
                "redis_server": stage.redis,
            },
        )


async def _run(
    stage: Stage, workload: Workload, reservation: Literal["worst_case", "adaptive"], count: int
) -> list[ExecutionResult]:
    say(f"  {count} executions, {reservation}")
    limits = {
        "max_output_tokens": _MAX_OUTPUT_TOKENS,
        "min_output_tokens": _MIN_OUTPUT_TOKENS,
        "reservation": reservation,
    }
    workload.spec = workload.spec.model_copy(update={"limits": limits})
    results: list[ExecutionResult] = []

    async def execute(data: dict[str, Any]) -> None:
        result = await stage.runtime.execute(workload.request(data))
        if isinstance(result, ExecutionResult):
            results.append(result)

    await run_calls(execute, islice(workload.people(), count))
    return results
