"""Law 1b: days and months of caps are those of the account's time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from runtime.credits.caps import Cap, CapStatus
from runtime.credits.journal import Kind
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import AccountConflict, LedgerUnavailable, Refused
from tests.harness.ledger.desk import ACCOUNT, SCRIPTS_WITH_CLOCK, Desk, make_ledger

HOUR_MS = 3_600_000
DAY, MONTH = Cap("day"), Cap("month")


def ms(text: str, zone: str = "Europe/Berlin") -> int:
    """The instant of a local time."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


async def opened(desk: Desk, now: str, timezone: str = "Europe/Berlin") -> None:
    """An account in this time zone, with a cap of 100 mc a day and one of 1,000 a month."""
    await desk.set_clock(ms(now))
    accounts = desk.ledger.accounts
    await accounts.open_account(ACCOUNT, plan="growth", timezone=timezone)
    await desk.grant(10_000)
    await accounts.set_cap(ACCOUNT, DAY, limit_mc=100, reference="day")
    await accounts.set_cap(ACCOUNT, MONTH, limit_mc=1_000, reference="month")


async def status(desk: Desk, cap: Cap = DAY) -> CapStatus:
    (found,) = [found for found in await desk.ledger.accounts.caps(ACCOUNT) if found.cap == cap]
    return found


def other_process(desk: Desk, late_ms: int) -> CreditLedger:
    """A process whose own clock is late."""
    return make_ledger(
        desk.client,
        desk.prefix,
        scripts=SCRIPTS_WITH_CLOCK,
        transport=desk.transport,
        clock_ms=lambda: desk.now_ms - late_ms,
    )


async def test_law_1b_a_day_ends_at_midnight_of_the_account(desk: Desk) -> None:
    await opened(desk, "2097-01-10 23:00")
    await desk.spend(60)
    assert (await status(desk)).resets_in_ms == HOUR_MS

    await desk.set_clock(ms("2097-01-10 23:59:59.999"))
    assert isinstance(await desk.ledger.reserve(desk.attempt(), 41, 1_000), Refused)
    await desk.set_clock(ms("2097-01-11 00:00"))
    await desk.spend(41)
    await desk.set_clock(ms("2097-01-11 01:00"))  # midnight in UTC ends nothing

    found = await status(desk)
    assert (found.charged_mc, found.resets_in_ms) == (41, 23 * HOUR_MS)
    assert (await status(desk, MONTH)).charged_mc == 101


@pytest.mark.parametrize(
    "day, hours", [("2097-03-30", 24), ("2097-03-31", 23), ("2097-10-27", 25), ("2097-10-28", 24)]
)
async def test_law_1b_a_day_has_23_or_25_hours_where_clocks_change(
    desk: Desk, day: str, hours: int
) -> None:
    await opened(desk, f"{day} 00:00")
    await desk.spend(60)

    await desk.pass_time(hours * HOUR_MS - 1)
    before = await status(desk)
    await desk.pass_time(1)
    after = await status(desk)

    assert (before.charged_mc, before.resets_in_ms) == (60, 1)
    assert after.charged_mc == 0


async def test_law_1b_a_month_ends_at_midnight_of_the_account(desk: Desk) -> None:
    await opened(desk, "2097-02-28 23:00")
    await desk.spend(60)
    assert (await status(desk, MONTH)).resets_in_ms == HOUR_MS

    await desk.pass_time(HOUR_MS)

    found = await status(desk, MONTH)
    assert found.charged_mc == 0
    assert found.resets_in_ms == ms("2097-04-01 00:00") - ms("2097-03-01 00:00")


async def test_law_1b_a_reservation_ends_in_the_window_that_it_noted(desk: Desk) -> None:
    await opened(desk, "2097-01-10 23:59:59")
    attempt, reserved = await desk.reserve(90, ttl_ms=HOUR_MS)
    await desk.pass_time(2_000)
    await desk.spend(70)

    await desk.settle(attempt, reserved, 50)

    found = await status(desk)
    assert (found.charged_mc, found.reserved_mc) == (70, 0)
    assert (await status(desk, MONTH)).charged_mc == 120


