"""``ledger_vs_postgres``: the same work in PostgreSQL, on the same machine, equally durable.

``appendfsync everysec`` stands beside ``synchronous_commit = off``: what was acknowledged within
about the last second may go with the machine. ``always`` stands beside ``on``: nothing may.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from runtime.credits.identity import ExecutionAttempt
from tests.bench.conditions import median, say, spread
from tests.bench.ledger_stage import ACCOUNT, CALLERS, CONNECTIONS, LedgerStage, open_ledger_stage
from tests.bench.loads import run_calls
from tests.bench.plain_script import PlainScript
from tests.bench.postgres import ledger as postgres
from tests.bench.registry import Measured
from tests.harness.postgres import CAREFUL, PostgresServer, open_postgres

_ROUNDS = 5
# Every lookup is by a key; statistics of a table that is empty at times must not mislead.
_SETTINGS = {**CAREFUL, "enable_seqscan": "off"}
_DURABILITIES = {"everysec": "off", "always": "on"}
_BATCH = 128
_BATCHES_AT_ONCE = 2
_OTHERS = [f"acme-{number:04d}" for number in range(1_000)]
# By trial what PostgreSQL is quickest with: callers of one account queue at its row.
_HOT_CONNECTIONS = 4
_PAIRS = {"unbatched": 2_000, "batched": 64 * _BATCH, "spread": 2_000}

_Pair = Callable[[ExecutionAttempt], Awaitable[None]]
_Pairs = Callable[[Sequence[ExecutionAttempt]], Awaitable[None]]
_Rates = dict[str, list[float]]  # pairs a second, by way, then by round


@dataclass(frozen=True, slots=True)
class _Store:
    """Makes pairs: one account's singly or many a call, or those of many accounts."""

    pair: _Pair
    pairs: _Pairs
    spread_pair: _Pair


def measure() -> Measured:
    """Measure how many times the pairs of PostgreSQL Redis makes, in single calls."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(open_ledger_stage())
        server = await stack.enter_async_context(open_postgres(_SETTINGS))
        version = await postgres.make_schema(server)
        stores = {
            durability: {"redis": _redis(stage), "postgres": await _postgres(stack, server, commit)}
            for durability, commit in _DURABILITIES.items()
        }
        books = await _open_accounts(stack, stage, server)
        await _rounds(stage, stores, 1)
        await postgres.vacuum(server)
        rates = await _rounds(stage, stores, _ROUNDS)
        pairs = (1 + _ROUNDS) * len(stores) * (_PAIRS["unbatched"] + _PAIRS["batched"])
        await stage.check_books(pairs)
        await books.check_books(ACCOUNT, pairs)
        conditions = {**stage.conditions(), "postgres_server": f"PostgreSQL {version}"}
    return _measured(rates, conditions)


def _redis(stage: LedgerStage) -> _Store:
    plain = PlainScript(stage.plain_client, stage.ledger.settings)
    return _Store(plain.pair, plain.pairs, plain.pair)


async def _postgres(stack: AsyncExitStack, server: PostgresServer, commit: str) -> _Store:
    hot, wide = [
        await stack.enter_async_context(
            postgres.connect(server, connections, synchronous_commit=commit)
        )
        for connections in (_HOT_CONNECTIONS, CONNECTIONS)
    ]
    return _Store(hot.pair, hot.pairs, wide.pair)


async def _open_accounts(
    stack: AsyncExitStack, stage: LedgerStage, server: PostgresServer
) -> postgres.PostgresLedger:
    await PlainScript(stage.plain_client, stage.ledger.settings).load()
    books = await stack.enter_async_context(postgres.connect(server, 1, synchronous_commit="off"))
    for open_account in (stage.open_account, books.open_account):
        await run_calls(open_account, [ACCOUNT, *_OTHERS])
    return books


async def _rounds(
    stage: LedgerStage, stores: dict[str, dict[str, _Store]], rounds: int
) -> dict[str, dict[str, _Rates]]:
    """Return the rates by durability and store, which take turns."""
    rates: dict[str, dict[str, _Rates]] = {
        durability: {name: {way: [] for way in _PAIRS} for name in both}
        for durability, both in stores.items()
    }
    for number in range(rounds):
        for durability, both in stores.items():
            await stage.client.config_set("appendfsync", durability)
            for way in _PAIRS:
                for name in sorted(both, reverse=bool(number % 2)):
                    rate = await _rate(stage, both[name], way)
                    rates[durability][name][way].append(rate)
                    say(f"  {number + 1} of {rounds}: {durability} {way} {name} {rate:.0f}/s")
    return rates


async def _rate(stage: LedgerStage, store: _Store, way: str) -> float:
    """Return pairs a second of one store in one way."""
    count = _PAIRS[way]
    others = random.choices(_OTHERS, k=count)
    attempts = [stage.attempt(each if way == "spread" else ACCOUNT) for each in others]
    since_s = time.perf_counter()
    if way == "batched":
        chunks = [attempts[first : first + _BATCH] for first in range(0, count, _BATCH)]
        await run_calls(store.pairs, chunks, _BATCHES_AT_ONCE)
    else:
        pair = store.spread_pair if way == "spread" else store.pair
        await run_calls(pair, attempts, CALLERS)
    return count / (time.perf_counter() - since_s)


def _measured(rates: dict[str, dict[str, _Rates]], conditions: dict[str, Any]) -> Measured:
    ratios = {
        durability: {way: _ratios(both["redis"][way], both["postgres"][way]) for way in _PAIRS}
        for durability, both in rates.items()
    }
    least = min((found["unbatched"] for found in ratios.values()), key=median)
    compared = {
        f"{durability}, synchronous_commit {commit}": {
            way: {
                **{name: round(median(found[way])) for name, found in rates[durability].items()},
                "ratio": median(ratios[durability][way]),
            }
            for way in _PAIRS
        }
        for durability, commit in _DURABILITIES.items()
    }
    return Measured(
        median(least),
        {
            **spread(least),
            "pairs_per_s": compared,
            "pairs_a_round": _PAIRS,
            "calls_a_batch": _BATCH,
            "batches_at_once": _BATCHES_AT_ONCE,
            "callers": CALLERS,
            "connections": {
                "redis": CONNECTIONS,
                "postgres": _HOT_CONNECTIONS,
                "postgres, spread": CONNECTIONS,
            },
            "spread_over_accounts": len(_OTHERS),
            "fdatasync_us": _fdatasync_us(),
            **conditions,
        },
    )


def _ratios(redis: Sequence[float], other: Sequence[float]) -> list[float]:
    return [ours / theirs for ours, theirs in zip(redis, other, strict=True)]


def _fdatasync_us() -> int:
    """Return what the disk takes to make a small write safe, on which half of the figures hang."""
    times_us = []
    with tempfile.TemporaryFile(prefix="creditgate-bench-") as file:
        for _ in range(200):
            file.write(bytes(512))
            file.flush()
            since_s = time.perf_counter()
            os.fdatasync(file.fileno())
            times_us.append((time.perf_counter() - since_s) * 1_000_000)
    return round(median(times_us))
