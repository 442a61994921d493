"""Laws 1a and 2c on each kind of server: audited, lost, made again, audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.archive.audit import Auditor
from runtime.archive.rebuild import Rebuilder
from runtime.credits.ledger import CreditLedger
from runtime.credits.rebuilding import RebuildRefused
from runtime.credits.results import Existing
from runtime.store.database import database_url, open_database
from tests.harness.archiving import archive
from tests.harness.ledger.desk import ACCOUNT, Desk


def fresh_of(desk: Desk) -> CreditLedger:
    """Another process's ledger, which was told nothing yet."""
    return desk.another_ledger(clock_ms=lambda: desk.now_ms)


async def test_law_2c_accounts_are_audited_and_made_again_on_every_kind_of_server(
    desk: Desk, tmp_path: Path
) -> None:
    names = ("acme", "beta", "gamma")
    async with open_database(database_url(f"sqlite:///{tmp_path}/archive.db")) as database:
        for name in names:
            await desk.open(1_000, account_id=name)
            attempt, reserved = await desk.reserve(100, desk.attempt("one:1:1", account_id=name))
            await desk.settle(attempt, reserved, 60)
        auditor = Auditor(desk.ledger.inspection, database)
        assert await auditor.accounts() == list(names)
        for name in names:
            await archive(desk, database, name)
        assert (await auditor.audit(names)).balances
        for key in await desk.names():
            await desk.client.delete(key)

        fresh = fresh_of(desk)
        rebuilder = Rebuilder(fresh, database, lambda: desk.now_ms)
        done = await rebuilder.rebuild_all(reason="a loss", actor="ann")

        assert [(one.account_id, one.outcomes) for one in done.rebuilt] == [(n, 1) for n in names]
        found = await Auditor(fresh.inspection, database).audit(names)
        assert found.balances, found
        for name in names:
            again = desk.attempt("one:1:1", account_id=name)
            assert await fresh.reserve(again, 100, 1_000) == Existing("settled", 60, 0, None, b"")
            # A process that knew the account before the loss goes on.
            assert (await desk.grant(1, account_id=name)).new


async def test_law_1a_an_account_that_is_there_or_ahead_of_the_archive_is_not_thrown_away(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    names = [name.decode() for name in await desk.names()]
    before = await desk.contents(names)
    rebuilding = fresh_of(desk).rebuilding(ACCOUNT)
    with pytest.raises(RebuildRefused, match="sound"):
        await rebuilding.begin(archived_seq=2)
    assert await desk.contents(names) == before
    await desk.client.delete(desk.key("refs"), desk.key("account"))
    with pytest.raises(RebuildRefused, match="archive up to 1"):
        await rebuilding.begin(archived_seq=1)
    assert len(await desk.journal()) == 2, "what only Redis has is still there"
    await rebuilding.begin(archived_seq=2)
    assert await desk.journal() == []


async def test_law_2c_what_is_due_and_not_written_yet_is_no_part_of_what_is_stored(
    desk: Desk,
) -> None:
    await desk.open(100)
    await desk.grant(50, expires_in_ms=10)
    await desk.pass_time(1_000)
    assert (await desk.ledger.inspection.stored(ACCOUNT)).parts_mc["expired"] == 0
    assert (await desk.balance()).expired_mc == 50
    stored = await desk.ledger.inspection.stored(ACCOUNT)
    assert stored.grants["g2"].available_mc == 50
