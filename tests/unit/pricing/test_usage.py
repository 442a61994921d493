"""Law 17: a bill is bounded by what the request could have used."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.quote import cost_mc, quote_mc
from pricing.rate_card import Rates, Tier
from pricing.usage import TokenUsage, bounded, most_input_tokens

RATES = Rates(20, 80, 5, 25, 90, tiers=(Tier(40, 160, 10, 50, 180, above_input_tokens=1_000),))
TOKENS = st.integers(0, 5_000) | st.integers(0, 10**30)


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    cached, written, plain = draw(TOKENS), draw(TOKENS), draw(TOKENS)
    reasoning, said = draw(TOKENS), draw(TOKENS)
    return TokenUsage(cached + written + plain, reasoning + said, cached, written, reasoning)


@pytest.mark.parametrize("counted, most", [(0, 500), (100, 600), (500, 1_000), (501, 1_002)])
def test_law_17_input_is_bounded_by_twice_our_count_or_by_500_more(counted: int, most: int) -> None:
    assert most_input_tokens(counted) == most
    exactly, above = TokenUsage(most, 1), TokenUsage(most + 1, 1)
    assert bounded(exactly, counted, 1) == (exactly, False)
    assert bounded(above, counted, 1) == (exactly, True)


def test_law_17_output_is_bounded_by_the_limit_that_was_sent_and_the_allowance() -> None:
    assert bounded(TokenUsage(10, 120), 10, 120) == (TokenUsage(10, 120), False)
    assert bounded(TokenUsage(10, 121), 10, 120) == (TokenUsage(10, 120), True)
    beside = TokenUsage(10, 150, reasoning_tokens=30)
    assert bounded(beside, 10, 120, 30) == (beside, False)


@given(usages(), st.integers(0, 2_000), st.integers(1, 2_000), st.integers(0, 500))
def test_law_17_no_charge_exceeds_the_bound_or_what_was_reported(
    reported: TokenUsage, counted: int, max_output: int, allowance: int
) -> None:
    usage, capped = bounded(reported, counted, max_output, allowance)

    assert capped == (usage != reported)
    assert all(
        ours <= theirs for ours, theirs in zip(astuple(usage), astuple(reported), strict=True)
    )
    most = quote_mc(RATES, most_input_tokens(counted), max_output + allowance)
    assert cost_mc(RATES, usage) <= min(most, cost_mc(RATES, reported))
