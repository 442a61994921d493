"""Laws 1a and 2c: journals add up to balances, and an audit names the first entry that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL

from runtime.archive.audit import Audit, Auditor, lost_entries
from runtime.credits.told import Told
from runtime.store.database import Database
from runtime.store.schema import entries
from tests.harness.archiving import KINDS, archive, url_of
from tests.harness.ledger.desk import ACCOUNT, Desk


@pytest.fixture(params=KINDS)
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The URL of an empty database; PostgreSQL's turn is in the long tests."""
    return url_of(request, tmp_path)


async def audit(desk: Desk, database: Database | None = None, told: Told | None = None) -> Audit:
    fresh = desk.another_ledger(clock_ms=lambda: desk.now_ms)
    auditor = Auditor(fresh.inspection, database, told)
    return await auditor.audit(await auditor.accounts())


async def live(desk: Desk) -> None:
    """What happens to an account: charges, expiry, a void, a late settlement, overage, exposure."""
    await desk.open(500)
    await desk.grant(300, expires_in_ms=1_000)
    await desk.grant(200)
    await desk.spend(120)
    late, reserved = await desk.reserve(100, ttl_ms=500)
    await desk.pass_time(600)
    await desk.settle(late, reserved, 90)
    await desk.pass_time(1_000)
    await desk.spend(30)
    await desk.ledger.accounts.void(ACCOUNT, "g3", reference="void", reason="a mistake")
    running, reserved = await desk.reserve(100)
    await desk.settle(running, reserved, 5_000)
    await desk.reserve(0)


async def test_law_2c_what_an_account_lived_through_replays_to_its_balance(
    desk: Desk, database: Database
) -> None:
    await live(desk)
    from_redis = await audit(desk)
    assert from_redis.balances, from_redis
    archived = await archive(desk, database)
    await desk.grant(10)
    await desk.client.xtrim(desk.key("journal"), minid=f"0-{archived + 1}", approximate=False)

    from_both = await audit(desk, database)

    assert from_both.balances, from_both
    assert from_both.entries == from_redis.entries + 1
    assert (await audit(desk)).differences[0].seq == 1, "the archive has what Redis had cut off"


async def test_law_2c_an_audit_of_what_is_due_but_not_written_yet_balances(desk: Desk) -> None:
    await desk.open(100)
    await desk.grant(50, expires_in_ms=10)
    await desk.reserve(20, ttl_ms=10)
    await desk.pass_time(1_000)
    before = await desk.state()
    assert (await audit(desk)).balances
    assert await desk.state() == before


@pytest.mark.parametrize("part", ["available", "charged"])
async def test_law_2c_credits_that_moved_without_an_entry_are_named_with_their_grant(
    desk: Desk, part: str
) -> None:
    await desk.open(100)
    await desk.spend(40)
    for key, field, places in (
        (desk.key("account"), "books", (5, 7)),
        (desk.key("grants"), "g1", (6, 8)),
    ):
        record = (await desk.client.hget(key, field)).split(b"\t")
        left, charged = (int(record[place]) for place in places)
        by = 1 if part == "available" else -1
        record[places[0]], record[places[1]] = b"%d" % (left + by), b"%d" % (charged - by)
        await desk.client.hset(key, field, b"\t".join(record))

    found = await audit(desk)

    assert not found.balances
    assert {one.seq for one in found.differences} == {4}
    assert any("grant g1: charged" in one.what for one in found.differences), found


async def test_law_2c_a_changed_entry_of_the_archive_is_the_first_difference(
    desk: Desk, database: Database
) -> None:
    await live(desk)
    await archive(desk, database)
    async with database.engine.begin() as connection:
        changed = entries.update().where(entries.c.seq == 5)
        await connection.execute(changed.values(body=entries.c.body + "x"))

    found = await audit(desk, database)

    assert [one.seq for one in found.differences] == [5]
    assert "chain" in found.differences[0].what


@pytest.mark.parametrize("column", ["left_mc", "charged_mc"])
async def test_law_2c_a_figure_beside_an_entry_that_differs_is_found(
    desk: Desk, database: Database, column: str
) -> None:
    await live(desk)
    await archive(desk, database)
    async with database.engine.begin() as connection:
        changed = entries.update().where(entries.c.seq == 6)
        await connection.execute(changed.values({column: entries.c[column] + 1}))
    assert [one.seq for one in (await audit(desk, database)).differences] == [6]


