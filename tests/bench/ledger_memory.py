"""``ledger_memory``: what Redis keeps of an execution that is over, and of what else there is."""

from __future__ import annotations

import asyncio
import itertools

from tests.bench.conditions import say, spread
from tests.bench.ledger_stage import ACCOUNT, CALLERS, LedgerStage, keys_of, open_ledger_stage
from tests.bench.loads import run_calls
from tests.bench.registry import Measured

_ROUNDS = 5
_EXECUTIONS = 20_000
_WARM_UP = 2_000
_ACCOUNTS = 2_000
_OPEN = 20_000


def measure() -> Measured:
    """Measure the growth of the server's memory over 100,000 executions, settled."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    async with open_ledger_stage() as stage:
        await stage.open_account()
        await run_calls(stage.pair, stage.attempts(_WARM_UP), CALLERS)
        sizes = [await stage.used_memory()]
        for number in range(_ROUNDS):
            await run_calls(stage.pair, stage.attempts(_EXECUTIONS), CALLERS)
            sizes.append(await stage.used_memory())
            say(f"  {number + 1} of {_ROUNDS}: {(sizes[-1] - sizes[-2]) / _EXECUTIONS:.0f} bytes")
        # The table of keys doubles now and then, so that one round tells less than all of them.
        grown = [(size - before) / _EXECUTIONS for before, size in itertools.pairwise(sizes)]
        conditions = {
            **spread(grown),
            "executions_a_round": _EXECUTIONS,
            "journal_entry_bytes": await _journal_entry_bytes(stage),
            "open_reservation_bytes": await _open_reservation_bytes(stage),
            "account_bytes": await _account_bytes(stage),
            **stage.conditions(),
        }
    return Measured(sum(grown) / _ROUNDS, conditions)


async def _journal_entry_bytes(stage: LedgerStage) -> float:
    names = keys_of(stage).of_account(ACCOUNT)
    (name,) = [name for name in names if name.endswith(f":{ACCOUNT}:journal")]
    size = int(await stage.client.memory_usage(name, samples=0))
    return round(size / int(await stage.client.xlen(name)), 1)


async def _open_reservation_bytes(stage: LedgerStage) -> float:
    before = await stage.used_memory()
    await run_calls(stage.reserve, stage.attempts(_OPEN), CALLERS)
    return round((await stage.used_memory() - before) / _OPEN, 1)


async def _account_bytes(stage: LedgerStage) -> float:
    before = await stage.used_memory()
    await run_calls(stage.open_account, [f"acme-{number:06d}" for number in range(_ACCOUNTS)])
    return round((await stage.used_memory() - before) / _ACCOUNTS, 1)
