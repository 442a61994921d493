from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.offers import MAX_MC
from pricing.quote import quote_mc
from pricing.rate_card import MAX_RATE_MC, RateCard, RateCards, Rates, Tier

RATES = Rates(1, 2, 3, 4, 5)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants naive bounds and adds UTC itself


def _card(version: str, effective_from: datetime) -> RateCard:
    return RateCard(version, effective_from, {"m": RATES})


@given(st.lists(instants, unique=True), instants)
def test_the_card_in_force_is_the_last_one_that_has_begun(
    starts: list[datetime], now: datetime
) -> None:
    cards = RateCards([_card(str(index), start) for index, start in enumerate(starts)])

    found = cards.at(now)

    begun = [start for start in starts if start <= now]
    assert (found.effective_from if found else None) == max(begun, default=None)


def test_a_card_is_in_force_from_its_very_instant_on() -> None:
    start = datetime(2026, 4, 8, tzinfo=UTC)
    cards = RateCards([_card("a", start)])

    assert cards.at(start - timedelta(microseconds=1)) is None
    found = cards.at(start)
    assert found is not None
    assert found.version == "a"


def test_two_cards_share_neither_version_nor_start() -> None:
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

    with pytest.raises(ValueError, match="version"):
        RateCards([_card("a", first), _card("a", second)])
    with pytest.raises(ValueError, match="effective_from"):
        RateCards([_card("a", first), _card("b", first)])


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001 - the mistake that is refused
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_instants_that_are_not_in_utc_are_refused(instant: datetime) -> None:
    with pytest.raises(ValueError, match="effective_from: found 2026-01-01"):
        _card("a", instant)
    with pytest.raises(ValueError, match="instant"):
        RateCards([]).at(instant)


def test_a_card_does_not_change_with_the_mapping_that_it_was_made_from() -> None:
    rates = {"m": RATES}
    card = RateCard("a", datetime(2026, 1, 1, tzinfo=UTC), rates)

    rates["n"] = RATES

    assert dict(card.rates) == {"m": RATES}


def test_rates_that_are_all_zero_must_be_meant() -> None:
    with pytest.raises(ValueError, match="all rates are zero"):
        Rates(0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="contradicts"):
        Rates(0, 1, 0, 0, 0, free=True)

    assert Rates(0, 0, 0, 0, 0, free=True).dearest_output_mc == 0
    assert Rates(0, 0, 0, 0, 0, per_request_mc=1).per_request_mc == 1


@pytest.mark.parametrize(
    "tiers, mistake",
    [
        ([Tier(9, 9, 9, 9, 9, above_input_tokens=5)] * 2, "must rise"),
        (
            [Tier(9, 9, 9, 9, 9, above_input_tokens=n) for n in (6, 5)],
            "must rise",
        ),
        ([Tier(1, 2, 2, 4, 5, above_input_tokens=1_000)], "above 1,000 input tokens cached_input"),
        (
            [
                Tier(1, 9, 3, 4, 9, above_input_tokens=5),
                Tier(1, 9, 3, 4, 8, above_input_tokens=6),
            ],
            "above 6 input tokens reasoning costs less",
        ),
    ],
)
def test_tiers_rise_and_never_get_cheaper(tiers: list[Tier], mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake):
        replace(RATES, tiers=tuple(tiers))


def test_what_is_free_is_free_at_any_length() -> None:
    with pytest.raises(ValueError, match="contradicts"):
        Rates(0, 0, 0, 0, 0, free=True, tiers=(Tier(1, 1, 1, 1, 1, above_input_tokens=5),))


@pytest.mark.parametrize("above", [0, -1, 1.5, True, "5"])
def test_a_tier_begins_at_a_number_of_tokens(above: Any) -> None:
    with pytest.raises(ValueError, match="above_input_tokens: found"):
        Tier(1, 1, 1, 1, 1, above_input_tokens=above)


@pytest.mark.parametrize("rate", [-1, 1.5, True, "1", None, MAX_RATE_MC + 1])
def test_a_rate_that_is_no_integer_within_bounds_is_refused_by_name(rate: Any) -> None:
    with pytest.raises(ValueError, match="cached_input_mc: found"):
        Rates(1, 1, rate, 1, 1)
    with pytest.raises(ValueError, match="cached_input_mc: found"):
        Tier(1, 1, rate, 1, 1, above_input_tokens=5)


def test_no_possible_call_costs_more_than_a_balance_can_hold() -> None:
    most = MAX_RATE_MC
    dearest = Rates(most, most, most, most, most, most)

    assert quote_mc(dearest, 4_000_000, 4_000_000) <= MAX_MC
