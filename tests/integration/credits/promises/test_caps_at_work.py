"""Law 1b: caps while many work at once, late, over midnight, and for nothing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing.offers import MAX_MC
from runtime.credits.caps import Cap, CapStatus, CapWindow
from runtime.credits.endings import Release
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Refused, Reserved
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

DAY, MONTH, TOTAL = CapWindow.DAY, CapWindow.MONTH, CapWindow.TOTAL
DAY_MS = 86_400_000
# What the desk's executions are about.
ABOUT = {"workspace_id": "retail", "campaign_id": "welcome", "action": "route", "source": "live"}


async def cap(desk: Desk, cap: Cap, limit_mc: int, **changes: Any) -> None:
    """Set a cap, under a reference of its own."""
    fields = {"reference": f"cap-{next(desk.numbers)}"} | changes
    assert await desk.ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=limit_mc, **fields)


async def status(desk: Desk, cap: Cap | None = None) -> CapStatus:
    """The only cap, or this one."""
    (found,) = [s for s in await desk.ledger.accounts.caps(ACCOUNT) if cap is None or s.cap == cap]
    return found


async def uses(desk: Desk, cap: Cap | None = None) -> tuple[int, int, int]:
    """Charged, reserved and excess."""
    found = await status(desk, cap)
    return found.charged_mc, found.reserved_mc, found.cap_excess_mc


async def refusal(desk: Desk, amount_mc: int, **about: str) -> Refused:
    answer = await desk.ledger.reserve(desk.attempt(**about), amount_mc, 60_000)
    assert isinstance(answer, Refused), answer
    return answer


@pytest.mark.parametrize("value", ["a;b=c", "ä ☂", "x" * 300, "1\N{NO-BREAK SPACE}2", "day", "%3B"])
async def test_law_1b_whatever_a_dimension_is_called_its_cap_is_found_and_told(
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
async def test_law_1b_no_reservation_is_admitted_that_brings_a_window_above_its_limit(
    desk: Desk, limit_mc: int, steps: list[tuple[str, int]]
) -> None:
    account_id = f"acme-{next(desk.numbers)}"
    await desk.open(100_000, account_id=account_id)
    for window in CapWindow:
        await desk.ledger.accounts.set_cap(
            account_id, Cap(window), limit_mc=limit_mc, reference=window
        )
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
                assert answer.may_clear is (charged_mc + amount_mc <= limit_mc)
        elif running:
            attempt, reserved = running.pop(amount_mc % len(running))
            reserved_mc -= reserved.amount_mc
            if step == "release":
                await desk.ledger.release(Release(attempt))
            else:
                await desk.settle(attempt, reserved, amount_mc)  # above its quote as well
                charged_mc += amount_mc

        for found in await desk.ledger.accounts.caps(account_id):
            assert (found.charged_mc, found.reserved_mc) == (charged_mc, reserved_mc)
            assert found.cap_excess_mc == max(0, charged_mc + reserved_mc - limit_mc)


@pytest.mark.parametrize("seed", range(3))
async def test_law_1b_however_many_ask_at_once_no_window_is_ever_above_its_limit(
    desk: Desk, open_desk: OpenDesk, seed: int
) -> None:
    await desk.open(1_000_000)
    limits_mc = {Cap(DAY): 700, Cap(MONTH, workspace_id="retail"): 500, Cap(TOTAL, action="a"): 300}
    for one, limit_mc in limits_mc.items():
        await cap(desk, one, limit_mc)
    chance = random.Random(seed)
    admitted_mc = dict.fromkeys(limits_mc, 0)

    async def watch() -> None:
        while True:
            for found in await desk.ledger.accounts.caps(ACCOUNT):
                assert found.cap_excess_mc == 0, found
            await asyncio.sleep(0)

    async def run(ledger: CreditLedger) -> None:
        about = {
            "workspace_id": chance.choice(["retail", "wholesale"]),
            "action": chance.choice("ab"),
        }
        amount_mc, cost_share, answers = chance.randrange(1, 40), chance.random(), chance.random()
        attempt = desk.attempt(**about)
        answer = await ledger.reserve(attempt, amount_mc, 60_000)
        while isinstance(answer, Refused) and answer.may_clear:
            await asyncio.sleep(0.001)
            answer = await ledger.reserve(attempt, amount_mc, 60_000)
        if isinstance(answer, Refused):
            return
        assert isinstance(answer, Reserved)
        if answers < 1 / 3:
            await ledger.release(Release(attempt))
            return
        cost_mc = int(amount_mc * cost_share)
        await desk.settle(attempt, answer, cost_mc)
        for one in limits_mc:
            if all(about.get(name) == value for name, value in one.named.items()):
                admitted_mc[one] += cost_mc

    watching = asyncio.create_task(watch())
    async with open_desk() as another:
        both = (desk.ledger, another.ledger)
        await asyncio.gather(*(run(ledger) for ledger in both for _ in range(100)))
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching

    for one, limit_mc in limits_mc.items():
        charged_mc, reserved_mc, _ = await uses(desk, one)
        assert (charged_mc, reserved_mc) == (admitted_mc[one], 0)
        assert charged_mc <= limit_mc


ORDER = [
    *(Cap(DAY, **{name: ABOUT[name]}) for name in ABOUT),
    Cap(MONTH),
    Cap(MONTH, workspace_id="retail", campaign_id="welcome"),
    Cap(TOTAL, workspace_id="retail"),
    Cap(TOTAL, workspace_id="retail", campaign_id="welcome", action="route", source="live"),
]


@pytest.mark.parametrize("made", [ORDER, ORDER[::-1]])
async def test_law_1b_of_several_caps_the_first_is_reported_and_one_for_good_before_others(
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
        assert answer.may_clear
        # But one that waiting can't help comes before all that it can
        for_good = ORDER[-1]
        await cap(desk, for_good, 5)
        answer = await refusal(desk, 10)
        assert answer.cap == await status(desk, for_good)
        assert not answer.may_clear
        await cap(desk, for_good, 100)
        await cap(desk, first, 1_000 + position)
    await desk.reserve(10)


async def test_law_1b_overage_is_nobodys_charge_and_is_not_counted(desk: Desk) -> None:
    await desk.open(100)
    await cap(desk, Cap(DAY), 200)
    attempt, reserved = await desk.reserve(60)

    await desk.settle(attempt, reserved, 150)

    assert await uses(desk) == (100, 0, 0)


async def test_law_1b_a_lowered_limit_disturbs_nothing_that_runs(desk: Desk) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 100)
    attempt, reserved = await desk.reserve(80)
    await cap(desk, Cap(DAY), 0)

    settled = await desk.settle(attempt, reserved, 70)

    assert settled.charged_mc == 70
    assert await uses(desk) == (70, 0, 70)
    await desk.reserve(0)  # what is free is never refused by a cap


async def test_law_1b_an_execution_answered_by_its_outcome_meets_no_cap(
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


async def test_law_1b_the_largest_amounts_are_counted_exactly_and_never_wrapped(
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
    assert not (await refusal(desk, 1)).may_clear


@pytest.mark.parametrize("end", ["settle", "release", "expire", "late"])
async def test_law_1b_a_reservation_counts_in_the_day_in_which_it_was_made_whenever_it_ends(
    desk: Desk, end: str
) -> None:
    # Given a reservation from a minute before midnight, and a new day with one of its own
    await desk.set_clock(desk.now_ms // DAY_MS * DAY_MS - 60_000)
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 100)
    await cap(desk, Cap(TOTAL), 1_000)
    attempt, reserved = await desk.reserve(100, ttl_ms=70_000)
    await desk.pass_time(60_000)
    assert await uses(desk, Cap(DAY)) == (0, 0, 0)
    await desk.reserve(100, ttl_ms=DAY_MS)

    # When the first ends in the new day
    if end == "settle":
        await desk.settle(attempt, reserved, 120)
    elif end == "release":
        await desk.ledger.release(Release(attempt))
    else:
        await desk.pass_time(10_000)
        await desk.write_what_is_due()
    if end == "late":
        await desk.settle(attempt, reserved, 120)

    # Then the new day has nothing of it, and the total has
    charged_mc = 120 if end in ("settle", "late") else 0
    assert await uses(desk, Cap(DAY)) == (0, 100, 0)
    assert await uses(desk, Cap(TOTAL)) == (charged_mc, 100, 0)
    assert (await refusal(desk, 1)).cap == await status(desk, Cap(DAY))


@pytest.mark.parametrize("end", ["settle", "release", "expire"])
async def test_law_1b_a_free_reservation_ends_in_peace_when_its_windows_are_gone(
    desk: Desk, end: str
) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 100)
    await cap(desk, Cap(TOTAL), 100)
    attempt, reserved = await desk.reserve(0, ttl_ms=2 * DAY_MS)
    await desk.pass_time(DAY_MS)
    await desk.spend(10)
    await desk.ledger.accounts.remove_cap(ACCOUNT, Cap(TOTAL), reference="removed")

    if end == "settle":
        assert (await desk.settle(attempt, reserved, 5)).charged_mc == 5
    elif end == "release":
        assert (await desk.ledger.release(Release(attempt))).found  # type: ignore[union-attr]  # Released
    else:
        await desk.pass_time(DAY_MS)
        await desk.write_what_is_due()

    assert (await desk.balance()).open_reservations == 0


async def test_law_1b_an_orphan_and_an_older_attempt_count_in_the_windows_of_now(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 1_000)
    await desk.settle(desk.attempt(), Reserved(50, 0, desk.now_ms - 5_000, 0), 40)
    assert await uses(desk) == (40, 0, 0)

    older, older_reserved = await desk.reserve(100, desk.attempt("j:s:1"), ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.reserve(200, desk.attempt("j:s:1"))
    settled = await desk.settle(older, older_reserved, 30)

    assert settled.flags == ("late",)
    assert await uses(desk) == (70, 0, 0), "and the newer attempt is out of it"


async def test_law_1b_a_late_settlement_is_reported_by_its_own_model_and_version(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    older, reserved = await desk.reserve(100, desk.attempt("j:s:1"), ttl_ms=1_000)
    await desk.pass_time(1_000)
    newer = desk.attempt("j:s:1", model="thinker", action_version="v2")
    await desk.reserve(200, newer)
    await desk.ledger.release(Release(newer))

    await desk.settle(older, reserved, 30)

    dimensions = (await desk.journal())[-1].dimensions
    assert dimensions is not None
    assert (dimensions.model, dimensions.action_version) == ("writer", "v1")


async def test_law_1b_a_free_preview_counts_under_its_caps_with_what_it_would_have_cost(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(TOTAL), 100)
    for _ in range(2):
        attempt, reserved = await desk.reserve(50)
        await desk.settle(attempt, reserved, 0, free_mc=45, flags=("free_preview",))

    assert await uses(desk) == (90, 0, 0)
    assert (await refusal(desk, 50)).reason == "cap_reached"
    assert (await desk.balance()).charged_mc == 0
    settled = [entry for entry in await desk.journal() if entry.kind == "settled"]
    assert [(entry.free_mc, entry.flags) for entry in settled] == [(45, ("free_preview",))] * 2
