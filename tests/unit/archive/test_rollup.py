"""What an entry adds to the roll-ups, and that taking it out leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from runtime.archive.rollup import Rollup, latency_of, moves_of
from runtime.store.database import database_url, open_database
from runtime.store.schema import SUMS, accounts, choices, latencies, metadata, movements, usage

AT_MS = 1_764_000_000_000
SETTLED = "2\tab12\ts\t{at}\tkey\tg1:rc:5,g2:ac:7,g1:ra:2\t900\t3\t612,1,,40\tv1\t{flags}\t{reason}"
SETTLED += "\t3\t4\t\t\t\t8;0.1,2.0"


def settled(flags: str = "", reason: str = "") -> list[str]:
    return SETTLED.format(at=AT_MS, flags=flags, reason=reason).split("\t")


def add_to(rollup: Rollup, kind: str, columns: list[str], sign: int = 1) -> None:
    rollup.add(1, kind, AT_MS, AT_MS, 3, columns, moves_of(columns), sign)


def test_a_settlement_is_counted_with_everything_that_it_says() -> None:
    rollup = Rollup()
    add_to(rollup, "s", settled())
    [(dims, kind, reason, sums)] = rollup.usage()
    assert (dims, kind, reason) == (3, "s", "")
    assert dict(zip(SUMS, sums, strict=True)) == {
        "executions": 1,
        "charged_mc": 12,
        "overage_mc": 3,
        "exposure_mc": 4,
        "free_mc": 8,
        "input_tokens": 612,
        "cached_input_tokens": 1,
        "cache_write_tokens": 0,
        "output_tokens": 40,
        "reasoning_tokens": 0,
    }
    assert sorted(rollup.movements()) == [("g1", "ac", 5), ("g2", "ac", 7)]
    assert sorted(rollup.choices()) == [(3, 0, 1, 1), (3, 2, 0, 1)]
    [(_, bucket, count)] = rollup.latencies()
    assert count == 1
    assert latency_of(bucket) == pytest.approx(900, rel=0.05)


@pytest.mark.parametrize("flags", ["late", "quote_exceeded,orphan"])
def test_the_time_that_a_settlement_waited_in_a_spool_is_not_counted(flags: str) -> None:
    rollup = Rollup()
    add_to(rollup, "s", settled(flags))
    assert list(rollup.latencies()) == []


@pytest.mark.parametrize(
    "kind, flags, executions",
    [("r", "", 1), ("r", "superseded", 0), ("f", "", 1), ("e", "", 1), ("b", "exposure", 0)],
)
def test_an_execution_is_counted_where_it_ends(kind: str, flags: str, executions: int) -> None:
    rollup = Rollup()
    columns = f"2\tab12\t{kind}\t{AT_MS}\tkey\t\t\t3\t\t\t{flags}\twhy".split("\t")
    add_to(rollup, kind, columns)
    [(*_, sums)] = rollup.usage()
    assert sums[0] == executions


@pytest.mark.parametrize(
    "column, text", [(5, "g1:rc:x"), (5, "g1"), (8, "1,x"), (12, "x"), (17, "0;a.b"), (6, "x")]
)
def test_a_damaged_entry_adds_nothing(column: int, text: str) -> None:
    rollup = Rollup()
    columns = settled()
    columns[column] = text
    with pytest.raises(ValueError, match=r"\w"):
        add_to(rollup, "s", columns)
    found = (rollup.usage(), rollup.movements(), rollup.latencies(), rollup.choices())
    assert [list(each) for each in found] == [[], [], [], []]


async def test_what_is_taken_out_again_leaves_nothing(tmp_path: Path) -> None:
    async with open_database(database_url(f"sqlite:///{tmp_path}/a.db")) as database:
        async with database.begin() as connection:
            row = dict.fromkeys((column.name for column in accounts.columns), 0)
            await connection.execute(
                insert(accounts).values(
                    row | {"no": 1, "account_id": "acme", "timezone": "Europe/Berlin"}
                )
            )
        for sign in (1, -1):
            rollup = Rollup()
            add_to(rollup, "s", settled(), sign)
            async with database.begin() as connection:
                await rollup.write(connection, database.is_postgres)
        async with database.connect() as connection:
            for table, column in (
                *(
                    (metadata.tables[name], each)
                    for name in ("usage", "totals", "outcomes")
                    for each in SUMS
                ),
                (movements, "amount_mc"),
                (latencies, "executions"),
                (choices, "executions"),
            ):
                left = select(func.sum(table.c[column]), func.count())
                found, rows = (await connection.execute(left)).one()
                assert (found, bool(rows)) == (0, True), (table.name, column)
            lengths = await connection.scalars(select(usage.c.quarters).order_by(usage.c.quarters))
            assert list(lengths) == [1, 96]
