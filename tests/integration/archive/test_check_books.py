"""The program on the page about the archive checks the books without any of our code."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pricing.offers import GrantKind
from runtime.credits.endings import Release
from tests.harness.archives import archive, check_books
from tests.harness.ledger.desk import ACCOUNT, Desk
from tests.harness.pages import blocks

MOST_LINES = 60


def test_the_program_has_at_most_60_lines() -> None:
    [text] = [block for block in blocks("docs/archive.md", "python") if "check_books" in block]
    assert len(text.splitlines()) <= MOST_LINES


async def live(desk: Desk) -> None:
    """Have overage, exposure, expiry of what is reserved, voids, and a reservation left open."""
    await desk.open(3_000, 40, account_id="beta")
    await desk.open()
    await desk.grant(500, expires_in_ms=90_000)
    await desk.grant(10_000, kind=GrantKind.PURCHASED)
    attempt, reserved = await desk.reserve(900)
    await desk.settle(attempt, reserved, 700, exposure_mc=44)
    attempt, _ = await desk.reserve(300)
    await desk.ledger.release(Release(attempt, exposure_mc=77))
    late, reserved = await desk.reserve(2_000, ttl_ms=10_000)
    await desk.pass_time(20_000)
    await desk.settle(late, reserved, 1_500)
    attempt, reserved = await desk.reserve(7_000)
    await desk.settle(attempt, reserved, 8_500)
    await desk.grant(60)
    await desk.ledger.accounts.void(ACCOUNT, grant_id="g3", reference="v", reason="why")
    await desk.grant(1_000, expires_in_ms=90_000)
    await desk.reserve(400)
    await desk.pass_time(30_000)
    await desk.grant(5)


async def test_an_outsider_s_program_prints_the_ledger_s_balances(
    desk: Desk, tmp_path: Path
) -> None:
    await live(desk)
    await archive(desk, tmp_path / "a.db", ACCOUNT, "beta")
    expected = ""
    for account_id in (ACCOUNT, "beta"):
        balance = await desk.balance(account_id)
        expected += (
            f"{account_id} granted={balance.granted_mc}"
            f" available={balance.available_mc + balance.reserved_mc}"
            f" charged={balance.charged_mc} expired={balance.expired_mc}"
            f" voided={balance.voided_mc} overage={balance.overage_mc}"
            f" exposure={balance.exposure_mc} entries={balance.journal_seq}\n"
        )
    told = await desk.balance()
    assert min(told.charged_mc, told.voided_mc, told.overage_mc, told.exposure_mc) > 0
    assert told.reserved_mc > 0
    checked = check_books(tmp_path, tmp_path / "a.db")
    assert (checked.stdout, checked.stderr, checked.returncode) == (expected, "", 0)

    with (
        closing(sqlite3.connect(tmp_path / "a.db")) as file,
        (tmp_path / "j.csv").open("w", newline="", encoding="utf-8") as dump,
    ):
        rows = file.execute(
            "SELECT account_id, e.seq, e.chain, body FROM entries e JOIN accounts a"
            " ON a.no = e.account ORDER BY account_id, e.seq"
        )
        csv.writer(dump).writerows(rows)
    assert check_books(tmp_path, tmp_path / "j.csv").stdout == expected


@pytest.mark.parametrize(
    "edit, told",
    [
        (
            "UPDATE entries SET body = replace(body, 'g2:rc:200', 'g2:rc:100')",
            "account acme, entry 5: its",
        ),
        ("DELETE FROM entries WHERE account = 1 AND seq = 4", "entry 5: entry 4 is missing"),
        ("UPDATE entries SET chain = '000000000000' WHERE seq = 2", "account acme, entry 2: its"),
    ],
)
async def test_it_names_the_first_entry_that_is_wrong(
    desk: Desk, tmp_path: Path, edit: str, told: str
) -> None:
    await live(desk)
    await archive(desk, tmp_path / "a.db", ACCOUNT, "beta")
    with closing(sqlite3.connect(tmp_path / "a.db")) as file:
        assert file.execute(edit).rowcount > 0
        file.commit()
    checked = check_books(tmp_path, tmp_path / "a.db")
    assert told in checked.stderr
    assert checked.returncode == 1
