"""What Redis lost after it was archived comes to light, and stops that account alone."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import select

from runtime.credits.results import AccountStopped
from runtime.store.schema import accounts, forks
from tests.harness.archive import ArchiveDesk, fill

pytestmark = pytest.mark.parametrize(
    "archive_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True
)


async def lost(desk: ArchiveDesk, *, archived: int, lost_of_them: int) -> list[str]:
    """Archive executions, of which the ledger then loses some; return what was archived."""
    await fill(desk.ledger, "acme", archived - lost_of_them)
    before = await desk.snapshot("acme")
    await fill(desk.ledger, "acme", lost_of_them, first=1_000)
    await desk.copier().run_once()
    await desk.lose_since("acme", before)
    return await desk.archived("acme")


@pytest.mark.parametrize("written_since", [1, 10, 15], ids=["fewer", "as many", "more"])
async def test_entries_in_the_place_of_archived_ones_are_a_fork(
    archive_desk: ArchiveDesk, caplog: pytest.LogCaptureFixture, written_since: int
) -> None:
    desk = archive_desk
    archived = await lost(desk, archived=30, lost_of_them=10)
    await fill(desk.ledger, "acme", written_since, first=2_000)
    first = len(archived) - 10 + 1
    branch = (await desk.in_redis("acme"))[first - 1 :]
    assert len(branch) == written_since
    await fill(desk.ledger, "beta", 5)

    with caplog.at_level(logging.ERROR, logger="creditgate.archive"):
        found = await desk.copier().run_once()

    assert f"account acme has forked at entry {first}" in caplog.text
    assert list(found.left) == ["acme"]
    assert f"journal entry 0-{first} is archived with other content" in found.left["acme"]
    assert [account_id for account_id, _ in desk.stopped] == ["acme"]
    kept = await desk.rows(select(forks.c.seq, forks.c.body).order_by(forks.c.seq))
    assert [tuple(row) for row in kept] == list(enumerate(branch, first))
    assert await desk.archived("acme") == archived, "what was archived stays"
    assert await desk.in_redis("acme") != [], "and nothing of the other branch is trimmed"
    assert await desk.in_redis("beta") == [], "other accounts go on"
    with pytest.raises(AccountStopped, match=f"0-{first}"):
        await fill(desk.ledger, "acme", 1, first=3_000)


async def test_a_ledger_behind_its_archive_is_a_fork_before_it_writes(
    archive_desk: ArchiveDesk,
) -> None:
    desk = archive_desk
    archived = await lost(desk, archived=20, lost_of_them=5)
    found = await desk.copier().run_once()
    assert f"journal entry 0-{len(archived) - 5 + 1}" in found.left["acme"]
    assert [account_id for account_id, _ in desk.stopped] == ["acme"]


async def test_a_forked_account_is_left_alone_until_it_is_repaired(
    archive_desk: ArchiveDesk,
) -> None:
    desk = archive_desk
    await lost(desk, archived=20, lost_of_them=5)
    copying = desk.copier()
    await copying.run_once()
    found = await copying.run_once()
    assert "creditgate repair fork" in found.left["acme"]
    assert len(desk.stopped) == 1
    assert await desk.rows(select(accounts.c.account_id, accounts.c.state)) == [("acme", "forked")]


async def test_a_copier_that_is_killed_at_a_fork_is_followed_by_one_that_finds_it(
    archive_desk: ArchiveDesk,
) -> None:
    desk = archive_desk
    await lost(desk, archived=20, lost_of_them=5)
    await fill(desk.ledger, "acme", 3, first=2_000)

    class Killed(BaseException):
        pass

    async def stop(account_id: str, why: str) -> None:
        raise Killed

    copying = desk.copier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.ledger.repairs, "stop", stop)
        patch.setattr(ArchiveDesk, "_stop", lambda self, account_id, why: stop(account_id, why))
        with pytest.raises(Killed):
            await desk.copier().run_once()
    assert "acme" in (await copying.run_once()).left
    assert len(await desk.rows(select(forks))) == 3


async def test_entries_that_neither_side_has_are_named(archive_desk: ArchiveDesk) -> None:
    desk = archive_desk
    await fill(desk.ledger, "acme", 20)
    await fill(desk.ledger, "beta", 20)
    await desk.client.xtrim(desk.key("journal", "acme"), minid="0-11", approximate=False)
    found = await desk.copier().run_once()
    assert "journal entries 0-1 to 0-10 are in neither ledger nor archive" in found.left["acme"]
    assert desk.stopped == [], "nothing is wrong with the ledger"
    assert list(found.left) == ["acme"]
