"""Law 15: a report takes bounded time and memory, however much it is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import insert

from runtime.archive.reports import Reports
from runtime.archive.rollup import QUARTER_MS
from runtime.archive.snapshot import MOST_ROWS
from runtime.credits.identity import Dimensions
from runtime.store.database import Database, database_url, open_database
from runtime.store.schema import SUMS, accounts, days, dimensions, entries, totals
from tests.harness import configs
from tests.harness.bounds import loop_holds_s, peak_bytes

DAY_SLOT = 96 * 20_000
DAY_MS = DAY_SLOT * QUARTER_MS
AT_MS = DAY_MS + 5 * QUARTER_MS
_ENTRIES = 6_000
_MOST_MB = 64


async def fill(database: Database, campaigns: int) -> None:
    """Make an account that ran so many campaigns in a day, with entries in a quarter of it."""
    body = "2\te0e0\ts\t{}\tkey\tg1:rc:5\t900\t1\t612,,,40\tv1"
    account: dict[str, object] = dict.fromkeys((column.name for column in accounts.columns), 0)
    account |= {"no": 1, "account_id": "acme", "state": "open", "timezone": "UTC"}
    row = {"account": 1, "slot": DAY_SLOT, "quarters": 96}
    named = Dimensions("w", "c", "a", "v1", "m", "live")._asdict()
    entry = {"account": 1, "chain": "", "kind": "s", "dims": 1, "charged_mc": 5, "left_mc": 0}
    async with database.begin() as connection:
        await connection.execute(insert(accounts), [account])
        await connection.execute(insert(days), [row])
        numbers = range(1, campaigns + 1)
        await connection.execute(
            insert(totals), [row | dict.fromkeys(SUMS, 1) | {"dims": no} for no in numbers]
        )
        await connection.execute(
            insert(dimensions),
            [named | {"account": 1, "number": no, "campaign": f"campaign-{no}"} for no in numbers],
        )
        await connection.execute(
            insert(entries),
            [
                entry
                | {"seq": no, "at_ms": AT_MS + no, "effective_ms": AT_MS + no}
                | {"body": body.format(AT_MS + no)}
                for no in range(_ENTRIES)
            ],
        )


def reports_of(database: Database) -> Reports:
    return Reports(database, configs.load(configs.right()), lambda: DAY_MS + 96 * QUARTER_MS)


async def test_law_15_a_report_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    async with open_database(database_url(f"sqlite:///{tmp_path}/a.db")) as database:
        await fill(database, MOST_ROWS + 1)
        reports = reports_of(database)
        with pytest.raises(ValueError, match="at most 10,000 rows: ask for a shorter time"):
            await reports.usage("acme", by=["campaign"], from_ms=DAY_MS)
        report = await reports.usage("acme", by=["workspace"], from_ms=DAY_MS)
        assert report.total.executions == MOST_ROWS + 1


@pytest.mark.long
def test_law_15_a_report_of_the_most_rows_holds_the_event_loop_for_less_than_50_ms(
    tmp_path: Path,
) -> None:
    with asyncio.Runner() as runner:
        opened = open_database(database_url(f"sqlite:///{tmp_path}/a.db"))
        database = runner.run(opened.__aenter__())
        try:
            runner.run(fill(database, MOST_ROWS))
            reports = reports_of(database)

            async def ask() -> int:
                whole = await reports.usage("acme", by=["campaign"], from_ms=DAY_MS)
                edge = await reports.usage(
                    "acme", by=["campaign"], from_ms=AT_MS + 1, to_ms=AT_MS + _ENTRIES
                )
                return len(whole.rows) + edge.total.executions

            found, first_s = runner.run(loop_holds_s(ask()))
            assert found == MOST_ROWS + _ENTRIES - 1
            _, second_s = runner.run(loop_holds_s(ask()))
            assert min(max(first_s), max(second_s)) <= 0.05
            assert peak_bytes(lambda: runner.run(ask())) <= _MOST_MB * 1_000_000
        finally:
            runner.run(opened.__aexit__(None, None, None))
