"""``creditgate statement``: an account's movements, explained, paged, opened; and bad input."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from pricing.quote import cost_mc
from pricing.usage import TokenUsage
from runtime.config import load_config
from runtime.credits.endings import Settlement
from runtime.credits.journal import tokens_column
from runtime.credits.results import Reserved
from runtime.ledger_opening import open_ledger
from tests.harness.archives import fill
from tests.harness.command_line import PROCESS_ENV, Ended, Home, new_home

STATEMENT = ("statement", "--account", "acme")
FORMULA = '=HYPERLINK("http://evil")'
TOKENS = TokenUsage(1_000, 333, 400, 0, 33)


async def _live(folder: Path) -> None:
    """Open two accounts; grant, buy, charge and void on the first; archive both."""
    config = load_config(folder / "config.yaml")
    rates = config.rate_cards[0].rates["writer"].build()
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("beta", plan="growth")
        await ledger.accounts.open_account("acme", plan="growth", timezone="Europe/Berlin")
        await ledger.accounts.grant(
            "acme", amount_mc=30_000, kind=GrantKind.PROMOTIONAL, reference=FORMULA, actor="@sue"
        )
        await ledger.accounts.purchase("acme", credits=100_000, payment_reference="-7+1")
        attempt = ledger.attempt(
            account_id="acme",
            execution_id="j:s:1",
            workspace_id="retail",
            campaign_id="+welcome",
            person_id="p1",
            action="route_message",
            source="live",
            action_version=config.actions["route_message"].version,
            model="writer",
        )
        reserved = await ledger.reserve(attempt, 200_000, 60_000)
        assert isinstance(reserved, Reserved)
        await ledger.settle(
            Settlement(
                attempt,
                cost_mc=cost_mc(rates, TOKENS),
                reserved_mc=reserved.amount_mc,
                reserved_at_ms=reserved.reserved_at_ms,
                tokens=tokens_column(TOKENS),
                rate_card_version="2026-01",
                outcome=b"{}",
                reason=FallbackReason.OUTPUT_INVALID,
                choices=((0, 2), (1, 0)),
            )
        )
        await ledger.accounts.void("acme", grant_id="g2", reference="v", reason="paid back")


def live(folder: Path, redis_url: str) -> Home:
    """Return a home whose ledger was used and archived; nothing in it calls a model."""
    home = new_home(folder, redis_url, "http://127.0.0.1:9")
    asyncio.run(_live(folder))
    assert home.invoke("archive").status == 0
    return home


@pytest.fixture(scope="module")
def lived(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that tests only read from."""
    return live(tmp_path_factory.mktemp("lived"), redis_url)


@pytest.fixture
def own(redis_url: str, tmp_path: Path) -> Home:
    """A home of the test's own, to change."""
    return live(tmp_path, redis_url)


def archive_of(home: Home) -> Path:
    """The archive's file."""
    return load_config(home.folder / "config.yaml").data_dir / "archive.db"


def test_a_statement_explains_each_movement_with_the_balance_after_it(lived: Home) -> None:
    shown = lived.invoke(*STATEMENT)
    assert shown.status == 0, shown.stderr
    title, header, *lines, end = shown.stdout.splitlines()
    assert title == "Account acme (times in Europe/Berlin; amounts in credits)"
    assert header.split() == ["entry", "time", "what", "change", "balance"]
    assert [line.split()[0] for line in lines] == ["6", "5", "3", "2", "1"]
    void, charge, purchase, grant, opened = (" ".join(line.split()) for line in lines)
    assert "void of what was left of grant g2: paid back" in void
    assert "execution of route_message in +welcome, with fallback values: the answer" in charge
    assert "; writer, 1,000 + 333 tokens, card 2026-01; paid by g1, g2 -147.900 " in charge
    assert "purchase, g2; by operator, reference -7+1 +100,000.000 100,030.000" in purchase
    assert f"promotional grant g1; by @sue, reference {FORMULA} +30.000 30.000" in grant
    assert "account opened with plan growth, time zone Europe/Berlin; by operator 0.000" in opened
    assert end.startswith("Archived up to entry 6;")
    balance = lived.balance("acme")
    assert void.endswith(f" {balance.available_mc / 1000:,.3f}")


def test_pages_of_json_follow_each_other_by_their_cursors(lived: Home) -> None:
    found: list[dict[str, Any]] = []
    more: tuple[str, ...] = ()
    while True:
        page = lived.invoke(*STATEMENT, "--json", "--limit", "2", *more).json
        found += page["lines"]
        if page["next_cursor"] is None:
            break
        more = ("--cursor", page["next_cursor"])
    assert [line["seq"] for line in found] == [6, 5, 3, 2, 1]
    charge = found[1]
    assert charge["what"] == "execution"
    assert charge["campaign"] == "+welcome"
    assert charge["tokens"]["cached_input_tokens"] == 400
    assert charge["paid_by"][0]["reference"] == FORMULA
    assert charge["change_mc"] == -charge["charged_mc"]
    assert found[0]["left_mc"] == lived.balance("acme").available_mc
    whole = lived.invoke(*STATEMENT, "--json", "--oldest-first").json["lines"]
    assert whole == found[::-1]


