from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.offers import (
    DEFAULT_PRIORITY,
    MAX_MC,
    GrantKind,
    Offer,
    OfferGrant,
    Pack,
    PurchaseRefused,
    check_amount_mc,
    check_timezone,
    expiry_instant,
    offer_grants,
    purchase_amount_mc,
)

INTRODUCTORY = Offer(
    id="introductory",
    kind=GrantKind.INTRODUCTORY,
    amount_mc=100_000_000,
    paying_from=date(2026, 4, 8),
    paying_until=date(2026, 6, 30),
    expires_after_days=90,
)
WELCOME = Offer("welcome", GrantKind.PROMOTIONAL, 100_000_000)
PACK = Pack(credits=100_000, price_cents=1_000)

zones = st.sampled_from(sorted(available_timezones()))


def _introductory(paying_since: date, timezone: str = "UTC") -> OfferGrant | None:
    grants = offer_grants([INTRODUCTORY], paying_since=paying_since, timezone=timezone)
    return grants[0] if grants else None


@pytest.mark.parametrize(
    "paying_since, granted_on, expires_as_this_day_begins",
    [
        (date(2019, 1, 31), date(2026, 4, 8), date(2026, 7, 8)),
        (date(2026, 4, 7), date(2026, 4, 8), date(2026, 7, 8)),
        (date(2026, 4, 8), date(2026, 4, 8), date(2026, 7, 8)),
        (date(2026, 4, 9), date(2026, 4, 9), date(2026, 7, 9)),
        (date(2026, 6, 15), date(2026, 6, 15), date(2026, 9, 14)),
        (date(2026, 6, 30), date(2026, 6, 30), date(2026, 9, 29)),
    ],
)
@pytest.mark.parametrize(
    "timezone", ["UTC", "Pacific/Auckland", "America/New_York", "America/Havana", "Asia/Kolkata"]
)
def test_the_introductory_grant_ends_when_its_90th_day_is_over_where_the_account_is(
    paying_since: date, granted_on: date, expires_as_this_day_begins: date, timezone: str
) -> None:
    grant = _introductory(paying_since, timezone)

    assert grant is not None
    assert grant.granted_on == granted_on
    assert (grant.kind, grant.amount_mc) == (GrantKind.INTRODUCTORY, 100_000_000)
    assert grant.expires_at is not None
    assert grant.expires_at.tzinfo is UTC
    there = grant.expires_at.astimezone(ZoneInfo(timezone))
    assert (there.date(), there.hour, there.minute) == (expires_as_this_day_begins, 0, 0)


def test_the_last_day_of_the_introductory_offer_gets_it_and_the_next_does_not() -> None:
    assert _introductory(date(2026, 6, 30)) is not None
    assert _introductory(date(2026, 7, 1)) is None
    assert _introductory(date(2027, 1, 1)) is None


@pytest.mark.parametrize(
    "timezone, granted_on, days, expected",
    [
        ("UTC", date(2026, 4, 8), 90, datetime(2026, 7, 8, tzinfo=UTC)),
        # No daylight saving time in July: UTC+12. In January: UTC+13.
        ("Pacific/Auckland", date(2026, 4, 8), 90, datetime(2026, 7, 7, 12, tzinfo=UTC)),
        ("Pacific/Auckland", date(2026, 10, 10), 90, datetime(2027, 1, 8, 11, tzinfo=UTC)),
        ("America/New_York", date(2026, 4, 8), 90, datetime(2026, 7, 8, 4, tzinfo=UTC)),
        # Granted in summer time, expiring in winter time, and the other way round.
        ("America/New_York", date(2026, 9, 1), 90, datetime(2026, 12, 1, 5, tzinfo=UTC)),
        ("America/New_York", date(2026, 2, 1), 90, datetime(2026, 5, 3, 4, tzinfo=UTC)),
        # Clocks skip the midnight at which the day before is over.
        ("America/Havana", date(2026, 3, 6), 1, datetime(2026, 3, 8, 5, tzinfo=UTC)),
        ("Asia/Beirut", date(2026, 3, 27), 1, datetime(2026, 3, 28, 22, tzinfo=UTC)),
        ("America/Sao_Paulo", date(2018, 11, 2), 1, datetime(2018, 11, 4, 3, tzinfo=UTC)),
        # Clocks go through midnight twice: the day before is over at the first.
        ("America/Havana", date(2026, 10, 30), 1, datetime(2026, 11, 1, 4, tzinfo=UTC)),
        # Samoa had no 30 December 2011: the 29th was over as the 31st began.
        ("Pacific/Apia", date(2011, 12, 28), 1, datetime(2011, 12, 30, 10, tzinfo=UTC)),
        ("Pacific/Apia", date(2026, 4, 8), 90, datetime(2026, 7, 7, 11, tzinfo=UTC)),
    ],
)
def test_expiry_instants_where_clocks_do_odd_things(
    timezone: str, granted_on: date, days: int, expected: datetime
) -> None:
    assert expiry_instant(granted_on, days, timezone) == expected


@given(zones, st.dates(date(2026, 1, 1), date(2035, 12, 31)), st.integers(0, 400))
def test_law_8_an_expiry_is_never_early_and_never_late_in_any_time_zone(
    timezone: str, granted_on: date, days: int
) -> None:
    expires_at = expiry_instant(granted_on, days, timezone)

    zone = ZoneInfo(timezone)
    last_day = granted_on + timedelta(days=days)
    assert (expires_at - timedelta(seconds=1)).astimezone(zone).date() <= last_day
    assert expires_at.astimezone(zone).date() > last_day


