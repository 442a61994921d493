"""Law 8a: what is due is shown as ended, however much it is, page by page."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from runtime.credits.batch import Answer, Call, Mode
from runtime.credits.caps import Cap, CapStatus, CapWindow
from runtime.credits.results import Balance
from tests.harness.ledger.desk import ACCOUNT, Desk

PAGE = 250


async def reserve_many(desk: Desk, reservations: int) -> None:
    for start in range(0, reservations, 500):
        size = min(500, reservations - start)
        await asyncio.gather(*(desk.reserve(10, ttl_ms=1_000) for _ in range(size)))


async def seen(desk: Desk) -> tuple[Balance, tuple[CapStatus, ...]]:
    """What a look shows, but for what writing adds to the journal."""
    balance = replace(await desk.balance(), journal_seq=0)
    return balance, await desk.ledger.accounts.caps(ACCOUNT)


async def end_all_that_is_due(desk: Desk) -> None:
    more_due = 1
    while more_due:
        call = Call("expire", (), ends=True)
        _, more_due, _ = await desk.script_client.ask(ACCOUNT, call)


async def read_page(desk: Desk, page: tuple[bytes, ...] = ()) -> Answer:
    return await desk.script_client.ask(ACCOUNT, Call("balance", page, mode=Mode.READ))


@pytest.mark.parametrize("due", [600, pytest.param(100_000, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
async def test_law_15_and_8a_a_look_shows_what_a_sweep_will_write_however_much_is_due(
    desk: Desk, due: int
) -> None:
    await desk.open(due * 5)
    await desk.grant(due * 2, expires_in_ms=500, priority=1)
    await desk.grant(due * 2, expires_in_ms=1_500, priority=2)
    await desk.grant(due * 2, priority=3)
    for window in (CapWindow.DAY, CapWindow.TOTAL):
        await desk.ledger.accounts.set_cap(
            ACCOUNT, Cap(window), limit_mc=due * 10, reference=window
        )
    await reserve_many(desk, due - 1)
    await desk.ledger.accounts.void(ACCOUNT, "g4", reference="void", reason="paid back")
    await desk.reserve(2, ttl_ms=5_000)
    await desk.pass_time(1_000)
    while_grants_live = await seen(desk)
    await desk.pass_time(600)

    before = await desk.contents(desk.keys.of_account(ACCOUNT)) if due < 1_000 else None
    asked = desk.transport.asked
    looked = await seen(desk)

    assert desk.transport.asked - asked > due / PAGE
    if before is not None:
        assert await desk.contents(desk.keys.of_account(ACCOUNT)) == before
    assert while_grants_live[0].reserved_mc == looked[0].reserved_mc == 2
    assert looked[0].open_reservations == 1
    assert looked[0].exposure_mc == (due - 1) * 10
    await end_all_that_is_due(desk)
    assert await seen(desk) == looked


async def test_law_15_and_8a_a_look_begins_anew_with_what_is_due_if_something_was_written(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    await reserve_many(desk, 700)
    await desk.pass_time(1_000)
    first = await read_page(desk)
    assert first[0] == b"more"

    await desk.reserve(7, ttl_ms=60_000)

    answer = await read_page(desk, (first[1],))
    while answer[0] == b"more":
        answer = await read_page(desk, (answer[1],))
    parts = dict(zip(answer[1][::2], answer[1][1::2], strict=True))
    assert (parts[b"reserved"], parts[b"available"]) == (7, 9_993)
    assert (parts[b"exposure"], parts[b"open_n"]) == (7_000, 1)


async def test_law_15_and_8a_grants_that_ended_are_read_page_by_page(desk: Desk) -> None:
    await desk.open()
    for _ in range(4):
        await asyncio.gather(*(desk.grant(1) for _ in range(100)))
        await desk.spend(100)
    await desk.grant(5)

    asked = desk.transport.asked
    balance = await desk.balance()

    assert desk.transport.asked - asked == 2
    assert sorted(int(grant.grant_id[1:]) for grant in balance.grants) == [*range(1, 402)]
    assert (balance.charged_mc, balance.available_mc) == (400, 5)
