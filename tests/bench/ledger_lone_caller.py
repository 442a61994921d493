"""``ledger_lone_caller``: a single caller's latency, against the script called plainly."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from runtime.credits.identity import ExecutionAttempt
from tests.bench.conditions import median, percentile, say, spread
from tests.bench.ledger_stage import LedgerStage, open_ledger_stage
from tests.bench.plain_script import PlainScript
from tests.bench.registry import Measured

_ROUNDS = 5
_TURNS = 10
_PAIRS_A_TURN = 200

_Pair = Callable[[ExecutionAttempt], Awaitable[None]]


def measure() -> Measured:
    """Measure the time of a pair, of which half is a verb's."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    async with open_ledger_stage() as stage:
        await stage.open_account()
        plain = PlainScript(stage.plain_client, stage.ledger.settings)
        await plain.load()
        for warm_up in (stage.pair, plain.pair):
            await _times_us(warm_up, stage.attempts(_PAIRS_A_TURN))
        rounds: list[tuple[list[float], list[float]]] = []
        for number in range(_ROUNDS):
            rounds.append(await _round_us(stage, plain))
            say(f"  {number + 1} of {_ROUNDS}: {_ratio(*rounds[-1]):.3f}")
        conditions = stage.conditions()
    ratios = [_ratio(*times_us) for times_us in rounds]
    return Measured(
        median(ratios),
        {
            **spread(ratios),
            "pairs_a_round": _TURNS * _PAIRS_A_TURN,
            "ledger_pair_us": _latencies([us for ledger_us, _ in rounds for us in ledger_us]),
            "plain_pair_us": _latencies([us for _, plain_us in rounds for us in plain_us]),
            **conditions,
        },
    )


async def _round_us(stage: LedgerStage, plain: PlainScript) -> tuple[list[float], list[float]]:
    """Return what each pair took, by the ledger and plainly, in short turns."""
    ledger_us: list[float] = []
    plain_us: list[float] = []
    for turn in range(_TURNS):
        sides = [(stage.pair, ledger_us), (plain.pair, plain_us)]
        for pair, times_us in reversed(sides) if turn % 2 else sides:
            times_us.extend(await _times_us(pair, stage.attempts(_PAIRS_A_TURN)))
    return ledger_us, plain_us


def _ratio(ledger_us: Sequence[float], plain_us: Sequence[float]) -> float:
    return percentile(ledger_us, 50) / percentile(plain_us, 50)


def _latencies(times_us: Sequence[float]) -> dict[str, Any]:
    return {"p50": round(percentile(times_us, 50)), "p99": round(percentile(times_us, 99))}


async def _times_us(pair: _Pair, attempts: Sequence[ExecutionAttempt]) -> list[float]:
    gc.collect()
    times_us = []
    for attempt in attempts:
        since_s = time.perf_counter()
        await pair(attempt)
        times_us.append((time.perf_counter() - since_s) * 1_000_000)
    return times_us
