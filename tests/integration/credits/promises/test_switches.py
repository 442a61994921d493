"""Law 5a: what is off, since when and by whom, and what still runs there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.credits.journal import Kind
from runtime.credits.outcomes import Known
from runtime.credits.results import (
    AccountDamaged,
    AccountUnknown,
    Existing,
    InProgress,
    ReferenceConflict,
    Switch,
    Switched,
)
from runtime.credits.switches import SwitchReader
from tests.harness.ledger.desk import ACCOUNT, Desk
from tests.harness.ledger.verbs import lived_in

MOST_LOOKED_AT = 2_000


async def switch(desk: Desk, *, off: bool = True, **changes: Any) -> Switched:
    return await desk.ledger.accounts.switch(ACCOUNT, off=off, **changes)


async def test_law_5a_a_switch_answers_what_still_runs_there(desk: Desk) -> None:
    await desk.open(10_000)
    for number in range(9):
        await desk.reserve(
            2**number,
            desk.attempt(
                workspace_id=("retail", "second", "third")[number % 3],
                campaign_id=("welcome", "winback")[number % 2],
                action="route" if number < 7 else "greet",
            ),
        )
    done, reserved = await desk.reserve(1_000)
    await desk.settle(done, reserved, 10)
    await desk.reserve(3_000, desk.attempt(workspace_id="second"), ttl_ms=500)
    await desk.pass_time(500)

    assert await switch(desk, workspace_id="second") == Switched(True, 3, 2 + 16 + 128)
    assert await switch(desk, workspace_id="retail") == Switched(True, 3, 1 + 8 + 64)
    assert await switch(desk, campaign_id="winback") == Switched(True, 4, 2 + 8 + 32 + 128)
    assert await switch(desk, action="greet") == Switched(True, 2, 128 + 256)
    assert await switch(desk, workspace_id="nowhere") == Switched(True, 0, 0)
    assert await switch(desk) == Switched(True, 9, 511)
    assert await switch(desk) == Switched(False, 9, 511)
    assert await switch(desk, off=False, action="other") == Switched(False, 0, 0)


async def test_law_15_and_5a_with_very_many_reservations_the_accounts_figures_are_answered(
    desk: Desk,
) -> None:
    await desk.open(10**6)
    many = [desk.attempt(workspace_id=f"w{n % 4}") for n in range(MOST_LOOKED_AT)]
    await asyncio.gather(*[desk.reserve(10, attempt) for attempt in many])
    assert await switch(desk, workspace_id="w1") == Switched(True, 500, 5_000)

    await desk.reserve(10, desk.attempt(workspace_id="w3"))
    more = MOST_LOOKED_AT + 1
    assert await switch(desk, workspace_id="w2") == Switched(True, more, 10 * more, exact=False)
    assert await switch(desk) == Switched(True, more, 10 * more)


async def test_law_5a_a_damaged_reservation_keeps_nobody_from_stopping(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, _ = await desk.reserve(10)
    await desk.reserve(20, desk.attempt(workspace_id="second"))
    await desk.client.hset(desk.key("open"), attempt.execution_key, "garbage")

    assert await switch(desk, workspace_id="second") == Switched(True, 2, 30, exact=False)


async def test_law_5a_what_is_off_is_listed_with_its_change(desk: Desk) -> None:
    await desk.open(100)
    accounts = desk.ledger.accounts
    await accounts.switch_off(ACCOUNT, workspace_id="retail", reference="incident-12", actor="ann")
    await desk.pass_time(1_000)
    await switch(desk, action="route", reason="It wrote nonsense.", actor="key 7")
    await switch(desk, workspace_id="retail", actor="bob")

    route, retail = await accounts.switches(ACCOUNT)
    assert retail == Switch("workspace retail", desk.now_ms - 1_000, "ann", "incident-12")
    assert (route.target, route.since_ms, route.actor) == ("action route", desk.now_ms, "key 7")
    assert route.reference is not None
    assert route.reference.startswith("It wrote nonsense. [")
    told = [entry for entry in await desk.journal() if entry.kind is Kind.SWITCHED]
    assert [(entry.actor, entry.reference) for entry in told] == [
        ("ann", "incident-12"),
        ("key 7", route.reference),
    ]
    # As release 0.1 wrote it, and as a rebuilt account has it.
    await desk.client.hset(desk.key("limits"), "off workspace\tretail", "1")
    assert (await accounts.switches(ACCOUNT))[1] == Switch("workspace retail")
    assert (await desk.balance()).switched_off == ("action route", "workspace retail")


async def test_law_5a_without_a_reference_a_repeat_writes_nothing(desk: Desk) -> None:
    await desk.open(100)
    assert (await switch(desk, campaign_id="welcome")).new
    before = await desk.state()
    for _ in range(3):
        assert not (await switch(desk, campaign_id="welcome")).new
        assert not (await switch(desk, off=False, campaign_id="winback")).new
    assert await desk.state() == before

    assert (await switch(desk, campaign_id="welcome", off=False, reference="on")).new
    with pytest.raises(ReferenceConflict):
        await switch(desk, campaign_id="welcome", reference="on")


async def test_law_5a_switches_of_many_accounts_are_read_at_once(desk: Desk) -> None:
    reader = SwitchReader(desk.client, desk.keys, desk.ledger.accounts, 10_000)
    for name in ("one", "two", "three", "damaged"):
        await desk.open(account_id=name)
    accounts = desk.ledger.accounts
    await accounts.switch("two", off=True)
    await accounts.switch("three", off=True, workspace_id="retail")
    await accounts.switch("three", off=True, action="route")
    await desk.client.hset(desk.key("account", "damaged"), "profile", "garbage")

    names = ["one", "two", "three", "damaged", "nobody"]
    by_server: dict[str, list[str]] = {}
    for name in names:
        by_server.setdefault(reader.server_of(name), []).append(name)
    off: dict[str, frozenset[str]] = {}
    for together in by_server.values():
        off |= await reader.read(together)

    assert off == {
        "one": frozenset(),
        "two": frozenset({"account"}),
        "three": frozenset({"workspace retail", "action route"}),
    }


async def test_law_9a_many_ids_are_looked_up_by_whoever_knows_them(desk: Desk) -> None:
    running, _ = await lived_in(desk)
    attempt, reserved = await desk.reserve(50, desk.attempt("journey-settled:step:1"))
    await desk.settle(attempt, reserved, 20)
    lost = desk.attempt("journey-lost:step:1", workspace_id="second")
    await desk.settle(*(await desk.reserve(10, lost)), 5)
    await desk.client.set(desk.outcome_key("journey-lost:step:1"), "garbage")
    due = desk.attempt("journey-due:step:1")
    await desk.reserve(10, due, ttl_ms=100)
    await desk.pass_time(100)
    ids = [running.execution_id, attempt.execution_id, lost.execution_id, due.execution_id]
    ids += [f"nobody-{number}" for number in range(200)]
    before = await desk.state()

    found: list[Known] = await desk.ledger.outcomes.known(ACCOUNT, ids)

    assert isinstance(found[0], InProgress)
    assert isinstance(found[1], Existing)
    assert (found[1].charged_mc, found[1].outcome) == (20, b"the first outcome")
    assert isinstance(found[2], AccountDamaged)
    assert found[3:] == [None] * 201
    assert await desk.state() == before
    with pytest.raises(AccountUnknown):
        await desk.ledger.outcomes.known("nobody", ids)
