"""Law 2c on each kind of server: audited, lost, made again, audited."""

from __future__ import annotations

from pathlib import Path

from runtime.archive.audit import Auditor
from runtime.archive.rebuild import Rebuilder
from runtime.credits.results import Existing
from runtime.store.database import database_url, open_database
from tests.harness.archiving import archive
from tests.harness.ledger.desk import Desk


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

        fresh = desk.another_ledger(clock_ms=lambda: desk.now_ms)
        rebuilder = Rebuilder(fresh, database, lambda: desk.now_ms)
        done = await rebuilder.rebuild_all(reason="a loss", actor="ann")

        assert [(one.account_id, one.outcomes) for one in done.rebuilt] == [(n, 1) for n in names]
        found = await Auditor(fresh.inspection, database).audit(names)
        assert found.balances, found
        for name in names:
            again = desk.attempt("one:1:1", account_id=name)
            assert await fresh.reserve(again, 100, 1_000) == Existing("settled", 60, 0, None, b"")