@pytest.mark.parametrize("before", ["UTC", "Asia/Tokyo"])
async def test_law_1b_a_changed_time_zone_takes_effect_with_the_next_window(
    desk: Desk, before: str
) -> None:
    """UTC windows have the numbers that earlier releases stored."""
    await opened(desk, "2097-01-10 12:00", before)
    await desk.spend(60)
    ends_in_ms = (await status(desk)).resets_in_ms
    assert ends_in_ms is not None

    changed = await desk.ledger.accounts.change_timezone(
        ACCOUNT, timezone="America/New_York", reference="moved"
    )
    now = await status(desk)
    await desk.pass_time(ends_in_ms - 1)
    assert (await status(desk)).charged_mc == 60
    await desk.pass_time(1)
    await desk.spend(30)
    following = await status(desk)

    assert changed
    assert (now.charged_mc, now.resets_in_ms) == (60, ends_in_ms)
    assert following.charged_mc == 30
    # Less than a day: New York's day had begun.
    today = datetime.fromtimestamp(desk.now_ms / 1000, ZoneInfo("America/New_York")).date()
    midnight = ms(f"{today + timedelta(days=1)} 00:00", "America/New_York")
    assert following.resets_in_ms == midnight - desk.now_ms < 24 * HOUR_MS
    assert (await desk.balance()).timezone == "America/New_York"


async def test_law_3d_a_time_zone_is_changed_once_for_a_reference_and_journaled(desk: Desk) -> None:
    await opened(desk, "2097-01-10 12:00")
    change = desk.ledger.accounts.change_timezone

    first = await change(ACCOUNT, timezone="Asia/Tokyo", reference="moved", actor="ops")
    again = await change(ACCOUNT, timezone="Asia/Tokyo", reference="moved")

    assert (first, again) == (True, False)
    entry = (await desk.journal())[-1]
    assert (entry.kind, entry.detail) == (Kind.TIMEZONE_CHANGED, ("Asia/Tokyo",))
    assert entry.actor == "ops"
    await desk.ledger.accounts.close_account(ACCOUNT, reference="closing", reason="they left")
    with pytest.raises(AccountConflict, match="state"):
        await change(ACCOUNT, timezone="UTC", reference="back")


async def test_law_1b_another_process_learns_the_time_zone_and_its_change(desk: Desk) -> None:
    await opened(desk, "2097-01-10 12:00")
    other = other_process(desk, 0)
    attempt = desk.attempt()
    await other.reserve(attempt, 10, 1_000)
    await desk.ledger.accounts.change_timezone(ACCOUNT, timezone="Asia/Tokyo", reference="moved")
    await desk.pass_time(12 * HOUR_MS)

    await other.reserve(desk.attempt(), 20, 1_000)

    found = await status(desk)
    assert (found.reserved_mc, found.resets_in_ms) == (20, 16 * HOUR_MS)


@pytest.mark.parametrize("late_ms", [-60_000, 60_000])
@pytest.mark.parametrize("now", ["2097-01-10 23:59:30", "2097-01-11 00:00:30"])
async def test_law_1b_a_process_whose_clock_differs_chooses_by_the_servers(
    desk: Desk, now: str, late_ms: int
) -> None:
    await opened(desk, "2097-01-09 00:30")
    await desk.set_clock(ms(now))

    await other_process(desk, late_ms).reserve(desk.attempt(), 20, 1_000)

    found = await status(desk)
    ends_at_ms = ms("2097-01-11 00:00") if "23:59" in now else ms("2097-01-12 00:00")
    assert (found.reserved_mc, found.resets_in_ms) == (20, ends_at_ms - desk.now_ms)


async def test_law_8a_where_no_window_covers_the_servers_time_caps_are_not_told(desk: Desk) -> None:
    await opened(desk, "2097-01-10 12:00")
    await desk.set_clock(ms("2097-01-14 12:00"))

    with pytest.raises(LedgerUnavailable, match="more than a window apart"):
        await other_process(desk, 3 * 24 * HOUR_MS).accounts.caps(ACCOUNT)


async def test_law_5a_a_campaign_that_is_switched_off_reserves_nothing_at_once(desk: Desk) -> None:
    await desk.open(1_000)
    switch = desk.ledger.accounts

    assert await switch.switch_off(ACCOUNT, campaign_id="welcome", reference="off")
    refused = await desk.ledger.reserve(desk.attempt(campaign_id="welcome"), 10, 1_000, final=True)
    await desk.reserve(10, desk.attempt(campaign_id="another"))

    assert isinstance(refused, Refused)
    assert refused.reason == "switched_off"
    assert (await desk.balance()).switched_off == ("campaign welcome",)
    # It is not kept: the same id may ask again.
    again = desk.attempt("an id", campaign_id="welcome")
    await desk.ledger.reserve(again, 10, 1_000, final=True)
    await switch.switch_on(ACCOUNT, campaign_id="welcome", reference="on")
    await desk.reserve(10, desk.attempt("an id", campaign_id="welcome"))


async def test_a_switch_names_one_thing_at_most(desk: Desk) -> None:
    with pytest.raises(ValueError, match="one of them at most"):
        await desk.ledger.accounts.switch_off(
            ACCOUNT, workspace_id="retail", campaign_id="welcome", reference="off"
        )
