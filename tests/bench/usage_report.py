"""``usage_report_ms``: a month's usage of an account with 1,000,000 executions.

The archive is written as an archiver writes it, batch by batch through the roll-ups, into both
databases. The value is the slowest report's median, of the slower database.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import islice, product
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from runtime.archive.reports import Reports
from runtime.archive.rollup import Rollup, moves_of
from runtime.credits.identity import Dimensions
from runtime.store.database import Database, database_url, open_database
from runtime.store.schema import accounts, dimensions, entries
from tests.bench.conditions import median, say, spread
from tests.bench.registry import Measured
from tests.harness import configs
from tests.harness.postgres import CAREFUL, open_postgres

ROUNDS = 15
EXECUTIONS = 1_000_000
_BATCH = 10_000
_ACCOUNT, _NO, _ZONE = "acme", 1, "Europe/Berlin"
_DAY_MS = 86_400_000
# A month with a change of clocks in it, as this zone has it.
_FROM_MS = int(datetime(2026, 2, 28, 23, tzinfo=UTC).timestamp() * 1_000)
_TO_MS = int(datetime(2026, 3, 31, 22, tzinfo=UTC).timestamp() * 1_000)
_COLUMNS = [column.name for column in entries.columns]
_NAMES = [
    Dimensions(f"workspace-{w}", f"campaign-{c}", f"action-{a}", "v1", f"model-{m}", "live")
    for w, c, a, m in product(range(2), range(5), range(10), range(3))
]
REPORTS: dict[str, tuple[str, ...]] = {
    "day": ("day",),
    "day, model": ("day", "model"),
    "day, campaign": ("day", "campaign"),
    "month": ("month",),
    "class": ("class",),
    "campaign, action": ("campaign", "action"),
    "workspace, source": ("workspace", "source"),
    "outcome, reason": ("outcome", "reason"),
    "campaign, reason": ("campaign", "reason"),
}
_Row = tuple[Any, ...]


def measure() -> Measured:
    """Measure the median milliseconds of a month's report, of the slowest kind."""
    return asyncio.run(_measure(EXECUTIONS))


async def _measure(executions: int) -> Measured:
    took: dict[str, dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = await stack.enter_async_context(open_postgres(CAREFUL))
        urls = {
            "sqlite": database_url(f"sqlite:///{Path(folder) / 'archive.db'}"),
            "postgres": database_url(server.new_database()),
        }
        databases = {
            name: await stack.enter_async_context(open_database(url)) for name, url in urls.items()
        }
        say(f"  archiving {executions:,} executions in both databases ...")
        await _fill(databases.values(), executions)
        for name, database in databases.items():
            took[name] = await _time(Reports(database, configs.load(configs.right())), executions)
    medians = {
        name: {report: median(times) for report, times in reports.items()}
        for name, reports in took.items()
    }
    worst, slower, slowest = max(
        (value, name, report)
        for name, reports in medians.items()
        for report, value in reports.items()
    )
    return Measured(
        worst,
        {
            "executions": executions,
            "dimensions": len(_NAMES),
            "slowest": f"by {slowest} in {slower}",
            "medians_ms": medians,
            "rounds": spread(took[slower][slowest]),
        },
    )


async def _time(reports: Reports, executions: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in REPORTS}
    for turn in range(ROUNDS + 1):
        for name, by in REPORTS.items():
            begun = time.perf_counter()
            report = await reports.usage(_ACCOUNT, by=by, from_ms=_FROM_MS, to_ms=_TO_MS)
            if turn:  # the first reads what the databases then have in memory
                took[name].append((time.perf_counter() - begun) * 1_000)
            if report.total.executions != executions:
                raise RuntimeError(f"by {name}: {report.total.executions} executions")
    return took


async def _fill(databases: Iterator[Database] | Any, executions: int) -> None:
    targets: Sequence[Database] = list(databases)
    for database in targets:
        async with database.engine.begin() as connection:
            values = (_NO, _ACCOUNT, "e0e0", executions, "0" * 12, 0, "open", _TO_MS, _ZONE)
            row = dict(zip((column.name for column in accounts.columns), values, strict=True))
            await connection.execute(insert(accounts).values(row))
            await connection.execute(
                insert(dimensions),
                [
                    {"account": _NO, "number": number, **names._asdict()}
                    for number, names in enumerate(_NAMES, 1)
                ],
            )
    written = _entries(executions)
    while batch := list(islice(written, _BATCH)):
        rollup = Rollup()
        for _, _, _, kind, at_ms, effective_ms, dims, _, _, body in batch:
            columns = body.split("\t")
            rollup.add(_NO, kind, at_ms, effective_ms, dims, columns, moves_of(columns))
        for database in targets:
            async with database.engine.begin() as connection:
                if database.is_postgres:
                    raw = await connection.get_raw_connection()
                    driver: Any = raw.driver_connection
                    await rollup.write(connection, True)  # which begins the transaction
                    await driver.copy_records_to_table("entries", records=batch, columns=_COLUMNS)
                else:
                    await connection.execute(
                        insert(entries), [dict(zip(_COLUMNS, row, strict=True)) for row in batch]
                    )
                    await rollup.write(connection, False)


def _entries(executions: int) -> Iterator[_Row]:
    """Yield entries of executions that are spread over the month as people are over days."""
    chance = random.Random(11)
    for seq in range(1, executions + 1):
        at_ms = _FROM_MS + (_TO_MS - _FROM_MS) * (seq - 1) // executions
        dims = chance.randrange(len(_NAMES)) + 1
        kind, reason, cost = "s", "", chance.randrange(1_000, 9_000)
        drawn = chance.random()
        if drawn < 0.03:
            kind, reason, cost = "f", "insufficient_credits", 0
        elif drawn < 0.05:
            kind, reason, cost = "r", "provider_timeout", 0
        elif drawn < 0.07:
            reason = "output_invalid"
        moved = f"g1:rc:{cost},g1:ra:{9_000 - cost}" if cost else ""
        body = "\t".join(
            (
                *("2", "e0e0", kind, str(at_ms), "abcdefghijklmnopqrstuv", moved),
                *(str(chance.randrange(300, 4_000)), str(dims), "812,300,,120", "2026-01"),
                *("", reason, "", "", "", "", "", f";0.{seq % 3}" if kind == "s" else ""),
            )
        ).rstrip("\t")
        yield (_NO, seq, "0" * 12, kind, at_ms, at_ms, dims, cost, 0, body)
