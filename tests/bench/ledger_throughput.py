"""``ledger_batching`` and ``ledger_pairs``: 512 callers on one account, joined and plain."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from runtime.credits.identity import ExecutionAttempt
from tests.bench.conditions import median, say, spread
from tests.bench.ledger_stage import CALLERS, CONNECTIONS, LedgerStage, open_ledger_stage
from tests.bench.loads import run_calls
from tests.bench.plain_script import PlainScript
from tests.bench.registry import Measured

_ROUNDS = 5
_LEDGER_PAIRS = 24_000
_PLAIN_PAIRS = 6_000
_WARM_UP = 2_000

_Pair = Callable[[ExecutionAttempt], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Pairs a second, by round."""

    ledger: list[float]
    plain: list[float]
    conditions: dict[str, Any]


def measure_batching() -> Measured:
    """Measure how many times as many pairs the ledger makes as plain calls do."""
    rounds = _rounds()
    ratios = [ledger / plain for ledger, plain in zip(rounds.ledger, rounds.plain, strict=True)]
    return Measured(
        median(ratios),
        {
            **spread(ratios),
            "ledger_pairs_per_s": median(rounds.ledger),
            "plain_pairs_per_s": median(rounds.plain),
            **rounds.conditions,
        },
    )


def measure_pairs() -> Measured:
    """Measure pairs a second, in the same rounds."""
    rounds = _rounds()
    return Measured(median(rounds.ledger), {**spread(rounds.ledger), **rounds.conditions})


@cache
def _rounds() -> _Rounds:
    return asyncio.run(_measure())


async def _measure() -> _Rounds:
    async with open_ledger_stage() as stage:
        await stage.open_account()
        plain = PlainScript(stage.plain_client, stage.ledger.settings)
        await plain.load()
        await run_calls(stage.pair, stage.attempts(_WARM_UP), CALLERS)
        await run_calls(plain.pair, stage.attempts(_WARM_UP), CALLERS)
        rounds: list[tuple[float, float]] = []
        for number in range(_ROUNDS):
            if number % 2:
                plain_rate = await _rate(stage, plain.pair, _PLAIN_PAIRS)
                ledger_rate = await _rate(stage, stage.pair, _LEDGER_PAIRS)
            else:
                ledger_rate = await _rate(stage, stage.pair, _LEDGER_PAIRS)
                plain_rate = await _rate(stage, plain.pair, _PLAIN_PAIRS)
            rounds.append((ledger_rate, plain_rate))
            say(f"  {number + 1} of {_ROUNDS}: {ledger_rate:.0f} and {plain_rate:.0f} pairs/s")
        await stage.check_books(2 * _WARM_UP + _ROUNDS * (_LEDGER_PAIRS + _PLAIN_PAIRS))
        conditions = {
            **stage.conditions(),
            "callers": CALLERS,
            "connections": CONNECTIONS,
            "pairs_a_round": {"ledger": _LEDGER_PAIRS, "plain": _PLAIN_PAIRS},
        }
    return _Rounds([ledger for ledger, _ in rounds], [plain for _, plain in rounds], conditions)


async def _rate(stage: LedgerStage, pair: _Pair, pairs: int) -> float:
    attempts = stage.attempts(pairs)
    gc.collect()
    since_s = time.perf_counter()
    await run_calls(pair, attempts, CALLERS)
    return pairs / (time.perf_counter() - since_s)
