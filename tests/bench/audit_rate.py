"""``audit_rate``: the entries that an audit replays a second, out of both databases."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from runtime.archive.audit import Auditor
from runtime.credits.inspection import StoredAccount, StreamEntry
from runtime.credits.journal import chain_of
from runtime.store.database import Database, database_url, open_database
from runtime.store.schema import accounts, entries
from tests.bench.conditions import median, spread
from tests.bench.registry import Measured
from tests.harness.postgres import CAREFUL, open_postgres

ENTRIES = 200_000
ROUNDS = 5
_ACCOUNT, _GRANTED_MC, _COST_MC, _AT_MS = "acme", 10**12, 2_000, 1_770_000_000_000
_BATCH = 10_000
_COLUMNS = [column.name for column in entries.columns]


class _Ledger:
    """The books that the entries add up to, as the ledger would tell them."""

    def __init__(self, count: int, chain: str) -> None:
        self._count, self._chain = count, chain

    async def stored(self, account_id: str) -> StoredAccount:
        charged_mc = (self._count - 1) * _COST_MC
        parts = {"available": _GRANTED_MC - charged_mc, "charged": charged_mc}
        parts |= {"reserved": 0, "expired": 0, "voided": 0}
        return StoredAccount(
            account_id, "e0e0", self._count, self._chain, _GRANTED_MC, parts, 0, 0, {}
        )

    async def journal(self, account_id: str, after_seq: int, most: int) -> list[StreamEntry]:
        return []


def measure() -> Measured:
    """Measure the median rate, of the slower database."""
    return asyncio.run(_measure(ENTRIES))


async def _measure(count: int) -> Measured:
    rates: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = await stack.enter_async_context(open_postgres(CAREFUL))
        for name, url in (
            ("sqlite", database_url(f"sqlite:///{Path(folder) / 'archive.db'}")),
            ("postgres", database_url(server.new_database())),
        ):
            database = await stack.enter_async_context(open_database(url))
            ledger: Any = _Ledger(count, await _fill(database, count))
            rates[name] = [rate async for rate in _rates(Auditor(ledger, database), count)]
    medians = {name: median(found) for name, found in rates.items()}
    slower = min(medians, key=lambda name: medians[name])
    return Measured(
        medians[slower],
        {
            "entries": count,
            "slower": slower,
            "medians": medians,
            "rounds": spread(rates[slower]),
        },
    )


async def _rates(auditor: Auditor, count: int) -> AsyncIterator[float]:
    for turn in range(ROUNDS + 1):
        found = await auditor.audit([_ACCOUNT])
        # Its one grant is not told: nothing else may differ.
        if found.entries != count or not all("grant g1" in one.what for one in found.differences):
            raise RuntimeError(f"{found}")
        if turn:  # the first reads what the database then has in memory
            yield found.rate


async def _fill(database: Database, count: int) -> str:
    """Write the entries; return the last one's chain."""
    chain, written = "", _rows(count)
    async with database.begin() as connection:
        while batch := list(islice(written, _BATCH)):
            chain = batch[-1][2]
            rows = [dict(zip(_COLUMNS, row, strict=True)) for row in batch]
            await connection.execute(insert(entries), rows)
        left_mc = _GRANTED_MC - (count - 1) * _COST_MC
        account = (1, _ACCOUNT, "e0e0", count, chain, left_mc, "open", _AT_MS, "UTC")
        names = (column.name for column in accounts.columns)
        await connection.execute(insert(accounts).values(dict(zip(names, account, strict=True))))
    return chain


def _rows(count: int) -> Iterator[tuple[Any, ...]]:
    chain, left_mc = "", _GRANTED_MC
    for seq in range(1, count + 1):
        if seq == 1:
            kind, moved, cost_mc = "g", f"g1:na:{_GRANTED_MC}", 0
        else:
            kind, cost_mc = "s", _COST_MC
            moved = f"g1:rc:{cost_mc},g1:ra:{9_000 - cost_mc}"
        left_mc -= cost_mc
        body = "\t".join(
            (
                *("2", "e0e0", kind, str(_AT_MS + seq), f"abcdefghijklmnop{seq:06}", moved),
                *("812", "1", "812,300,,120", "2026-01"),
            )
        )
        chain = chain_of(chain, body)
        at_ms = _AT_MS + seq
        yield (1, seq, chain, kind, at_ms, at_ms, 1, cost_mc, left_mc, body)