async def test_law_2c_a_removed_entry_is_missing_by_its_number(
    desk: Desk, database: Database
) -> None:
    await live(desk)
    await archive(desk, database)
    async with database.engine.begin() as connection:
        await connection.execute(entries.delete().where(entries.c.seq == 4))
    await desk.client.xtrim(desk.key("journal"), minid="0-9", approximate=False)
    found = await audit(desk, database)
    assert [one.seq for one in found.differences] == [4]
    assert "missing" in found.differences[0].what


async def test_law_1a_an_account_that_redis_lost_is_named_with_the_command(
    desk: Desk, database: Database
) -> None:
    await live(desk)
    await archive(desk, database)
    await desk.client.delete(*await desk.names())
    found = await audit(desk, database)
    assert "creditgate rebuild --account acme" in found.differences[0].what


async def test_law_1a_a_ledger_behind_the_archive_is_named_with_what_is_lost(
    desk: Desk, database: Database
) -> None:
    await live(desk)
    old = await desk.dump()
    last = (await desk.ledger.inspection.stored(ACCOUNT)).seq
    await desk.grant(10)
    await desk.grant(10)
    await archive(desk, database)
    await desk.client.delete(*await desk.names())
    for name, value in old.items():
        await desk.client.restore(name, 0, value)

    [found] = (await audit(desk, database)).differences

    assert found.seq == last + 1
    assert "2 entries are lost" in found.what


async def test_law_1a_a_fork_is_named_by_its_first_entry(desk: Desk, database: Database) -> None:
    await live(desk)
    old = await desk.dump()
    last = (await desk.ledger.inspection.stored(ACCOUNT)).seq
    await desk.grant(10)
    await archive(desk, database)
    await desk.client.delete(*await desk.names())
    for name, value in old.items():
        await desk.client.restore(name, 0, value)
    other = desk.another_ledger(clock_ms=lambda: desk.now_ms)
    await other.accounts.grant(ACCOUNT, amount_mc=77, kind="plan", reference="another branch")
    await other.accounts.grant(ACCOUNT, amount_mc=78, kind="plan", reference="its second")

    found = await audit(desk, database)

    assert found.differences[0].seq == last + 1, found


async def test_law_1a_what_a_process_was_told_and_is_lost_is_named_by_its_range(
    desk: Desk, database: Database
) -> None:
    told = Told()

    def hear(account_id: str, text: bytes) -> None:
        epoch, seq, chain = text.decode().split("\t")
        epochs = told.points.setdefault(account_id, {})
        epochs.setdefault(epoch, set()).add((int(seq), chain))

    desk.ledger.tell_to(hear)
    await desk.open(1_000)
    await desk.spend(10)
    assert (await audit(desk, database, told)).balances
    old = await desk.dump()
    kept = (await desk.ledger.inspection.stored(ACCOUNT)).seq
    for _ in range(3):
        await desk.spend(10)
    await desk.client.delete(*await desk.names())
    for name, value in old.items():
        await desk.client.restore(name, 0, value)

    [lost] = (await audit(desk, database, told)).lost
    assert (lost.first_seq, lost.last_seq, lost.count) == (kept + 1, kept + 3, 3)

    # Somebody else went on, then an operator accepted it: the same entries are lost.
    other = desk.another_ledger(clock_ms=lambda: desk.now_ms)
    for number in range(5):
        await other.accounts.grant(ACCOUNT, amount_mc=1, kind="plan", reference=f"new {number}")
    await other.repairs.accept_loss(ACCOUNT, reason="a failover", actor="ann")
    assert (await audit(desk, database, told)).lost == [lost]


def test_law_1a_where_nothing_is_known_to_be_kept_the_loss_begins_behind_the_ledger() -> None:
    told = {"e1": {(9, "aa"), (10, "bb")}}
    [lost] = lost_entries("acme", told, {}, last_seq=6)
    assert (lost.first_seq, lost.last_seq) == (7, 10)
    [lost] = lost_entries("acme", told, {9: "xx", 10: "yy"}, last_seq=20)
    assert (lost.first_seq, lost.last_seq) == (9, 10)
    [lost] = lost_entries("acme", told, {9: "aa", 10: "yy"}, last_seq=20)
    assert (lost.first_seq, lost.last_seq) == (10, 10)
    assert lost_entries("acme", told, {9: "aa", 10: "bb"}, last_seq=20) == []


def test_law_1a_what_others_wrote_in_place_of_lost_entries_does_not_hide_them() -> None:
    # Kept up to 4; 5 to 9 are lost, and somebody who was not told of them wrote 5 to 7 anew.
    told = {"e1": {(4, "aa"), (6, "bb"), (9, "cc"), (7, "zz")}}
    [lost] = lost_entries("acme", told, {4: "aa", 6: "yy", 7: "zz"}, last_seq=7)
    assert (lost.first_seq, lost.last_seq) == (5, 9)
