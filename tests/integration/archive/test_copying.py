"""What is archived is what the ledger wrote, once, and Redis is trimmed behind it."""

from __future__ import annotations

import asyncio
from unittest import mock

from sqlalchemy import func, select

from runtime.archive import copier
from runtime.store.schema import accounts, dimensions, entries
from tests.harness.archive import ArchiveDesk, fill


async def test_every_entry_is_archived_byte_for_byte_and_trimmed(archive_desk: ArchiveDesk) -> None:
    desk = archive_desk
    for account_id in ("acme", "beta"):
        await fill(desk.ledger, account_id, 200)
    written = {name: await desk.in_redis(name) for name in ("acme", "beta")}

    archived = await desk.copier().run_once()

    assert (archived.left, archived.accounts) == ({}, 2)
    assert archived.entries == sum(map(len, written.values()))
    for account_id, expected in written.items():
        assert await desk.archived(account_id) == expected
        assert await desk.in_redis(account_id) == []


async def test_later_entries_are_added_behind_the_earlier_ones(archive_desk: ArchiveDesk) -> None:
    desk, copying = archive_desk, archive_desk.copier()
    written = []
    for first in (0, 50, 100):
        await fill(desk.ledger, "acme", 50, first=first)
        written += await desk.in_redis("acme")
        assert (await copying.run_once()).accounts == 1
    assert await desk.archived("acme") == written
    assert (await copying.run_once()).entries == 0


async def test_a_row_says_what_was_charged_and_what_was_left(archive_desk: ArchiveDesk) -> None:
    desk = archive_desk
    charged_mc = await fill(desk.ledger, "acme", 40, granted_mc=1_000_000)
    await desk.copier().run_once()
    [(total_mc,)] = await desk.rows(select(func.sum(entries.c.charged_mc)))
    assert total_mc == charged_mc
    last = select(entries.c.left_mc).order_by(entries.c.seq.desc()).limit(1)
    assert await desk.rows(last) == [(1_000_000 - charged_mc,)]
    assert await desk.rows(select(accounts.c.left_mc)) == [(1_000_000 - charged_mc,)]
    [named] = await desk.rows(select(dimensions))
    assert tuple(named)[1:] == (1, "retail", "welcome", "route", "v1", "writer", "live")


async def test_the_ledger_learns_how_far_it_is_archived(archive_desk: ArchiveDesk) -> None:
    desk = archive_desk
    await fill(desk.ledger, "acme", 20)
    written = len(await desk.in_redis("acme"))
    await desk.copier().run_once()
    told = await desk.client.hget(desk.key("account", "acme"), "archived")
    assert int(told) == written


async def test_what_is_written_while_it_is_archived_stays_for_the_next_round(
    archive_desk: ArchiveDesk,
) -> None:
    desk, written = archive_desk, 0
    copying = desk.copier()
    filling = asyncio.create_task(fill(desk.ledger, "acme", 400))
    while not filling.done():
        written += (await copying.run_once()).entries
        await asyncio.sleep(0.01)
    written += (await copying.run_once()).entries
    bodies = await desk.archived("acme")
    assert len(bodies) == written == len(set(bodies))
    balance = await desk.ledger.accounts.balance("acme")
    assert [body.split("\t")[2] for body in bodies].count("s") == 360
    assert balance.charged_mc == await filling == 360_000


async def test_two_archivers_at_once_archive_everything_once(archive_desk: ArchiveDesk) -> None:
    desk = archive_desk
    names = [f"account-{number}" for number in range(12)]
    for name in names:
        await fill(desk.ledger, name, 40)
    written = {name: await desk.in_redis(name) for name in names}
    with mock.patch.object(copier, "BATCH_ENTRIES", 50):
        found = await asyncio.gather(*(desk.copier().run_once() for _ in range(3)))
    assert sum(archived.entries for archived in found) == sum(map(len, written.values()))
    for name, expected in written.items():
        assert await desk.archived(name) == expected
        assert await desk.in_redis(name) == []


async def test_an_archiver_that_ended_before_it_trimmed_is_followed_by_one_that_does(
    archive_desk: ArchiveDesk,
) -> None:
    desk = archive_desk
    await fill(desk.ledger, "acme", 30)
    written = await desk.in_redis("acme")
    before = await desk.snapshot("acme")
    await desk.copier().run_once()
    await desk.lose_since("acme", before)  # as it was before the trimming

    archived = await desk.copier().run_once()

    assert (archived.entries, archived.left, desk.stopped) == (0, {}, [])
    assert await desk.in_redis("acme") == []
    assert await desk.archived("acme") == written


async def test_one_account_is_archived_alone(archive_desk: ArchiveDesk) -> None:
    desk = archive_desk
    for account_id in ("acme", "beta"):
        await fill(desk.ledger, account_id, 10)
    await desk.copier().archive_account("acme")
    assert await desk.in_redis("acme") == []
    assert await desk.in_redis("beta") != []
    assert await desk.archived("beta") == []


async def test_the_lag_is_told_by_account_and_in_all(archive_desk: ArchiveDesk) -> None:
    desk, copying = archive_desk, archive_desk.copier()
    await fill(desk.ledger, "acme", 10)
    await fill(desk.ledger, "beta", 30)
    await copying.archive_account("beta")
    lag = await copying.lag()
    waiting = len(await desk.in_redis("acme"))
    assert [(one.account_id, one.entries) for one in lag.accounts] == [("acme", waiting)]
    assert lag.entries == waiting
    assert 0 <= lag.seconds < 60
    await copying.run_once()
    assert await copying.lag() == type(lag)(())
