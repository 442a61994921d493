"""``ledger_flat_*``: what a reserve takes in Redis, where there is little and where there is much.

The time is the server's own, from ``INFO commandstats``: one reserve a script call, by one
caller, so that nothing is joined. Both sides take turns.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from tests.bench.conditions import median, say, spread
from tests.bench.ledger_stage import ACCOUNT, CALLERS, LedgerStage, keys_of, open_ledger_stage
from tests.bench.loads import run_calls
from tests.bench.registry import Measured

_ROUNDS = 5
_TURNS = 10
_RESERVES_A_TURN = 200
_MANY = 100_000
_MANY_GRANTS = 64
_OTHER = "acme-crowded"
_COPIES_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class _Side:
    """Where reserves are made: ``account`` says for whom, each time anew."""

    stage: LedgerStage
    account: Callable[[], str]


def measure_accounts() -> Measured:
    """Compare a server with one account to one with 100,000, each of them as likely as the next."""
    return asyncio.run(_measure_accounts())


def measure_reservations() -> Measured:
    """Compare an account without open reservations to one with 100,000."""
    return asyncio.run(_measure_reservations())


def measure_grants() -> Measured:
    """Compare an account with one open grant to one with 64."""
    return asyncio.run(_measure_grants())


async def _measure_accounts() -> Measured:
    async with AsyncExitStack() as stack:
        few = await stack.enter_async_context(open_ledger_stage())
        many = await stack.enter_async_context(open_ledger_stage())
        await few.open_account()
        await many.open_account()
        copies = [f"acme-{number:06d}" for number in range(_MANY - 1)]
        await _copy_account(many, copies)
        chance = random.Random(0)
        return await _compare(
            _Side(few, lambda: ACCOUNT),
            _Side(many, lambda: chance.choice(copies)),
            {"accounts": [1, _MANY]},
        )


async def _measure_reservations() -> Measured:
    async with open_ledger_stage() as stage:
        await stage.open_account()
        await stage.open_account(_OTHER)
        await run_calls(stage.reserve, stage.attempts(_MANY, _OTHER), CALLERS)
        return await _compare_accounts(stage, {"open_reservations": [0, _MANY]})


async def _measure_grants() -> Measured:
    async with open_ledger_stage() as stage:
        await stage.open_account(grants=1)
        await stage.open_account(_OTHER, grants=_MANY_GRANTS)
        return await _compare_accounts(stage, {"open_grants": [1, _MANY_GRANTS]})


async def _compare_accounts(stage: LedgerStage, counts: dict[str, list[int]]) -> Measured:
    return await _compare(_Side(stage, lambda: ACCOUNT), _Side(stage, lambda: _OTHER), counts)


async def _compare(few: _Side, many: _Side, counts: dict[str, list[int]]) -> Measured:
    for side in (few, many):
        await _reserve_us(side)
    rounds: list[tuple[float, float]] = []
    for number in range(_ROUNDS):
        rounds.append(await _round_us(few, many))
        few_us, many_us = rounds[-1]
        say(f"  {number + 1} of {_ROUNDS}: {few_us:.1f} and {many_us:.1f} us")
    ratios = [many_us / few_us for few_us, many_us in rounds]
    conditions: dict[str, Any] = {
        **spread(ratios),
        **few.stage.conditions(),
        **counts,
        "reserve_us": [median(list(side)) for side in zip(*rounds, strict=True)],
        "reserves_a_round": _TURNS * _RESERVES_A_TURN,
    }
    return Measured(median(ratios), conditions)


async def _round_us(few: _Side, many: _Side) -> tuple[float, float]:
    """Return both sides' medians of short turns, so that what else the machine does hits both."""
    few_us: list[float] = []
    many_us: list[float] = []
    for turn in range(_TURNS):
        sides = [(few, few_us), (many, many_us)]
        for side, times_us in reversed(sides) if turn % 2 else sides:
            times_us.append(await _reserve_us(side))
    return median(few_us), median(many_us)


async def _reserve_us(side: _Side) -> float:
    stage = side.stage
    attempts = [stage.attempt(side.account()) for _ in range(_RESERVES_A_TURN)]
    await stage.client.config_resetstat()
    reserved = [(attempt, await stage.reserve(attempt)) for attempt in attempts]
    scripts = (await stage.client.info("commandstats"))["cmdstat_evalsha"]
    if scripts["calls"] != _RESERVES_A_TURN:
        raise RuntimeError(f"{scripts['calls']} script calls for {_RESERVES_A_TURN} reserves")
    # Every turn begins on the same books.
    await run_calls(lambda pair: stage.settle(*pair), reserved)
    return float(scripts["usec_per_call"])


async def _copy_account(stage: LedgerStage, copies: Sequence[str]) -> None:
    """Make more accounts as the first one is, by copying its keys within the server."""
    keys = keys_of(stage)
    originals = keys.of_account(ACCOUNT)
    owned = [
        position
        for position, name in enumerate(originals)
        if f":{ACCOUNT}:" in name and await stage.client.exists(name)
    ]
    for since in range(0, len(copies), _COPIES_AT_ONCE):
        pipeline = stage.client.pipeline(transaction=False)
        for account_id in copies[since : since + _COPIES_AT_ONCE]:
            names = keys.of_account(account_id)
            for position in owned:
                pipeline.copy(originals[position], names[position])
        if not all(await pipeline.execute()):
            raise RuntimeError("an account was not copied")
