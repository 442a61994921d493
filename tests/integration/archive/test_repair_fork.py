"""Laws 1a, 2c and 3c: a fork is resolved, and what the lost branch had is booked again, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, func, select

from runtime.archive.audit import Auditor
from runtime.archive.booking_again import BookingAgain, ForkRepair
from runtime.archive.errors import NotArchived
from runtime.archive.repair_fork import ForkRepairer
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import AccountStopped, Existing
from runtime.store.database import Database
from runtime.store.schema import accounts, dimensions, entries, forks, movements, usage
from tests.harness.archiving import KINDS, archive, url_of
from tests.harness.ledger.desk import ACCOUNT, Desk

WHO = {"reason": "a failover", "actor": "ann"}


@pytest.fixture(params=KINDS)
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The URL of an empty database; PostgreSQL's turn is in the long tests."""
    return url_of(request, tmp_path)


def fresh(desk: Desk) -> CreditLedger:
    """Another process's ledger, which was told nothing yet."""
    return desk.another_ledger(clock_ms=lambda: desk.now_ms)


async def repair(desk: Desk, database: Database, **changes: Any) -> ForkRepair | None:
    return await ForkRepairer(fresh(desk), database).repair(ACCOUNT, **WHO | changes)


async def spend(desk: Desk, name: str, cost_mc: int, **of: Any) -> Any:
    attempt, reserved = await desk.reserve(cost_mc, desk.attempt(name, **of))
    return await desk.settle(attempt, reserved, cost_mc, outcome=b"the answer")


async def fail_over(desk: Desk, old: dict[bytes, bytes | None]) -> None:
    """Bring a server into service that has what there was at another moment."""
    await desk.client.delete(*await desk.names())
    for name, value in old.items():
        await desk.client.restore(name, 0, value)
    desk.ledger = fresh(desk)


async def fork(desk: Desk, database: Database, *, behind: bool = False) -> int:
    """Have an account fork; return the sequence of the last entry that both branches have."""
    await desk.open(1_000)
    await spend(desk, "common:1", 100)
    await archive(desk, database)
    await spend(desk, "common:2", 10)
    old = await desk.dump()
    common = (await desk.ledger.inspection.stored(ACCOUNT)).seq
    await desk.grant(500, reference="payment 1", actor="bob")
    await desk.grant(60, reference="payment 2")
    await desk.ledger.accounts.void(ACCOUNT, "g3", reference="void 1", reason="chargeback")
    await spend(desk, "lost:1", 30, campaign_id="winback")
    await spend(desk, "both:1", 40)
    await desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="plan 1")
    await archive(desk, database)
    await fail_over(desk, old)
    if not behind:
        await desk.grant(7, reference="new branch")
        await spend(desk, "both:1", 41)
        await spend(desk, "new:1", 5)
    await archive(desk, database)
    return common


async def assert_sums(database: Database) -> None:
    """Roll-ups say what the entries say."""
    async with database.connect() as connection:
        charged = select(func.sum(entries.c.charged_mc))
        rolled = select(func.sum(usage.c.charged_mc)).where(usage.c.quarters == 1)
        assert (await connection.execute(charged)).scalar() == (
            await connection.execute(rolled)
        ).scalar()
        left = select(func.sum(movements.c.amount_mc)).where(movements.c.parts == "na")
        assert int((await connection.execute(left)).scalar() or 0) == 1_000 + 7 + 500 + 60
        named = select(func.count()).select_from(dimensions)
        of_entries = select(func.count()).where(entries.c.kind == "n")
        assert (await connection.execute(named)).scalar() == (
            await connection.execute(of_entries)
        ).scalar()


