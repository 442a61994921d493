"""Statements of what a real ledger wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pricing.offers import GrantKind
from runtime.archive.copier import Copier
from runtime.archive.errors import CursorRefused, EntryDamaged, NotArchived
from runtime.archive.lines import StatementKind, StatementLine
from runtime.archive.statement import Statements
from runtime.credits.caps import Cap
from runtime.credits.endings import Release
from runtime.credits.journal import chain_of
from runtime.store.database import Database
from runtime.wording.statement import entry_text
from tests.harness.archives import archive, open_file, open_pages
from tests.harness.ledger.desk import ACCOUNT, START_MS, Desk

DAY_MS = 86_400_000


async def live_eventfully(desk: Desk) -> None:
    """Have one entry of nearly each kind."""
    accounts = desk.ledger.accounts
    await accounts.open_account(ACCOUNT, plan="growth", timezone="Europe/Berlin")
    await desk.grant(500, reference="spring", expires_in_ms=DAY_MS)
    await desk.grant(10_000, kind=GrantKind.PURCHASED, reference="invoice-7", actor="sue")
    await desk.grant(250, kind=GrantKind.ADJUSTMENT, reference="sorry", expires_in_ms=DAY_MS)
    await desk.pass_time(1_000)
    await accounts.set_cap(
        ACCOUNT, Cap("day", workspace_id="re;tail"), limit_mc=9_000_000, reference="cap-1"
    )
    await accounts.switch_off(ACCOUNT, action="other", reference="off-1")
    await accounts.change_plan(ACCOUNT, plan="growth", reference="plan-1")
    attempt, reserved = await desk.reserve(900)
    await desk.pass_time(250)
    await desk.settle(attempt, reserved, 700)
    attempt, _ = await desk.reserve(300)
    await desk.ledger.release(Release(attempt))
    await desk.pass_time(2 * DAY_MS)
    await desk.grant(50, reference="late")
    await accounts.void(ACCOUNT, grant_id="g4", reference="v-1", reason="wrong; sorry")
    await desk.ledger.repairs.accept_loss(ACCOUNT, reason="restored", actor="ops")


async def all_lines(statements: Statements, **window: int | None) -> list[StatementLine]:
    return [line async for line in statements.lines(ACCOUNT, newest_first=False, **window)]


async def test_each_line_says_what_it_was_and_what_was_left_after_it(
    desk: Desk, tmp_path: Path
) -> None:
    await live_eventfully(desk)
    await archive(desk, tmp_path / "a.db")
    async with open_pages(tmp_path / "a.db") as statements:
        lines = await all_lines(statements)
        account = await statements.account(ACCOUNT)
    told = [(line.what.value, entry_text(line.entry)) for line in lines]
    assert told == [
        ("account", "account opened with plan growth, time zone Europe/Berlin"),
        ("grant", "promotional grant g1, expires 2096-10-03 07:06 UTC"),
        ("purchase", "purchase, g2"),
        ("adjustment", "adjustment, g3, expires 2096-10-03 07:06 UTC"),
        ("cap", "cap set: 9,000 credits a day for workspace re;tail"),
        ("switch", "switched off: action other"),
        ("plan change", "plan changed to growth"),
        ("execution", "execution of route in welcome"),
        ("execution", "execution of route in welcome without an answer"),
        ("expiry", "expiry of grant g3"),
        ("grant", "promotional grant g4"),
        ("void", "void of what was left of grant g4: wrong; sorry"),
        ("repair", "repair: went on after writes were lost: restored"),
    ]
    balance = await desk.balance()
    assert lines[-1].left_mc == balance.available_mc == account.left_mc
    left_mc = 0
    for line in lines:
        left_mc += line.change_mc
        assert line.left_mc == left_mc
    assert account.timezone == "Europe/Berlin"
    assert {line.what for line in lines} >= set(StatementKind) - {StatementKind.NAME}


async def test_a_charge_names_the_grants_that_paid_and_all_that_the_journal_knows(
    desk: Desk, tmp_path: Path
) -> None:
    await live_eventfully(desk)
    await archive(desk, tmp_path / "a.db")
    async with open_pages(tmp_path / "a.db") as statements:
        [charge] = [line for line in await all_lines(statements) if line.charged_mc]
        assert await statements.entry(ACCOUNT, charge.seq) == charge
    paid = [(p.grant_id, p.kind, p.reference, p.amount_mc) for p in charge.payments]
    assert paid == [("g1", "promotional", "spring", 500), ("g3", "adjustment", "sorry", 200)]
    assert (charge.reserved_mc, charge.charged_mc, charge.change_mc) == (900, 700, -700)
    assert charge.reserved_at is not None
    assert (charge.at - charge.reserved_at).total_seconds() == 0.25
    assert charge.tokens is not None
    assert (charge.tokens.input_tokens, charge.tokens.reasoning_tokens) == (120, 10)
    assert charge.entry.rate_card_version == "2026-01"
    assert charge.dimensions is not None
    assert charge.dimensions.model == "writer"


async def test_pages_stay_where_they_are_while_entries_are_added(
    desk: Desk, tmp_path: Path
) -> None:
    await live_eventfully(desk)
    path = tmp_path / "a.db"
    await archive(desk, path)
    for newest_first in (True, False):
        async with open_pages(path) as statements:
            whole = await all_lines(statements)
            expected = [line.seq for line in whole][:: -1 if newest_first else 1]
            found: list[int] = []
            cursor: str | None = None
            while True:
                page = await statements.page(
                    ACCOUNT, limit=2, cursor=cursor, newest_first=newest_first
                )
                found += [line.seq for line in page.lines]
                cursor = page.next_cursor
                if cursor is None:
                    break
                await desk.spend(1)
                await archive(desk, path)
        assert found[: len(expected)] == expected
        assert newest_first == (len(found) == len(expected))


async def test_a_window_of_time_has_the_entries_written_in_it(desk: Desk, tmp_path: Path) -> None:
    await live_eventfully(desk)
    await archive(desk, tmp_path / "a.db")
    async with open_pages(tmp_path / "a.db") as statements:
        whole = await all_lines(statements)
        edges = [None, START_MS, START_MS + 1, START_MS + 1_000, START_MS + 3 * DAY_MS, 2**52]
        for since in edges:
            for until in edges:
                if since is not None and until is not None and since >= until:
                    with pytest.raises(ValueError, match="ends before it begins"):
                        await all_lines(statements, from_ms=since, to_ms=until)
                    continue
                found = await all_lines(statements, from_ms=since, to_ms=until)
                assert found == [
                    line
                    for line in whole
                    if (since or 0) <= line.entry.at_ms < (2**60 if until is None else until)
                ]


async def test_a_window_is_right_though_a_repair_set_the_clock_back(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.open(100)
    await desk.set_clock(START_MS + DAY_MS)
    await desk.grant(5)
    await desk.set_clock(START_MS + 10)
    await desk.ledger.repairs.repair_clock(ACCOUNT, reason="it was wrong", actor="ops")
    await desk.grant(7)
    await archive(desk, tmp_path / "a.db")
    async with open_pages(tmp_path / "a.db") as statements:
        early = await all_lines(statements, to_ms=START_MS + DAY_MS)
        late = await all_lines(statements, from_ms=START_MS + DAY_MS)
        whole = await all_lines(statements)
    assert [line.change_mc for line in early] == [0, 100, 0, 7]
    assert [line.change_mc for line in late] == [5]
    assert len(whole) == 5


async def test_a_cursor_of_anything_else_is_refused(desk: Desk, tmp_path: Path) -> None:
    await desk.open(1, 2, 3)
    await desk.open(1, 2, 3, account_id="beta")
    await archive(desk, tmp_path / "a.db", ACCOUNT, "beta")
    async with open_file(tmp_path / "a.db") as database:
        statements, elsewhere = Statements(database, "here"), Statements(database, "elsewhere")
        cursor = (await statements.page(ACCOUNT, limit=1)).next_cursor
        assert cursor is not None
        assert (await statements.page(ACCOUNT, limit=2, cursor=cursor)).lines
        changed = cursor.replace(cursor[0], "2" if cursor[0] == "1" else "1", 1)
        for asked in (
            statements.page("beta", cursor=cursor),
            statements.page(ACCOUNT, cursor=cursor, from_ms=1),
            statements.page(ACCOUNT, cursor=cursor, to_ms=2**52),
            statements.page(ACCOUNT, cursor=cursor, newest_first=False),
            elsewhere.page(ACCOUNT, cursor=cursor),
            statements.page(ACCOUNT, cursor=changed),
        ):
            with pytest.raises(CursorRefused, match="is of another query"):
                await asked
        for nonsense in ("0; DROP TABLE entries", "", "5", f"{cursor} "):
            with pytest.raises(CursorRefused, match="is not a cursor"):
                await statements.page(ACCOUNT, cursor=nonsense)


EDITS = (
    ("UPDATE entries SET body = replace(body, ':500', ':900') WHERE seq = 2", 2, "its chain"),
    ("UPDATE entries SET body = 'x', kind = 'x' WHERE seq = 4", 4, "its chain"),
    ("UPDATE entries SET chain = 'abcdefabcdef' WHERE seq = 3", 3, "its chain"),
    ("UPDATE entries SET left_mc = left_mc + 1 WHERE seq = 5", 5, "running balance"),
    ("UPDATE entries SET at_ms = at_ms - 1 WHERE seq = 3", 3, "its time"),
    ("DELETE FROM entries WHERE seq = 5", 5, "missing"),
    ("DELETE FROM entries WHERE seq = (SELECT seq FROM accounts)", -1, "missing"),
    ("DELETE FROM dimensions", 9, "KeyError"),
)


async def test_an_entry_edited_by_hand_is_named_by_account_and_sequence(
    desk: Desk, tmp_path: Path
) -> None:
    await live_eventfully(desk)
    await archive(desk, tmp_path / "a.db")
    last = (await desk.balance()).journal_seq
    async with open_file(tmp_path / "a.db") as database:
        statements = Statements(database, "here")
        for edit, seq, why in EDITS:
            named = last if seq < 0 else seq
            async with edited(database, edit):
                with pytest.raises(EntryDamaged, match=why) as raised:
                    await all_lines(statements)
            assert (raised.value.account_id, raised.value.seq) == (ACCOUNT, named), edit
            assert f"entry {named} of account 'acme'" in str(raised.value)
        assert len(await all_lines(statements)) == 13


SAVE = (
    "CREATE TABLE saved_entries AS SELECT * FROM entries",
    "CREATE TABLE saved_dimensions AS SELECT * FROM dimensions",
)
RESTORE = (
    "DELETE FROM entries",
    "DELETE FROM dimensions",
    "INSERT INTO entries SELECT * FROM saved_entries",
    "INSERT INTO dimensions SELECT * FROM saved_dimensions",
    "DROP TABLE saved_entries",
    "DROP TABLE saved_dimensions",
)


@asynccontextmanager
async def edited(database: Database, edit: str) -> AsyncIterator[None]:
    """Edit the archive by hand, see that nothing else changes it, and undo the edit."""

    async def run(*statements: str) -> list[Any]:
        async with database.engine.begin() as connection:
            found = [await connection.exec_driver_sql(statement) for statement in statements]
            return [one.all() if one.returns_rows else one.rowcount for one in found]

    await run(*SAVE)
    assert await run(edit) == [1], edit
    before = await run("SELECT * FROM entries", "SELECT * FROM dimensions")
    yield
    assert await run("SELECT * FROM entries", "SELECT * FROM dimensions") == before
    await run(*RESTORE)


async def test_an_entry_that_continues_the_chain_but_can_t_be_read_is_named(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.open(5)
    path = tmp_path / "a.db"
    await archive(desk, path)
    with sqlite3.connect(path) as file:
        rows = file.execute("SELECT chain, body FROM entries ORDER BY seq").fetchall()
    file.close()
    (first, _), (second, granted) = rows
    for old, new, why in (
        ("promotional", "gift", "its detail"),
        ("\t", " ", "0-2"),
        ("2\t", "9\t", "newer release"),
    ):
        body = granted.replace(old, new, 1 if new == "9\t" else -1)
        chain = chain_of(first, body)
        assert chain != second
        with sqlite3.connect(path) as file:
            file.execute("UPDATE entries SET body = ?, chain = ? WHERE seq = 2", (body, chain))
            file.execute("UPDATE accounts SET chain = ?", (chain,))
        file.close()
        async with open_pages(path) as statements:
            with pytest.raises(EntryDamaged, match=why) as raised:
                await statements.page(ACCOUNT)
        assert raised.value.seq == 2


async def test_what_is_not_archived_is_said_so(desk: Desk, tmp_path: Path) -> None:
    await desk.open(5)
    await archive(desk, tmp_path / "a.db")
    async with open_pages(tmp_path / "a.db") as statements:
        with pytest.raises(NotArchived, match="no account 'nobody'"):
            await statements.page("nobody")
        with pytest.raises(NotArchived, match=r"no entry 3 of account 'acme', whose last one .* 2"):
            await statements.entry(ACCOUNT, 3)
        for limit in (0, 10_001, True, "5"):
            with pytest.raises(ValueError, match="limit: found"):
                await statements.page(ACCOUNT, limit=limit)  # type: ignore[arg-type]  # the point


async def test_both_databases_tell_the_same_of_a_ledger(desk: Desk, database: Database) -> None:
    await live_eventfully(desk)
    copier = Copier(database, desk.client, desk.keys, timeout_ms=10_000)
    assert not (await copier.archive_account(ACCOUNT)).left
    statements = Statements(database, "here")
    whole = await all_lines(statements)
    assert whole[-1].left_mc == (await desk.balance()).available_mc
    [charge] = [line for line in whole if line.charged_mc]
    assert [payment.reference for payment in charge.payments] == ["spring", "sorry"]
    page = await statements.page(ACCOUNT, limit=5)
    rest = await statements.page(ACCOUNT, limit=50, cursor=page.next_cursor)
    assert [*page.lines, *rest.lines] == whole[::-1]
    assert page.account.timezone == "Europe/Berlin"
    for edge in (START_MS, START_MS + 1_000, START_MS + 1_250):
        before = await all_lines(statements, to_ms=edge)
        assert [*before, *await all_lines(statements, from_ms=edge)] == whole
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE entries SET left_mc = left_mc + 1 WHERE seq = 5"))
    with pytest.raises(EntryDamaged, match="entry 5 of account 'acme'"):
        await all_lines(statements)
