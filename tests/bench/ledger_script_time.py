"""``ledger_script_p99_ms``: how long a script keeps other accounts on the server waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.bench.conditions import median, percentile, say, spread
from tests.bench.ledger_stage import CALLERS, LedgerStage, open_ledger_stage
from tests.bench.loads import run_calls
from tests.bench.registry import Measured

_ROUNDS = 5
_PAIRS = 16_000
_WARM_UP = 2_000
_MOST_ENTRIES = 1_000_000


def measure() -> Measured:
    """Measure the slowest of a hundred scripts, by the server's slow log, which logs them all."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    async with open_ledger_stage() as stage:
        await stage.open_account()
        await run_calls(stage.pair, stage.attempts(_WARM_UP), CALLERS)
        await stage.client.config_set("slowlog-max-len", _MOST_ENTRIES)
        rounds: list[list[float]] = []
        for number in range(_ROUNDS):
            rounds.append(await _scripts_ms(stage))
            say(f"  {number + 1} of {_ROUNDS}: {_figures(rounds[-1])}")
        conditions = stage.conditions()
    slowest = [percentile(times_ms, 99) for times_ms in rounds]
    every_ms = [ms for times_ms in rounds for ms in times_ms]
    return Measured(
        median(slowest),
        {
            **spread(slowest),
            "callers": CALLERS,
            "pairs_a_round": _PAIRS,
            "all_rounds": _figures(every_ms),
            **conditions,
        },
    )


async def _scripts_ms(stage: LedgerStage) -> list[float]:
    attempts = stage.attempts(_PAIRS)
    await stage.client.slowlog_reset()
    await stage.client.config_set("slowlog-log-slower-than", 0)
    await run_calls(stage.pair, attempts, CALLERS)
    await stage.client.config_set("slowlog-log-slower-than", -1)
    entries = await stage.client.slowlog_get(_MOST_ENTRIES)
    return [
        entry["duration"] / 1000 for entry in entries if entry["command"].startswith(b"EVALSHA")
    ]


def _figures(times_ms: Sequence[float]) -> dict[str, Any]:
    return {
        "scripts": len(times_ms),
        "p50_ms": percentile(times_ms, 50),
        "p99_ms": percentile(times_ms, 99),
        "max_ms": max(times_ms),
    }
