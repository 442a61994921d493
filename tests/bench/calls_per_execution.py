"""``calls_per_execution``: how many script calls an execution takes, by the number of callers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from tests.bench.conditions import say
from tests.bench.registry import Measured
from tests.bench.scaling_runs import Run, fund, measure_run, open_shards

CALLERS = 128
UNBATCHED = 2
"""Calls that each execution takes by itself: one to reserve, one to settle."""

_LATENCY_MS = 20
_EXECUTIONS = {1: 200, 8: 800, 32: 3_000, CALLERS: 6_000, 512: 6_000}


def measure() -> Measured:
    """Measure one process that executes for one account, its callers growing in number."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    runs: dict[int, Run] = {}
    with open_shards(1, accounts=1) as shards:
        await fund(shards)
        for number, (callers, executions) in enumerate(_EXECUTIONS.items()):
            runs[callers] = await measure_run(
                shards,
                processes=1,
                executions=executions,
                callers=callers,
                accounts=1,
                first=number,
                latency_ms=_LATENCY_MS,
            )
            say(f"  {callers} callers: {runs[callers].calls} calls per execution")
    return Measured(
        runs[CALLERS].calls,
        {
            "unbatched": UNBATCHED,
            "times_fewer": round(UNBATCHED / runs[CALLERS].calls, 1),
            "latency_ms": _LATENCY_MS,
            "by_callers": {callers: asdict(run) for callers, run in runs.items()},
        },
    )