async def test_law_2c_a_fork_is_resolved_with_journaled_corrections(
    desk: Desk, database: Database
) -> None:
    common = await fork(desk, database)
    with pytest.raises(AccountStopped):
        await desk.grant(1)
    before = await desk.contents([name.decode() for name in await desk.names()])
    would = await repair(desk, database, dry_run=True)
    assert would is not None
    assert (would.common_seq, would.grants, would.voids, would.charges) == (common, 2, 1, 2)
    assert await desk.contents([name.decode() for name in await desk.names()]) == before

    done = await repair(desk, database)

    assert done is not None
    assert (done.common_seq, done.grants, done.voids) == (common, 2, 1)
    assert (done.charges, done.charged_mc, done.overage_mc) == (1, 30, 0)
    assert len(done.left) == 2
    assert "another outcome" in done.left[0]
    assert "41 mc" in done.left[0]
    assert "a change of plan under the reference 'plan 1'" in done.left[1]
    balance = await fresh(desk).accounts.balance(ACCOUNT)
    assert balance.charged_mc == 100 + 10 + 41 + 5 + 30
    assert balance.granted_mc == 1_000 + 7 + 500 + 60
    assert balance.voided_mc == 60
    assert balance.exposure_mc == 40, "a call that was made and is not charged"
    assert [grant.reference for grant in balance.grants if grant.voided_mc] == ["payment 2"]
    await archive(desk, database)
    found = await Auditor(fresh(desk).inspection, database).audit([ACCOUNT])
    assert found.balances, found
    await assert_sums(database)
    async with database.connect() as connection:
        kept = (await connection.execute(select(forks).order_by(forks.c.seq))).all()
        state = (await connection.execute(select(accounts.c.state))).scalar()
    assert [row.seq for row in kept] == [*range(common + 1, common + 1 + done.lost)]
    assert all(row.resolved_ms for row in kept)
    assert state == "open"
    assert await repair(desk, database) is None, "nothing is left to be done"


async def test_law_3c_an_execution_of_the_lost_branch_is_not_charged_a_second_time(
    desk: Desk, database: Database
) -> None:
    await fork(desk, database)
    await repair(desk, database)
    again = await fresh(desk).reserve(desk.attempt("lost:1", campaign_id="winback"), 30, 1_000)
    assert again == Existing("settled", 30, 0, None, b"")


async def test_law_3d_what_was_lost_is_not_booked_again_where_somebody_did_so_before(
    desk: Desk, database: Database
) -> None:
    await fork(desk, database)
    await fresh(desk).repairs.resume(ACCOUNT, **WHO)
    await desk.grant(500, reference="payment 1")
    await spend(desk, "lost:1", 30, campaign_id="winback")
    done = await repair(desk, database)
    assert done is not None
    assert (done.grants, done.charges) == (1, 0)
    assert (await fresh(desk).accounts.balance(ACCOUNT)).granted_mc == 1_000 + 7 + 500 + 60
    await archive(desk, database)
    found = await Auditor(fresh(desk).inspection, database).audit([ACCOUNT])
    assert found.balances, found


async def test_law_1a_a_ledger_that_is_only_behind_gets_back_what_it_lost(
    desk: Desk, database: Database
) -> None:
    common = await fork(desk, database, behind=True)
    done = await repair(desk, database)
    assert done is not None
    assert (done.common_seq, done.grants, done.voids, done.charges) == (common, 2, 1, 2)
    balance = await fresh(desk).accounts.balance(ACCOUNT)
    assert balance.charged_mc == 100 + 10 + 30 + 40
    await archive(desk, database)
    found = await Auditor(fresh(desk).inspection, database).audit([ACCOUNT])
    assert found.balances, found


@pytest.mark.parametrize("broken_off", ["_go_on", "_book", "_resolve"])
async def test_law_3c_a_repair_that_was_broken_off_is_done_once(
    desk: Desk, database: Database, monkeypatch: pytest.MonkeyPatch, broken_off: str
) -> None:
    common = await fork(desk, database)

    async def end(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        owner, name = (
            (BookingAgain, "book") if broken_off == "_book" else (ForkRepairer, broken_off)
        )
        patched.setattr(owner, name, end)
        with pytest.raises(KeyboardInterrupt):
            await repair(desk, database)
    await archive(desk, database)
    done = await repair(desk, database)
    assert done is not None
    assert done.common_seq == common
    balance = await fresh(desk).accounts.balance(ACCOUNT)
    assert balance.charged_mc == 100 + 10 + 41 + 5 + 30
    assert (balance.granted_mc, balance.voided_mc) == (1_000 + 7 + 500 + 60, 60)
    await archive(desk, database)
    found = await Auditor(fresh(desk).inspection, database).audit([ACCOUNT])
    assert found.balances, found
    await assert_sums(database)


async def test_an_account_that_has_not_forked_is_not_touched(
    desk: Desk, database: Database
) -> None:
    with pytest.raises(NotArchived):
        await repair(desk, database)
    await desk.open(100)
    await archive(desk, database)
    assert await repair(desk, database) is None
    await desk.grant(5)
    before = await desk.contents([name.decode() for name in await desk.names()])
    assert await repair(desk, database) is None
    assert await desk.contents([name.decode() for name in await desk.names()]) == before
