"""LiteLLM's price map as it is installed, and entries made up for what it rarely holds."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.price_map import Listing, PriceMap, load_price_map
from pricing.rate_card import Rates, TokenRates
from pricing.suggested_rates import NotSuggested, suggest_rates

TODAY = date(2026, 11, 24)
ENTRY: dict[str, Any] = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": Decimal("0.000002"),
    "output_cost_per_token": Decimal("0.000008"),
}


def listing(name: str = "openai/x", **entry: Any) -> Listing:
    """What a map says that has one entry; ``None`` takes a field out of it."""
    fields = {key: value for key, value in {**ENTRY, **entry}.items() if value is not None}
    found = PriceMap({name.partition("/")[2]: fields}).find(name)
    assert found is not None
    return found


def suggested(markup: str = "1", **entry: Any) -> Rates:
    return suggest_rates(listing(**entry), Decimal(markup), TODAY)


def test_a_price_of_a_millionth_of_a_dollar_is_ten_thousand_credits_a_million() -> None:
    rates = suggested(input_cost_per_token=Decimal("0.000001"))

    assert rates.input_mc == 10_000 * 1_000


@given(
    st.integers(1, 10**12),
    st.decimals(1, 5, places=3, allow_nan=False),
)
def test_a_rate_is_the_price_times_the_markup_rounded_up_by_less_than_a_millicredit(
    price: int, markup: Decimal
) -> None:
    usd = Decimal(price).scaleb(-16)
    rates = suggest_rates(listing(input_cost_per_token=usd), markup, TODAY)

    exact = Fraction(usd) * 1_000_000 * 10_000 * 1_000 * Fraction(markup)
    assert 0 <= rates.input_mc - exact < 1


def test_classes_without_a_price_or_with_one_of_zero_cost_as_input_or_output_does() -> None:
    rates = suggested(cache_read_input_token_cost=Decimal(0))

    assert (rates.cached_input_mc, rates.cache_write_mc) == (20_000_000, 20_000_000)
    assert rates.reasoning_mc == rates.output_mc == 80_000_000


def test_classes_with_a_price_of_their_own_have_it() -> None:
    rates = suggested(
        cache_read_input_token_cost=Decimal("0.0000005"),
        cache_creation_input_token_cost=Decimal("0.0000025"),
        output_cost_per_reasoning_token=Decimal("0.000009"),
        input_cost_per_request=Decimal("0.005"),
    )

    assert (rates.cached_input_mc, rates.cache_write_mc) == (5_000_000, 25_000_000)
    assert rates.reasoning_mc == 90_000_000
    assert rates.per_request_mc == 50_000


def test_longer_requests_have_their_tiers_in_order() -> None:
    rates = suggested(
        input_cost_per_token_above_200k_tokens=Decimal("0.000004"),
        output_cost_per_token_above_200k_tokens=Decimal("0.000012"),
        input_cost_per_token_above_128_tokens=Decimal("0.000003"),
        input_cost_per_token_above_200k_tokens_priority=Decimal("0.9"),
    )

    short, long = rates.tiers
    assert (short.above_input_tokens, long.above_input_tokens) == (128, 200_000)
    assert (short.input_mc, short.output_mc) == (30_000_000, 80_000_000)
    assert (long.input_mc, long.output_mc) == (40_000_000, 120_000_000)
    assert (long.cached_input_mc, long.reasoning_mc) == (40_000_000, 120_000_000)


def test_a_tier_has_prices_of_its_own_for_cached_tokens() -> None:
    [tier] = suggested(
        input_cost_per_token_above_200k_tokens=Decimal("0.000004"),
        cache_read_input_token_cost=Decimal("0.0000005"),
        cache_read_input_token_cost_above_200k_tokens=Decimal("0.000001"),
    ).tiers

    assert (tier.input_mc, tier.cached_input_mc) == (40_000_000, 10_000_000)


def test_a_longer_request_that_would_be_cheaper_keeps_the_rates_of_shorter_ones() -> None:
    [tier] = suggested(input_cost_per_token_above_200k_tokens=Decimal("0.000001")).tiers

    assert (tier.input_mc, tier.output_mc) == (20_000_000, 80_000_000)


def test_prices_by_ranges_of_input_are_tiers_too() -> None:
    ranges = [
        {
            "range": [Decimal(32_000), Decimal(128_000)],
            "input_cost_per_token": Decimal("0.000003"),
            "output_cost_per_token": Decimal("0.000009"),
        },
        {
            "range": [0, Decimal(32_000)],
            "input_cost_per_token": Decimal("0.000002"),
            "output_cost_per_token": Decimal("0.000008"),
        },
    ]
    rates = suggested(input_cost_per_token=None, output_cost_per_token=None, tiered_pricing=ranges)

    [tier] = rates.tiers
    assert (rates.input_mc, rates.output_mc) == (20_000_000, 80_000_000)
    assert (tier.above_input_tokens, tier.input_mc) == (32_000, 30_000_000)


@pytest.mark.parametrize(
    "entry, why",
    [
        ({"mode": "embedding"}, "mode 'embedding'"),
        ({"mode": None}, "mode 'unknown'"),
        ({"deprecation_date": "2026-11-24"}, "retired it on 2026-11-24"),
        ({"input_cost_per_token": None}, "no price for input tokens"),
        ({"output_cost_per_token": None}, "no price for output tokens"),
        ({"input_cost_per_token": 0}, "price of zero for input tokens"),
        ({"output_cost_per_token": Decimal("0.0")}, "price of zero for output tokens"),
        ({"input_cost_per_token": "cheap"}, "no price for input tokens"),
        ({"input_cost_per_token": Decimal(-1)}, "no price for input tokens"),
        ({"input_cost_per_token": None, "tiered_pricing": [{"max": 1}]}, "no price for input"),
    ],
    ids=str,
)
def test_a_model_that_can_not_be_sold_is_refused_with_the_reason(
    entry: dict[str, Any], why: str
) -> None:
    with pytest.raises(NotSuggested, match=why):
        suggested(**entry)


def test_a_model_that_will_be_given_up_is_not_refused_yet() -> None:
    assert suggested(deprecation_date="2026-11-25").input_mc
    assert listing(deprecation_date="2026-11-25").deprecated_on == date(2026, 11, 25)
    assert listing(deprecation_date="some day").deprecated_on is None


def test_a_model_that_bills_its_searches_is_refused() -> None:
    searching = listing("perplexity/x", litellm_provider="perplexity", citation_cost_per_token=1)

    with pytest.raises(NotSuggested, match="searches"):
        suggest_rates(searching, Decimal(1), TODAY)


def test_a_name_is_found_with_its_provider_and_under_no_other() -> None:
    listed = PriceMap({"x": ENTRY, "groq/y": {**ENTRY, "litellm_provider": "groq"}})

    assert listed.find("openai/x") is not None
    assert listed.find("groq/y") is not None
    assert listed.find("azure/x") is None
    assert listed.find("x/y") is None


def test_providers_of_one_family_share_their_models() -> None:
    listed = PriceMap({"claude-x": {**ENTRY, "litellm_provider": "vertex_ai-anthropic_models"}})

    assert listed.find("vertex_ai/claude-x") is not None
    assert listed.near("vertex_ai/claude") == ["vertex_ai/claude-x"]


def test_a_misspelt_name_leads_to_those_that_there_are() -> None:
    assert "openai/gpt-4.1-mini" in load_price_map().near("openai/gpt-4.1-mnii")
    assert load_price_map().near("acme/none-of-these") == []


def installed_names() -> list[str]:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (folder,) = spec.submodule_search_locations
    file = Path(folder, "model_prices_and_context_window_backup.json")
    return list(json.loads(file.read_bytes()))


def test_every_model_of_the_installed_map_has_sound_rates_or_is_refused() -> None:
    listed, suggestions = load_price_map(), 0
    for name in installed_names():
        found = listed.find(name)
        assert found is not None
        try:
            rates = suggest_rates(found, Decimal(1), TODAY)
        except NotSuggested:
            continue
        suggestions += 1
        usual = found.prices[0]
        assert usual.input_usd is not None
        assert 0 <= rates.input_mc - Fraction(usual.input_usd) * 10**13 < 1
        for field in fields(TokenRates):
            assert getattr(rates, field.name) > 0
    assert suggestions > 2_000
