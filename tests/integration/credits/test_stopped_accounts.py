"""An account that was stopped: it can be read, nothing is booked, and nothing is lost meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.credits.endings import Release, Settlement
from runtime.credits.journal import Kind, verify
from runtime.credits.results import AccountStopped, AccountUnknown, Existing, Settled
from runtime.executions.spool import Replay, Spool
from tests.harness.ledger.desk import ACCOUNT, Desk

WHY = "entry 0-7 is another one in the archive"
RESUME = {"reason": "the archive was right", "actor": "ann"}
MESSAGE = (
    f"account {ACCOUNT} is stopped: {WHY}. Put it right: creditgate repair fork --account {ACCOUNT}"
)


async def held(desk: Desk) -> dict[str, object]:
    return await desk.contents([name.decode() for name in await desk.names()])


async def test_law_11a_a_stopped_account_books_nothing_and_says_what_to_do(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    assert await desk.ledger.repairs.stop(ACCOUNT, why=WHY)
    before = await held(desk)

    for verb in (
        desk.reserve(10),
        desk.settle(attempt, reserved, 60),
        desk.ledger.release(Release(attempt)),
        desk.grant(10),
        desk.ledger.repairs.accept_loss(ACCOUNT, **RESUME),
        desk.ledger.repairs.repair_clock(ACCOUNT, **RESUME),
    ):
        with pytest.raises(AccountStopped) as refused:
            await verb
        assert str(refused.value) == MESSAGE
    assert not await desk.ledger.repairs.stop(ACCOUNT, why="for another reason")
    assert await held(desk) == before


async def test_a_stopped_account_can_be_read_as_of_now(desk: Desk) -> None:
    await desk.open(1_000)
    settled, reserved = await desk.reserve(100)
    await desk.settle(settled, reserved, 60)
    await desk.reserve(100)
    await desk.ledger.repairs.stop(ACCOUNT, why=WHY)
    await desk.pass_time(3_600_000)
    before = await held(desk)

    balance = await desk.balance()
    assert (balance.available_mc, balance.reserved_mc, balance.charged_mc) == (940, 0, 60)
    assert isinstance(await desk.ledger.look_up(settled), Existing)
    assert await desk.ledger.accounts.caps(ACCOUNT) == ()
    assert await held(desk) == before


async def test_what_time_ends_waits_too(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.reserve(100, ttl_ms=1_000)
    await desk.ledger.repairs.stop(ACCOUNT, why=WHY)
    await desk.pass_time(3_600_000)
    before = await held(desk)

    with pytest.raises(AccountStopped):
        await desk.write_what_is_due()
    assert await held(desk) == before

    await desk.ledger.repairs.resume(ACCOUNT, **RESUME)
    await desk.write_what_is_due()
    kinds = [entry.kind for entry in await desk.journal()]
    assert kinds[-2:] == [Kind.REPAIRED, Kind.EXPIRED]


async def test_law_4_endings_wait_in_the_spool_until_the_account_is_resumed(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    await desk.ledger.repairs.stop(ACCOUNT, why=WHY)
    spool = Spool(tmp_path / "spool")
    await spool.put(Settlement(attempt, 60, 100, reserved.reserved_at_ms, "1", "v1"))
    assert await spool.replay(desk.ledger) == Replay(done=0, dead=0, left=1)
    seq = (await desk.balance()).journal_seq

    assert await desk.ledger.repairs.resume(ACCOUNT, **RESUME) == seq + 1
    assert await desk.ledger.repairs.resume(ACCOUNT, **RESUME) is None

    assert await spool.replay(desk.ledger) == Replay(done=1, dead=0, left=0)
    await desk.spend(10)
    balance = await desk.balance()
    assert (balance.charged_mc, balance.reserved_mc, balance.conserved) == (70, 0, True)
    journal = await desk.journal()
    verify(journal)
    (resumed,) = [entry for entry in journal if entry.kind is Kind.REPAIRED]
    assert (resumed.actor, resumed.postings) == ("ann", ())
    assert resumed.detail == ("resumed", journal[0].epoch, RESUME["reason"])
    assert {entry.epoch for entry in journal[resumed.seq - 1 :]} == {resumed.epoch}
    assert resumed.epoch != journal[0].epoch


async def test_a_process_that_was_told_of_the_lost_branch_can_resume_the_other(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    before = await desk.dump()
    await desk.spend(10)
    for name, value in before.items():
        await desk.client.restore(name, 0, value, replace=True)
    await desk.ledger.repairs.stop(ACCOUNT, why=WHY)
    with pytest.raises(AccountStopped, match="another one in the archive"):
        await desk.reserve(10)
    assert (await desk.balance()).charged_mc == 0

    await desk.ledger.repairs.resume(ACCOUNT, **RESUME)

    attempt, reserved = await desk.reserve(10)
    assert isinstance(await desk.settle(attempt, reserved, 5), Settled)


async def test_an_account_whose_clock_ran_ahead_can_be_stopped_and_resumed(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.pass_time(3_600_000)
    await desk.spend(10)
    await desk.pass_time(-3_600_000)

    assert await desk.ledger.repairs.stop(ACCOUNT, why=WHY)
    assert await desk.ledger.repairs.resume(ACCOUNT, **RESUME)

    with pytest.raises(AccountStopped, match="repair clock"):
        await desk.reserve(10)
    assert (await desk.balance()).clock_ahead_ms == 3_600_000


async def test_an_account_that_is_unknown_can_not_be_stopped(desk: Desk) -> None:
    with pytest.raises(AccountUnknown):
        await desk.ledger.repairs.stop(ACCOUNT, why=WHY)
    with pytest.raises(AccountUnknown):
        await desk.ledger.repairs.resume(ACCOUNT, **RESUME)
    assert await held(desk) == {}
