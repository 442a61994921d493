"""Law 8a: while a clock is in doubt nothing is written by it, and what it did can be put right."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Settlement
from runtime.credits.journal import Kind, verify
from runtime.credits.results import AccountStopped, AccountUnknown, LedgerUnavailable
from runtime.executions.spool import Replay, Spool
from tests.harness.ledger.desk import ACCOUNT, Desk

DAY_MS = 86_400_000
WHY = {"reason": "the clock of redis-2 was wrong", "actor": "ann"}


async def test_law_8a_an_account_whose_clock_ran_ahead_is_stopped_until_it_is_put_right(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.open(1_000)
    await desk.grant(500, expires_in_ms=90 * DAY_MS)
    attempt, reserved = await desk.reserve(100)
    await desk.pass_time(200 * DAY_MS)
    await desk.spend(10)
    await desk.pass_time(-200 * DAY_MS)
    later = await desk.balance()
    assert later.clock_ahead_ms == 200 * DAY_MS
    assert later.at_ms == desk.now_ms
    before = await desk.state()

    with pytest.raises(AccountStopped, match="ahead of the server's, which was wrong"):
        await desk.reserve(10)
    with pytest.raises(AccountStopped):
        await desk.grant(10)
    spool = Spool(tmp_path / "spool")
    await spool.put(Settlement(attempt, 60, 100, reserved.reserved_at_ms, "1", "v1"))
    assert await spool.replay(desk.ledger) == Replay(done=0, dead=0, left=1)
    assert await desk.state() == before
    assert caplog.text.count("creditgate repair clock") == 2, "by the ledger, and by the spool"

    assert await desk.ledger.repairs.repair_clock(ACCOUNT, **WHY) == 200 * DAY_MS
    assert await desk.ledger.repairs.repair_clock(ACCOUNT, **WHY) == 0
    assert await spool.replay(desk.ledger) == Replay(done=1, dead=0, left=0)
    await desk.spend(10)
    balance = await desk.balance()
    assert (balance.clock_ahead_ms, balance.expired_mc, balance.charged_mc) == (0, 500, 80)
    journal = await desk.journal()
    verify(journal)
    (repaired,) = [entry for entry in journal if entry.kind is Kind.REPAIRED]
    assert repaired.actor == "ann"
    assert repaired.detail == ("clock", str(desk.now_ms + 200 * DAY_MS), WHY["reason"])


async def test_law_8a_what_a_clock_that_ran_ahead_left_reserved_can_be_settled(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.pass_time(200 * DAY_MS)
    attempt, reserved = await desk.reserve(100)
    await desk.pass_time(-200 * DAY_MS)
    await desk.ledger.repairs.repair_clock(ACCOUNT, **WHY)
    await desk.settle(attempt, reserved, 60)
    assert [entry.reserved_at_ms for entry in await desk.journal()][-1] == desk.now_ms


async def test_law_8a_a_minute_back_is_no_reason_to_stop(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.pass_time(60_000)
    await desk.spend(10)
    await desk.pass_time(-60_000)
    await desk.spend(10)
    assert await desk.ledger.repairs.repair_clock(ACCOUNT, **WHY) == 0


async def test_an_account_that_is_unknown_can_not_be_repaired(desk: Desk) -> None:
    with pytest.raises(ValueError, match="reason"):
        await desk.ledger.repairs.accept_loss(ACCOUNT, reason="", actor="ann")
    with pytest.raises(AccountUnknown):
        await desk.ledger.repairs.accept_loss(ACCOUNT, **WHY)


async def test_law_8a_nothing_is_given_up_for_its_age_by_a_clock_in_doubt(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", max_age_ms=0)
    await spool.put(Settlement(desk.attempt(), 60, 100, 1, "1", "v1"))

    def in_doubt(account_id: str) -> None:
        raise LedgerUnavailable(f"the clock of the server of {account_id} is ahead")

    monkeypatch.setattr(desk.ledger.watch, "check_clock", in_doubt)
    assert await spool.replay(desk.ledger) == Replay(done=0, dead=0, left=1)


@pytest.mark.parametrize("settled", ["before others", "after others"])
@pytest.mark.parametrize("window", ["day", "month"])
async def test_law_1b_and_8a_caps_count_on_after_a_clock_that_ran_ahead(
    desk: Desk, window: str, settled: str
) -> None:
    await desk.open(1_000)
    cap = Cap(CapWindow(window))
    await desk.ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=100, reference="cap")
    await desk.reserve(60)
    await desk.pass_time(200 * DAY_MS)
    attempt, reserved = await desk.reserve(70)
    await desk.pass_time(-200 * DAY_MS)
    await desk.ledger.repairs.repair_clock(ACCOUNT, **WHY)

    if settled == "before others":
        await desk.settle(attempt, reserved, 70)
    await desk.spend(30)
    if settled == "after others":
        await desk.settle(attempt, reserved, 70)
    (status,) = await desk.ledger.accounts.caps(ACCOUNT)
    assert (status.charged_mc, status.reserved_mc) == (30, 0)

    await desk.pass_time(200 * DAY_MS)
    (status,) = await desk.ledger.accounts.caps(ACCOUNT)
    assert (status.charged_mc, status.reserved_mc) == (0, 0)
    await desk.spend(100)


async def test_law_1b_and_8a_a_window_that_a_wrong_clock_ended_begins_again(desk: Desk) -> None:
    await desk.open(1_000)
    cap = Cap(CapWindow.DAY)
    await desk.ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=100, reference="cap")
    await desk.reserve(60)
    await desk.pass_time(200 * DAY_MS)
    await desk.write_what_is_due()
    await desk.pass_time(-200 * DAY_MS)
    await desk.ledger.repairs.repair_clock(ACCOUNT, **WHY)

    await desk.spend(100)

    (status,) = await desk.ledger.accounts.caps(ACCOUNT)
    assert (status.charged_mc, status.reserved_mc) == (100, 0)
