"""Promise 12: a cap's days and months are UTC's, by the ledger's clock, and notes outlast them."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runtime.credits.answers import Refused, Reserved
from runtime.credits.caps import Cap
from runtime.credits.ledger import CreditLedger
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

DAY_MS = 86_400_000
MILLISECOND = timedelta(milliseconds=1)


def to_ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // MILLISECOND


def next_day(at: datetime) -> datetime:
    return datetime(at.year, at.month, at.day, tzinfo=UTC) + timedelta(days=1)


def next_month(at: datetime) -> datetime:
    return datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)


# From the year in which the desk's accounts are opened: time does not go back.
instants = st.datetimes(
    min_value=datetime(2097, 1, 1),  # noqa: DTZ001 - the zone comes with `timezones`
    max_value=datetime(2900, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=instants)
@example(at=datetime(2099, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC))
@example(at=datetime(2100, 2, 28, 12, tzinfo=UTC))  # no leap year
@example(at=datetime(2104, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC))
@example(at=datetime(2104, 2, 29, tzinfo=UTC))
@example(at=datetime(2400, 2, 29, 1, tzinfo=UTC))
async def test_promise_12_a_window_ends_when_pythons_calendar_says_so(
    desk: Desk, at: datetime
) -> None:
    await desk.open()
    for window in (DAY, MONTH, TOTAL):
        await desk.ledger.set_cap(ACCOUNT, Cap(window), limit_mc=1, reference=f"cap {window}")
    await desk.set_clock(to_ms(at))

    ends = {s.cap.window: s.resets_in_ms for s in await desk.ledger.caps(ACCOUNT)}

    assert ends == {
        DAY: (next_day(at) - at) // MILLISECOND,
        MONTH: (next_month(at) - at) // MILLISECOND,
        TOTAL: None,
    }


BOUNDARIES = [
    # The first moment of a day, and whether a month begins with it.
    (datetime(2097, 3, 2, tzinfo=UTC), False),
    (datetime(2097, 3, 1, tzinfo=UTC), True),  # after a 28th
    (datetime(2104, 2, 29, tzinfo=UTC), False),
    (datetime(2104, 3, 1, tzinfo=UTC), True),  # after a 29th
    (datetime(2100, 3, 1, tzinfo=UTC), True),  # after a 28th, although a multiple of four
    (datetime(2097, 5, 1, tzinfo=UTC), True),
    (datetime(2097, 12, 31, tzinfo=UTC), False),
    (datetime(2098, 1, 1, tzinfo=UTC), True),
]


@pytest.mark.parametrize("boundary, month_begins", BOUNDARIES)
async def test_promise_12_a_window_is_full_until_its_last_millisecond_and_empty_from_the_next_first(
    desk: Desk, boundary: datetime, month_begins: bool
) -> None:
    await desk.set_clock(to_ms(boundary) - 1)
    await desk.open(1_000)
    for window in (DAY, MONTH, TOTAL):
        await cap(desk, Cap(window), 100)
    await desk.spend(100)
    answer = await refusal(desk, 1)
    assert answer.cap == await status(desk, Cap(DAY))
    assert answer.cap.resets_in_ms == 1

    await desk.pass_time(1)

    assert await uses(desk, Cap(DAY)) == (0, 0, 0)
    assert await uses(desk, Cap(MONTH)) == ((0, 0, 0) if month_begins else (100, 0, 0))
    assert await uses(desk, Cap(TOTAL)) == (100, 0, 0)
    answer = await refusal(desk, 1)
    assert answer.cap == await status(desk, Cap(TOTAL if month_begins else MONTH))


@pytest.mark.parametrize("end", ["settle", "release", "expire", "late"])
async def test_promise_12_a_reservation_counts_in_the_day_in_which_it_was_made_whenever_it_ends(
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
        await desk.ledger.release(attempt)
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
async def test_promise_12_a_free_reservation_ends_in_peace_when_its_windows_are_gone(
    desk: Desk, end: str
) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY), 100)
    await cap(desk, Cap(TOTAL), 100)
    attempt, reserved = await desk.reserve(0, ttl_ms=2 * DAY_MS)
    await desk.pass_time(DAY_MS)
    await desk.spend(10)
    await desk.ledger.remove_cap(ACCOUNT, Cap(TOTAL), reference="removed")

    if end == "settle":
        assert (await desk.settle(attempt, reserved, 5)).charged_mc == 5
    elif end == "release":
        assert (await desk.ledger.release(attempt)).found  # type: ignore[union-attr]  # Released
    else:
        await desk.pass_time(DAY_MS)
        await desk.write_what_is_due()

    assert (await desk.balance()).open_reservations == 0


async def test_promise_12_windows_that_are_over_are_forgotten(desk: Desk) -> None:
    await desk.open(10_000)
    for window in (DAY, MONTH, TOTAL):
        await cap(desk, Cap(window), 1_000)
    sizes = []
    for _ in range(70):
        attempt, reserved = await desk.reserve(10, ttl_ms=3 * DAY_MS)
        await desk.pass_time(DAY_MS)
        await desk.settle(attempt, reserved, 5)
        sizes.append(await desk.client.hlen(desk.key("limits")))

    assert max(sizes) <= 6, "a cap and its window, each"
    assert (await uses(desk, Cap(TOTAL)))[:2] == (350, 0)


# Late ones


async def test_promise_12_a_late_settlement_counts_where_its_reservation_did(desk: Desk) -> None:
    await desk.open(1_000)
    await cap(desk, Cap(DAY, workspace_id="retail"), 100)
    attempt, reserved = await desk.reserve(100, ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.reserve(60)

    settled = await desk.settle(attempt, reserved, 90)

    assert settled.flags == ("late",)
    assert await uses(desk) == (90, 60, 50)


async def test_promise_12_an_orphan_and_an_older_attempt_count_in_the_windows_of_now(
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


async def test_promise_12_a_late_settlement_is_reported_by_its_own_model_and_version(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    older, reserved = await desk.reserve(100, desk.attempt("j:s:1"), ttl_ms=1_000)
    await desk.pass_time(1_000)
    newer = desk.attempt("j:s:1", model="thinker", action_version="v2")
    await desk.reserve(200, newer)
    await desk.ledger.release(newer)

    await desk.settle(older, reserved, 30)

    dimensions = (await desk.journal())[-1].dimensions
    assert dimensions is not None
    assert (dimensions.model, dimensions.action_version) == ("writer", "v1")


# Many at once


@pytest.mark.parametrize("seed", range(3))
async def test_promise_12_however_many_ask_at_once_no_window_is_ever_above_its_limit(
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
            for found in await desk.ledger.caps(ACCOUNT):
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
        while isinstance(answer, Refused) and answer.passing:
            await asyncio.sleep(0.001)
            answer = await ledger.reserve(attempt, amount_mc, 60_000)
        if isinstance(answer, Refused):
            return
        assert isinstance(answer, Reserved)
        if answers < 1 / 3:
            await ledger.release(attempt)
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
