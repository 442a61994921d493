"""Law 1b: caps are exact under any concurrency, and a change takes effect at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC
from runtime.credits.caps import Cap, CapStatus, CapWindow, cap_of
from runtime.credits.endings import Release
from runtime.credits.results import CapUnknown, LedgerError, Refused, Reserved, Settled
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

DAY_MS = 86_400_000
DAY = Cap(CapWindow.DAY)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ms(*date: int) -> int:
    return (datetime(*date, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)  # type: ignore[arg-type,misc]  # year to second


async def capped(desk: Desk, cap: Cap, limit_mc: int, **changes: Any) -> bool:
    fields: dict[str, Any] = {"reference": f"cap-{next(desk.numbers)}"}
    return await desk.ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=limit_mc, **(fields | changes))


async def status(desk: Desk, cap: Cap = DAY) -> CapStatus:
    (found,) = [found for found in await desk.ledger.accounts.caps(ACCOUNT) if found.cap == cap]
    return found


async def used(desk: Desk, cap: Cap = DAY) -> tuple[int, int]:
    found = await status(desk, cap)
    return found.charged_mc, found.reserved_mc


async def test_law_1b_a_cap_admits_up_to_its_limit_and_not_a_millicredit_more(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 100)
    await desk.reserve(60)

    refused = await desk.ledger.reserve(desk.attempt(), 41, 1_000)
    await desk.reserve(40)

    assert isinstance(refused, Refused)
    assert refused.reason is FallbackReason.CAP_REACHED
    assert refused.may_clear, "what stands in the way is only reserved"
    resets_in_ms = DAY_MS - desk.now_ms % DAY_MS
    assert refused.cap == CapStatus(DAY, 100, 0, 60, resets_in_ms)


async def test_law_1b_a_cap_that_is_used_up_is_not_passing(desk: Desk) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 100)
    await desk.spend(70)

    refused = await desk.ledger.reserve(desk.attempt(), 31, 1_000)

    assert isinstance(refused, Refused)
    assert (refused.reason, refused.may_clear) == (FallbackReason.CAP_REACHED, False)
    assert await used(desk) == (70, 0)


async def test_law_1b_a_window_holds_what_was_charged_and_what_is_reserved(desk: Desk) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 1_000)
    settled, reserved = await desk.reserve(100)
    await desk.settle(settled, reserved, 30)
    released, _ = await desk.reserve(200)
    await desk.ledger.release(Release(released))
    await desk.reserve(300, ttl_ms=1_000)
    assert await used(desk) == (30, 300)

    await desk.pass_time(1_000)
    await desk.write_what_is_due()

    assert await used(desk) == (30, 0)


NAMED: list[dict[str, str]] = [
    {},
    {"workspace_id": "retail"},
    {"campaign_id": "welcome"},
    {"action": "route"},
    {"source": "live"},
    {"workspace_id": "retail", "source": "live"},
    {"workspace_id": "retail", "campaign_id": "welcome", "action": "route", "source": "live"},
]


@pytest.mark.parametrize("named", NAMED, ids=lambda named: "-".join(named) or "account")
@pytest.mark.parametrize("window", list(CapWindow))
async def test_law_1b_a_cap_counts_what_has_all_its_dimensions_and_nothing_else(
    desk: Desk, named: dict[str, str], window: CapWindow
) -> None:
    await desk.open(10_000)
    cap = Cap(window, **named)
    await capped(desk, cap, 100)
    assert cap_of(cap.field) == cap

    await desk.reserve(90)
    for name in named:
        await desk.reserve(500, desk.attempt(**{name: "another"}))

    assert await used(desk, cap) == (0, 90)
    refused = await desk.ledger.reserve(desk.attempt(), 11, 1_000)
    assert isinstance(refused, Refused)
    assert refused.cap is not None
    assert refused.cap.cap == cap


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(now_ms=st.integers(ms(1971, 1, 1), ms(2199, 12, 30)))
def test_law_1b_windows_are_the_calendars(open_desk: OpenDesk, now_ms: int) -> None:
    moment = EPOCH + timedelta(milliseconds=now_ms)
    tomorrow = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    next_month = (tomorrow.replace(day=1) if tomorrow.day == 1 else None) or (
        moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)
    ).replace(day=1)

    async def resets() -> list[int | None]:
        async with open_desk() as desk:
            await desk.set_clock(now_ms)
            account = f"acme-{now_ms}"
            await desk.ledger.accounts.open_account(account, plan="growth")
            for window in CapWindow:
                await desk.ledger.accounts.set_cap(
                    account, Cap(window), limit_mc=1, reference=window
                )
            return [found.resets_in_ms for found in await desk.ledger.accounts.caps(account)]

    expected = [(end - moment) // timedelta(milliseconds=1) for end in (tomorrow, next_month)]
    assert asyncio.run(resets()) == [*expected, None]


@pytest.mark.parametrize(
    "window, last_ms",
    [
        (CapWindow.DAY, ms(2096, 11, 5) - 1),
        (CapWindow.MONTH, ms(2096, 3, 1) - 1),  # after a 29 February
        (CapWindow.MONTH, ms(2097, 3, 1) - 1),
        (CapWindow.MONTH, ms(2097, 1, 1) - 1),
        (CapWindow.MONTH, ms(2100, 3, 1) - 1),  # no leap year
    ],
)
async def test_law_1b_a_window_ends_with_its_last_millisecond(
    desk: Desk, window: CapWindow, last_ms: int
) -> None:
    cap = Cap(window)
    await desk.set_clock(last_ms)
    await desk.open(10_000)
    await capped(desk, cap, 100)
    await desk.spend(100)
    assert isinstance(await desk.ledger.reserve(desk.attempt(), 1, 1_000), Refused)

    await desk.pass_time(1)

    assert await used(desk, cap) == (0, 0)
    await desk.spend(100)
    assert await used(desk, cap) == (100, 0)


async def test_law_1b_a_reservation_ends_in_the_window_in_which_it_began(desk: Desk) -> None:
    await desk.set_clock(ms(2096, 11, 5) - 10)
    await desk.open(10_000)
    await capped(desk, DAY, 100)
    attempt, reserved = await desk.reserve(80)
    await desk.pass_time(10)
    await desk.reserve(100)

    await desk.settle(attempt, reserved, 80)

    assert await used(desk) == (0, 100)


async def test_law_1b_windows_that_are_over_leave_nothing_behind(desk: Desk) -> None:
    await desk.open(10_000)
    for window in CapWindow:
        await capped(desk, Cap(window), 5_000)
    for _ in range(40):
        attempt, reserved = await desk.reserve(10)
        await desk.pass_time(DAY_MS)
        await desk.spend(5)
        await desk.settle(attempt, reserved, 10)

    uses = [field for field in await desk.client.hkeys(desk.key("limits")) if b"use " in field]
    assert len(uses) <= 3
    assert await used(desk, Cap(CapWindow.TOTAL)) == (600, 0)


async def test_law_1b_a_late_settlement_counts_where_it_was_noted_and_shows_as_excess(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 100)
    attempt, reserved = await desk.reserve(100, ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.spend(100)

    settled = await desk.settle(attempt, reserved, 60)

    assert isinstance(settled, Settled)
    assert settled.flags == ("late",)
    found = await status(desk)
    assert (found.charged_mc, found.reserved_mc, found.cap_excess_mc) == (160, 0, 60)


async def test_law_1b_an_orphan_counts_in_the_windows_of_now(desk: Desk) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 100)

    settled = await desk.settle(desk.attempt(), Reserved(50, 0, desk.now_ms - 5, 0), 40)

    assert isinstance(settled, Settled)
    assert settled.flags == ("orphan",)
    assert await used(desk) == (40, 0)


async def test_law_1b_a_changed_limit_counts_at_once_and_keeps_what_was_counted(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 100)
    await desk.spend(80)

    await capped(desk, DAY, 50, used_mc=7)

    assert (await status(desk)).cap_excess_mc == 30
    assert isinstance(await desk.ledger.reserve(desk.attempt(), 1, 1_000), Refused)
    await capped(desk, DAY, 200)
    await desk.reserve(120)


async def test_law_1b_a_new_cap_counts_from_now_or_from_its_seed(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(500)

    await capped(desk, DAY, 100, used_mc=30)
    await desk.settle(attempt, reserved, 500)

    assert await used(desk) == (30, 0)


async def test_law_1b_a_cap_that_was_removed_begins_anew(desk: Desk) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 100)
    await desk.spend(40)
    attempt, reserved = await desk.reserve(60)
    assert await desk.ledger.accounts.remove_cap(ACCOUNT, DAY, reference="off")
    await desk.reserve(1_000)
    await capped(desk, DAY, 100)

    await desk.settle(attempt, reserved, 60)

    assert await used(desk) == (0, 0)
    with pytest.raises(CapUnknown):
        await desk.ledger.accounts.remove_cap(ACCOUNT, Cap(CapWindow.MONTH), reference="off-2")


async def test_law_1b_free_executions_pass_caps_and_count_in_none(desk: Desk) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 0)
    attempt, reserved = await desk.reserve(0)
    await desk.ledger.accounts.remove_cap(ACCOUNT, DAY, reference="off")

    assert isinstance(await desk.settle(attempt, reserved, 0), Settled)


async def test_law_1b_an_account_has_caps_of_eight_sorts_at_most(desk: Desk) -> None:
    await desk.open(10_000)
    sorts = [Cap(window, **named) for window in CapWindow for named in NAMED][:8]
    for cap in sorts:
        await capped(desk, cap, 1_000)

    with pytest.raises(LedgerError, match="8 sorts"):
        await capped(desk, Cap(CapWindow.TOTAL, source="preview"), 1_000)

    await capped(desk, Cap(CapWindow.DAY, workspace_id="another"), 1_000)
    await desk.reserve(600)
    await desk.ledger.accounts.remove_cap(ACCOUNT, sorts[0], reference="off")
    await capped(desk, Cap(CapWindow.TOTAL, source="preview"), 1_000)
    reported = [
        found.cap for found in await desk.ledger.accounts.caps(ACCOUNT) if found.reserved_mc
    ]
    assert set(reported) == set(sorts[1:])


async def test_law_1b_of_several_caps_the_one_that_refuses_for_good_is_named(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    await capped(desk, DAY, 100)
    await capped(desk, Cap(CapWindow.TOTAL, source="live"), 100, used_mc=50)
    await desk.reserve(50)

    refused = await desk.ledger.reserve(desk.attempt(), 60, 1_000)

    assert isinstance(refused, Refused)
    assert refused.cap is not None
    assert (refused.cap.cap.window, refused.may_clear) == (CapWindow.TOTAL, False)


async def test_law_1b_hundreds_at_once_never_pass_a_cap(desk: Desk) -> None:
    await desk.open(1_000_000)
    preview = Cap(CapWindow.MONTH, source="preview")
    await capped(desk, DAY, 20_000)
    await capped(desk, preview, 3_000)
    charged = {"live": 0, "preview": 0}

    async def execute(number: int) -> None:
        source = "preview" if number % 3 == 0 else "live"
        attempt = desk.attempt(source=source)
        answer = await desk.ledger.reserve(attempt, 100, 60_000)
        if isinstance(answer, Reserved):
            for found in await desk.ledger.accounts.caps(ACCOUNT) if number % 50 == 0 else ():
                assert found.charged_mc + found.reserved_mc <= found.limit_mc
            settled = await desk.settle(attempt, answer, 60 + number % 40)
            charged[source] += settled.charged_mc

    await asyncio.gather(*(execute(number) for number in range(900)))

    assert await used(desk) == (charged["live"] + charged["preview"], 0)
    assert await used(desk, preview) == (charged["preview"], 0)
    assert 0 < charged["preview"] <= 3_000
    assert 0 < charged["live"] + charged["preview"] <= 20_000


async def test_law_1b_due_reservations_are_no_reason_for_a_cap_to_refuse(desk: Desk) -> None:
    await desk.open(1_000_000)
    await capped(desk, DAY, 300)
    await asyncio.gather(*(desk.reserve(1, ttl_ms=1_000) for _ in range(300)))
    await desk.pass_time(1_000)

    await desk.reserve(300)

    assert await used(desk) == (0, 300)


async def test_law_1b_a_window_never_counts_beyond_what_numbers_hold(desk: Desk) -> None:
    await desk.open(100)
    await capped(desk, DAY, MAX_MC, used_mc=MAX_MC)

    await desk.settle(desk.attempt(), Reserved(10, 0, desk.now_ms, 0), 8)

    assert await used(desk) == (MAX_MC, 0)


@pytest.mark.parametrize(
    "wrong", [{"workspace_id": ""}, {"action": "a\tb"}, {"source": "\n"}, {"campaign_id": "\x00"}]
)
def test_law_1b_a_cap_names_real_dimensions(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"1 to 1,000 characters|control character"):
        Cap(CapWindow.DAY, **wrong)
