"""Promise 12: what a cap counts, what it refuses, and what changing it does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC
from runtime.credits.answers import (
    CapUnknown,
    LedgerError,
    Refused,
    Reserved,
)
from runtime.credits.caps import Cap, CapWindow
from tests.integration.ledger.conftest import OpenDesk
from tests.integration.ledger.desk import ACCOUNT, Desk
from tests.integration.ledger.promises.capping import (
    DAY,
    MONTH,
    TOTAL,
    cap,
    refusal,
    status,
    uses,
)

NAMES = ("workspace_id", "campaign_id", "action", "source")
# What the desk's executions are about, and other values of the same.
ABOUT = {"workspace_id": "retail", "campaign_id": "welcome", "action": "route", "source": "live"}
OTHERS = {
    "workspace_id": "wholesale",
    "campaign_id": "farewell",
    "action": "summarise",
    "source": "preview",
}
COMBINATIONS = [
    names for size in range(len(NAMES) + 1) for names in itertools.combinations(NAMES, size)
]


# What matches


@pytest.mark.parametrize("window", CapWindow)
@pytest.mark.parametrize("named", COMBINATIONS, ids=lambda names: "+".join(names) or "account")
async def test_promise_12_a_cap_counts_what_shares_all_of_its_dimensions_and_nothing_else(
    desk: Desk, window: CapWindow, named: tuple[str, ...]
) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(window, **{name: ABOUT[name] for name in named}), 100)

    await desk.reserve(100)

    answer = await refusal(desk, 1)
    assert (answer.reason, answer.passing) == (FallbackReason.CAP_REACHED, True)
    for name in NAMES:
        other = await desk.ledger.reserve(desk.attempt(**{name: OTHERS[name]}), 1, 60_000)
        assert isinstance(other, Refused if name not in named else Reserved)


@pytest.mark.parametrize("value", ["a;b=c", "ä ☂", "x" * 300, "1\N{NO-BREAK SPACE}2", "day", "%3B"])
async def test_promise_12_whatever_a_dimension_is_called_its_cap_is_found_and_told(
    desk: Desk, value: str
) -> None:
    await desk.open(1_000)
    named = Cap(DAY, workspace_id=value, source=value)
    await cap(desk, named, 100)

    await desk.reserve(60, desk.attempt(workspace_id=value, source=value))
    answer = await refusal(desk, 60, workspace_id=value, source=value)

    assert answer.cap == await status(desk)
    assert answer.cap.cap == named
    assert isinstance(await desk.reserve(60), tuple), "of another workspace"


# The limit


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    limit_mc=st.integers(0, 60),
    steps=st.lists(
        st.tuples(st.sampled_from(["reserve", "settle", "release"]), st.integers(0, 30)),
        max_size=25,
    ),
)
async def test_promise_12_no_reservation_is_admitted_that_brings_a_window_above_its_limit(
    desk: Desk, limit_mc: int, steps: list[tuple[str, int]]
) -> None:
    account_id = f"acme-{next(desk.numbers)}"
    await desk.open(100_000, account_id=account_id)
    for window in CapWindow:
        await desk.ledger.set_cap(account_id, Cap(window), limit_mc=limit_mc, reference=window)
    charged_mc = reserved_mc = 0
    running: list[tuple[Any, Reserved]] = []

    for step, amount_mc in steps:
        if step == "reserve":
            attempt = desk.attempt(account_id=account_id)
            answer = await desk.ledger.reserve(attempt, amount_mc, 60_000)
            admitted = amount_mc == 0 or charged_mc + reserved_mc + amount_mc <= limit_mc
            assert isinstance(answer, Reserved) is admitted
            if isinstance(answer, Reserved):
                running.append((attempt, answer))
                reserved_mc += amount_mc
            else:
                assert isinstance(answer, Refused)
                assert answer.passing is (charged_mc + amount_mc <= limit_mc)
        elif running:
            attempt, reserved = running.pop(amount_mc % len(running))
            reserved_mc -= reserved.amount_mc
            if step == "release":
                await desk.ledger.release(attempt)
            else:
                await desk.settle(attempt, reserved, amount_mc)  # above its quote as well
                charged_mc += amount_mc

        for found in await desk.ledger.caps(account_id):
            assert (found.charged_mc, found.reserved_mc) == (charged_mc, reserved_mc)
            assert found.cap_excess_mc == max(0, charged_mc + reserved_mc - limit_mc)


async def test_promise_12_overage_is_nobodys_charge_and_is_not_counted(desk: Desk) -> None:
    await desk.open(100)
    await cap(desk, Cap(DAY), 200)
    attempt, reserved = await desk.reserve(60)

    await desk.settle(attempt, reserved, 150)

    assert await uses(desk) == (100, 0, 0)


@pytest.mark.parametrize("end", ["release", "expire"])
async def test_promise_12_what_charged_nothing_leaves_the_window_as_it_was(
    desk: Desk, end: str
) -> None:
    await desk.open(100)
    await cap(desk, Cap(DAY), 60)
    attempt, _ = await desk.reserve(60, ttl_ms=1_000)
    assert await uses(desk) == (0, 60, 0)

    if end == "release":
        await desk.ledger.release(attempt)
    else:
        await desk.pass_time(1_000)

    assert await uses(desk) == (0, 0, 0)
    await desk.reserve(60)


async def test_promise_12_more_due_than_one_script_ends_is_ended_before_a_cap_refuses(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 300)
    for _ in range(300):
        await desk.reserve(1, ttl_ms=1_000)
    await desk.pass_time(1_000)

    _, reserved = await desk.reserve(300)

    assert reserved.amount_mc == 300


# A changed, lowered, removed limit


async def test_promise_12_a_change_takes_effect_at_once_and_keeps_the_counts(desk: Desk) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 100)
    await desk.spend(50)
    await desk.reserve(50)
    assert (await refusal(desk, 1)).passing

    await cap(desk, Cap(DAY), 130)
    assert (await status(desk)).limit_mc == 130
    await desk.reserve(30)
    await refusal(desk, 1)

    await cap(desk, Cap(DAY), 40)
    assert await uses(desk) == (50, 80, 90)
    assert not (await refusal(desk, 1)).passing, "40 may be charged, and 50 are"


async def test_promise_12_a_lowered_limit_disturbs_nothing_that_runs(desk: Desk) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 100)
    attempt, reserved = await desk.reserve(80)
    await cap(desk, Cap(DAY), 0)

    settled = await desk.settle(attempt, reserved, 70)

    assert settled.charged_mc == 70
    assert await uses(desk) == (70, 0, 70)
    await desk.reserve(0)  # what is free is never refused by a cap


async def test_promise_12_a_cap_counts_from_its_creation_or_from_what_it_is_told(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await desk.spend(100)
    attempt, reserved = await desk.reserve(100)
    await cap(desk, Cap(DAY), 100)
    await cap(desk, Cap(MONTH), 100, used_mc=95)
    assert await uses(desk, Cap(DAY)) == (0, 0, 0)
    assert await uses(desk, Cap(MONTH)) == (95, 0, 0)

    # What was reserved before is unknown to it
    await desk.settle(attempt, reserved, 100)
    assert await uses(desk, Cap(DAY)) == (0, 0, 0)

    answer = await refusal(desk, 6)
    assert answer.cap == await status(desk, Cap(MONTH))
    await cap(desk, Cap(MONTH), 101, used_mc=7)
    assert await uses(desk, Cap(MONTH)) == (95, 0, 0), "told once, when it is made"
    await desk.reserve(6)


@pytest.mark.parametrize("amount_mc", [25, 0])
async def test_promise_12_a_removed_cap_limits_nothing_and_begins_at_zero_when_set_again(
    desk: Desk, amount_mc: int
) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(TOTAL), 100)
    await desk.spend(50)
    first, first_reserved = await desk.reserve(amount_mc)
    second, _ = await desk.reserve(amount_mc)

    await desk.ledger.remove_cap(ACCOUNT, Cap(TOTAL), reference="removed")
    assert await desk.ledger.caps(ACCOUNT) == ()
    await desk.reserve(200)

    await cap(desk, Cap(TOTAL), 100)
    await desk.settle(first, first_reserved, min(20, amount_mc))
    await desk.ledger.release(second)
    assert await uses(desk) == (0, 0, 0)
    await desk.reserve(100)
    await refusal(desk, 1)


async def test_promise_12_a_cap_that_is_not_there_cant_be_removed(desk: Desk) -> None:
    await desk.open(100)
    await cap(desk, Cap(DAY), 100)
    before = await desk.dump()

    with pytest.raises(CapUnknown, match="month;source=preview"):
        await desk.ledger.remove_cap(ACCOUNT, Cap(MONTH, source="preview"), reference="removed")

    assert await desk.dump() == before


# Several caps


async def test_promise_12_at_most_eight_sorts_so_that_an_execution_is_counted_eight_times_at_most(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    sorts = [
        Cap(window, **{name: ABOUT[name] for name in named})
        for window, named in itertools.product(CapWindow, COMBINATIONS)
    ][:9]
    for made in sorts[:8]:
        await cap(desk, made, 100)
    before = await desk.dump()

    with pytest.raises(LedgerError, match="caps of 8 sorts"):
        await cap(desk, sorts[8], 100)
    assert await desk.dump() == before

    # Any number of one sort, and another sort where one went
    for number in range(20):
        await cap(desk, Cap(DAY, workspace_id=f"shop-{number}"), 100)
    await desk.ledger.remove_cap(ACCOUNT, sorts[7], reference="room")
    await cap(desk, sorts[8], 100)
    await desk.reserve(70)
    matching = [s for s in await desk.ledger.caps(ACCOUNT) if s.reserved_mc == 70]
    assert {s.cap for s in matching} == {*sorts[:7], sorts[8]}


ORDER = [
    *(Cap(DAY, **{name: ABOUT[name]}) for name in NAMES),
    Cap(MONTH),
    Cap(MONTH, workspace_id="retail", campaign_id="welcome"),
    Cap(TOTAL, workspace_id="retail"),
    Cap(TOTAL, workspace_id="retail", campaign_id="welcome", action="route", source="live"),
]


@pytest.mark.parametrize("made", [ORDER, ORDER[::-1]])
async def test_promise_12_of_several_caps_the_first_is_reported_and_one_for_good_before_others(
    desk: Desk, made: list[Cap]
) -> None:
    # Given eight caps, whatever the order in which they were made
    await desk.open(10_000)
    for one in made:
        await cap(desk, one, 100)
    await desk.reserve(100)

    # When all of them refuse, the first is told; when that one's limit is raised, the next
    for position, first in enumerate(ORDER):
        answer = await refusal(desk, 10)
        assert answer.cap == await status(desk, first)
        assert answer.passing
        # But one that waiting can't help comes before all that it can
        for_good = ORDER[-1]
        await cap(desk, for_good, 5)
        answer = await refusal(desk, 10)
        assert answer.cap == await status(desk, for_good)
        assert not answer.passing
        await cap(desk, for_good, 100)
        await cap(desk, first, 1_000 + position)
    await desk.reserve(10)


# Amounts and outcomes


async def test_promise_12_the_largest_amounts_are_counted_exactly_and_never_wrapped(
    desk: Desk,
) -> None:
    await desk.open(MAX_MC)
    await cap(desk, Cap(DAY), MAX_MC, used_mc=MAX_MC - 7)
    await refusal(desk, 8)
    await refusal(desk, MAX_MC)
    attempt, reserved = await desk.reserve(7)
    assert await uses(desk) == (MAX_MC - 7, 7, 0)

    await desk.settle(attempt, reserved, 100)

    assert await uses(desk) == (MAX_MC, 0, 0)
    assert not (await refusal(desk, 1)).passing


async def test_promise_12_an_execution_answered_by_its_outcome_meets_no_cap(
    open_desk: OpenDesk,
) -> None:
    async with open_desk() as desk:
        await desk.open(1_000)
        attempt, reserved = await desk.reserve(10)
        running, _ = await desk.reserve(10)
        await desk.settle(attempt, reserved, 10)
        await cap(desk, Cap(DAY), 0)

        settled = await desk.ledger.reserve(desk.attempt(attempt.execution_id), 10, 60_000)
        same = await desk.ledger.reserve(running, 10, 60_000)

        assert settled.charged_mc == 10  # type: ignore[union-attr]  # an Existing
        assert isinstance(same, Reserved)