def test_a_csv_has_all_entries_and_no_cell_that_is_a_formula(lived: Home) -> None:
    text = lived.invoke(*STATEMENT, "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["seq"] for row in rows] == ["1", "2", "3", "5", "6"]
    for row in rows:
        for name, cell in row.items():
            if name not in ("change_mc", "exposure_mc"):
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (name, cell)
            else:
                assert cell == str(int(cell)), "a negative number is no formula"
    assert rows[1]["reference"] == f"'{FORMULA}"
    assert rows[1]["actor"] == "'@sue"
    assert rows[3]["campaign"] == "'+welcome"
    assert rows[2]["reference"] == "'-7+1"
    assert sum(int(row["change_mc"]) for row in rows) == int(rows[-1]["left_mc"])
    first = lived.invoke(*STATEMENT, "--csv", "--limit", "1")
    assert first.stdout == "".join(text.splitlines(keepends=True)[:2])
    assert "--cursor " in first.stderr


def test_a_charge_is_opened_down_to_its_receipt(lived: Home) -> None:
    shown = lived.invoke(*STATEMENT, "--entry", "5").stdout
    assert "Entry 5 of account acme: execution of route_message in +welcome" in shown
    plain = [" ".join(line.split()) for line in shown.splitlines()]
    assert "reserved at most 200.000 credits (g1 30.000, g2 170.000)" in plain
    assert any(line.startswith("g1 promotional ") for line in plain)
    # 600 tokens at 60, 400 at 30, 300 + 33 at 300 credits a million
    assert "input 600 60,000.000 36.000" in plain, shown
    assert "cached input 400 30,000.000 12.000" in plain
    assert "output 300 300,000.000 90.000" in plain
    assert "reasoning 33 300,000.000 9.900" in plain
    assert "together, rounded up 147.900" in plain
    assert "That is what was booked: charged, overage and free together." in plain
    assert "intent exchange_rate" in plain, "the option by its name"
    assert "fallback the answer did not have the required form" in plain
    found = lived.invoke(*STATEMENT, "--entry", "5", "--json").json
    assert found["choices"][0] == {"output": "intent", "option": "exchange_rate"}
    assert found["by_rate_card"]["cost_mc"] == found["charged_mc"] == 147_900
    assert found["reserved_mc"] == 200_000
    assert found["reserved_at"] <= found["at"]
    assert found["body"].startswith("1\t") or found["body"].startswith("2\t")


def test_a_charge_whose_rate_card_has_left_the_config_is_still_opened(own: Home) -> None:
    config = (own.folder / "config.yaml").read_text("utf-8")
    own.write("config.yaml", config.replace("version: 2026-01\n", "version: 2027-01\n"))
    shown = own.invoke(*STATEMENT, "--entry", "5").stdout
    assert "the config has no rates of rate card '2026-01' for this model any more" in shown
    edit(own, "UPDATE accounts SET state = 'forked'")
    assert "STOPPED THERE: Redis lost entries" in own.invoke(*STATEMENT).stdout
    assert own.invoke(*STATEMENT, "--entry", "5", "--json").json["by_rate_card"] is None


@contextmanager
def unchanged(home: Home) -> Iterator[None]:
    """Nothing changes in the folder, by content."""

    def contents() -> dict[str, bytes]:
        files = (path for path in home.folder.rglob("*") if path.is_file())
        # SQLite's own files come and go with each reader.
        return {str(p): p.read_bytes() for p in files if not p.name.endswith(("-wal", "-shm"))}

    before = contents()
    yield
    assert contents() == before


def refused(home: Home, *args: str) -> str:
    """Return what stderr says of a command that is refused, and says so in JSON too."""
    with unchanged(home):
        ended: Ended = home.invoke(*args)
        told = home.invoke(*args, "--json") if "--csv" not in args else None
    assert ended.status == 2, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    if told is not None:
        assert told.status == 2
        assert told.json["error"]["message"] in ended.stderr.replace("\n", " ") + ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    "args, told",
    [
        (("--from", "2026-05-02", "--to", "2026-05-01"), "--to: 2026-04-30 22:00:00 UTC is not"),
        (("--from", "2026-05-02", "--to", "2026-05-02"), "is not after --from"),
        (("--from", "2199-01-01"), "--from: 2198-12-31 23:00:00 UTC is in the future"),
        (("--from", "yesterday"), "--from: found 'yesterday'; write a date like 2026-05-01"),
        (("--to", "2026-05-01T12:00:00"), "--to: found '2026-05-01T12:00:00'"),
        (("--to", "0001-01-01"), "--to: found '0001-01-01'"),
        (("--tz", "Mars/Olympus"), "--tz: there is no time zone 'Mars/Olympus'"),
        (("--tz", "Europe"), "--tz: there is no time zone 'Europe'"),
        (("--tz", ""), "--tz: there is no time zone ''"),
        (("--cursor", "5.0123456789abcdef01234567"), "the cursor is of another query"),
        (("--cursor", "x"), "'x' is not a cursor"),
        (("--limit", "0"), "--limit"),
        (("--entry", "99"), "no entry 99 of account 'acme', whose last one there is 6"),
        (("--entry", "5", "--limit", "3"), "--entry opens one entry"),
        (("--entry", "5", "--csv"), "--entry opens one entry"),
        (("--entry", "0"), "--entry"),
    ],
    ids=" ".join,
)
def test_what_can_t_be_shown_is_refused_and_nothing_changes(
    lived: Home, args: tuple[str, ...], told: str
) -> None:
    assert told in refused(lived, *STATEMENT, *args)