def test_an_open_offer_is_granted_on_the_first_paid_day_whenever_that_is() -> None:
    for day in (date(2001, 1, 1), date(2026, 4, 8), date(2031, 12, 31)):
        grants = offer_grants([WELCOME], paying_since=day, timezone="Europe/Berlin")

        assert [(grant.offer_id, grant.granted_on) for grant in grants] == [("welcome", day)]
        assert grants[0].expires_at is None


def test_an_account_gets_every_offer_that_fits_in_their_order() -> None:
    offers = [WELCOME, INTRODUCTORY]

    early = offer_grants(offers, paying_since=date(2026, 5, 1), timezone="UTC")
    late = offer_grants(offers, paying_since=date(2026, 7, 1), timezone="UTC")

    assert [grant.offer_id for grant in early] == ["welcome", "introductory"]
    assert [grant.offer_id for grant in late] == ["welcome"]


@pytest.mark.parametrize(
    "timezone", ["Mars/Olympus", "Europe", "", "../UTC", "UTC ", "x" * 5_000, "a\0b", None, 1]
)
def test_a_time_zone_that_does_not_exist_is_refused_with_what_is_allowed(timezone: Any) -> None:
    with pytest.raises(ValueError, match=r"timezone: found .* allowed is an IANA time zone"):
        offer_grants([], paying_since=date(2026, 4, 8), timezone=timezone)
    with pytest.raises(ValueError, match="timezone: found"):
        expiry_instant(date(2026, 4, 8), 90, timezone)
    with pytest.raises(ValueError, match="timezone: found"):
        check_timezone(timezone)


@pytest.mark.parametrize("paying_since", [datetime(2026, 4, 8, tzinfo=UTC), "2026-04-08", None])
def test_a_first_paid_day_is_a_date(paying_since: Any) -> None:
    with pytest.raises(ValueError, match="paying_since: found"):
        offer_grants([WELCOME], paying_since=paying_since, timezone="UTC")


def test_an_expiry_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the end of the calendar"):
        expiry_instant(date(9999, 12, 31), 0, "UTC")


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"id": ""}, "id"),
        ({"kind": GrantKind.PURCHASED}, "kind"),
        ({"amount_mc": 0}, "amount_mc"),
        ({"amount_mc": 1.0}, "amount_mc"),
        ({"paying_from": datetime(2026, 4, 8, tzinfo=UTC)}, "paying_from"),
        ({"paying_from": date(2026, 4, 8), "paying_until": date(2026, 4, 7)}, "paying_until"),
        ({"expires_after_days": -1}, "expires_after_days"),
        ({"expires_after_days": 36_501}, "expires_after_days"),
        ({"expires_after_days": True}, "expires_after_days"),
    ],
)
def test_an_offer_that_can_not_be_meant_is_refused_by_field(
    changes: dict[str, Any], field: str
) -> None:
    good: dict[str, Any] = {"id": "o", "kind": GrantKind.PROMOTIONAL, "amount_mc": 1}

    with pytest.raises(ValueError, match=f"^{field}: "):
        Offer(**good | changes)


@given(st.integers(1, MAX_MC // 100_000_000))
def test_whole_packs_are_sold(packs: int) -> None:
    assert purchase_amount_mc(packs * 100_000, PACK) == packs * 100_000_000


@given(st.integers(-(10**20), 10**20).filter(lambda count: count <= 0 or count % 100_000))
def test_anything_but_whole_packs_is_refused_with_the_size_of_a_pack(count: int) -> None:
    with pytest.raises(PurchaseRefused, match="multiples of 100,000"):
        purchase_amount_mc(count, PACK)


@pytest.mark.parametrize("count", [150_000, 100_000.0, True, "100000", None, MAX_MC * 100_000])
def test_odd_purchases_are_refused(count: Any) -> None:
    with pytest.raises(PurchaseRefused):
        purchase_amount_mc(count, PACK)


@pytest.mark.parametrize("pack", [(0, 1_000), (100_000, 0), (1.5, 1), (True, 1)])
def test_a_pack_has_a_size_and_a_price(pack: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="allowed is an integer above 0"):
        Pack(*pack)


@pytest.mark.parametrize("amount", [1, MAX_MC])
def test_amounts_up_to_the_largest_exact_one_pass(amount: int) -> None:
    assert check_amount_mc(amount, "amount") == amount


@pytest.mark.parametrize("amount", [0, -1, MAX_MC + 1, 1.0, True, "1", None])
def test_other_amounts_are_refused_by_field(amount: Any) -> None:
    with pytest.raises(ValueError, match=r"^grant.amount: found .*9,007,199,254,740,991"):
        check_amount_mc(amount, "grant.amount")


def test_law_10_introductory_credits_burn_first_and_purchased_ones_last() -> None:
    order = sorted(GrantKind, key=lambda kind: DEFAULT_PRIORITY[kind])

    assert order == [
        GrantKind.INTRODUCTORY,
        GrantKind.PROMOTIONAL,
        GrantKind.PLAN,
        GrantKind.ADJUSTMENT,
        GrantKind.PURCHASED,
    ]