def test_an_account_that_is_not_archived_is_named(lived: Home) -> None:
    assert "the archive has no account 'nobody'" in refused(
        lived, "statement", "--account", "nobody"
    )


def test_a_cursor_of_another_account_or_time_is_refused(lived: Home) -> None:
    cursor = lived.invoke(*STATEMENT, "--json", "--limit", "1").json["next_cursor"]
    for args in (
        ("statement", "--account", "beta"),
        (*STATEMENT, "--from", "2026-01-01"),
        (*STATEMENT, "--oldest-first"),
    ):
        assert "the cursor is of another query" in refused(lived, *args, "--cursor", cursor)


def edit(home: Home, *statements: str) -> None:
    """Edit the archive by hand."""
    with closing(sqlite3.connect(archive_of(home))) as file:
        for statement in statements:
            file.execute(statement)
        file.commit()
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_an_entry_edited_by_hand_is_named(own: Home) -> None:
    edit(own, "UPDATE entries SET body = replace(body, 'paid', 'part') WHERE seq = 6")
    for args in ((), ("--csv",), ("--entry", "6")):
        assert "entry 6 of account 'acme' in the archive is damaged" in refused(
            own, *STATEMENT, *args
        )
    assert own.invoke(*STATEMENT, "--entry", "5").status == 0


def test_an_archive_of_a_newer_schema_is_refused(own: Home) -> None:
    edit(own, "UPDATE alembic_version SET version_num = '9999'")
    assert "has schema 9999, which a newer release made" in refused(own, *STATEMENT)


def test_the_archive_of_another_installation_is_refused(
    lived: Home, tmp_path: Path, redis_url: str
) -> None:
    other = new_home(tmp_path, redis_url, "http://127.0.0.1:9")
    other.open_account("acme")
    data_dir = load_config(other.folder / "config.yaml").data_dir
    (data_dir / "archive.db").write_bytes(archive_of(lived).read_bytes())
    told = refused(other, *STATEMENT)
    assert "is the archive of another installation: its installation key differs" in told


def test_before_anything_was_archived_nothing_is_made(tmp_path: Path, redis_url: str) -> None:
    home = new_home(tmp_path, redis_url, "http://127.0.0.1:9")
    home.open_account("acme")
    assert "nothing was archived yet" in refused(home, *STATEMENT)


@pytest.mark.long
def test_a_csv_takes_the_same_memory_however_many_entries_it_has(own: Home) -> None:
    peaks = [_peak_kb(own, lines=6)]
    fill(archive_of(own), 150_000)
    peaks.append(_peak_kb(own, lines=150_007))
    assert peaks[1] < peaks[0] + 20_000, peaks


def _peak_kb(home: Home, *, lines: int) -> int:
    """Return the peak memory of a process that prints the statement, in so many lines of CSV."""
    with subprocess.Popen(
        [sys.executable, "-c", _MEASURED, *STATEMENT, "--csv"],
        cwd=home.folder,
        env={**os.environ, **PROCESS_ENV},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = sum(1 for _ in process.stdout)
        said = process.stderr.read()
    assert (process.returncode, found) == (0, lines), said
    return int(said.split()[-1])


_MEASURED = """
import resource, sys
from runtime.cli import cli
try:
    cli(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "url, told",
    [
        ("sqlite:///garbage.db", "file is not a database"),
        ("sqlite:///missing.db", "nothing was archived yet: there is no missing.db"),
        ("sqlite:///.", "nothing was archived yet"),
        ("postgresql://127.0.0.1:1/books", "127.0.0.1:1/books can't be opened"),
    ],
)
def test_an_archive_that_can_t_be_opened_is_named(
    tmp_path: Path, redis_url: str, url: str, told: str
) -> None:
    home = new_home(tmp_path, redis_url, "http://127.0.0.1:9")
    home.open_account("acme")
    config = (tmp_path / "config.yaml").read_text("utf-8")
    home.write("config.yaml", config.replace("  url: sqlite\n", f"  url: {url}\n"))
    home.write("garbage.db", b"these are no books " * 1_000)
    assert told in refused(home, *STATEMENT)
