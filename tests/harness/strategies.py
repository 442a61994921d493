"""Rates and usage as hypothesis draws them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from pricing.rate_card import MAX_RATE_MC, Rates, Tier
from pricing.usage import TokenUsage

tokens = st.integers(0, 2_000_000)
_a_rate = st.one_of(st.integers(0, 3), st.integers(0, 50_000_000), st.integers(0, MAX_RATE_MC))
_dearer_by = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 50_000_000))


class Prices(NamedTuple):
    """One rate for each token class."""

    input_mc: int
    output_mc: int
    cached_input_mc: int
    cache_write_mc: int
    reasoning_mc: int


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    first = before = Prices(*(draw(_a_rate) for _ in Prices._fields))
    request_mc = draw(_a_rate)
    if not any((*before, request_mc)):
        return Rates(*before, free=True)
    tiers = []
    for above in sorted(draw(st.sets(st.integers(1, 2_000_000), max_size=3))):
        # In no tier is a token class cheaper than in the one before.
        dearer = Prices(*(min(rate + draw(_dearer_by), MAX_RATE_MC) for rate in before))
        tiers.append(Tier(*dearer, above_input_tokens=above))
        before = dearer
    return Rates(*first, request_mc, tiers=tuple(tiers))


@st.composite
def rates_and_input_tokens(draw: st.DrawFn) -> tuple[Rates, int]:
    """Rates, and input that is more often than by chance just at the border of a tier."""
    drawn = draw(rates())
    borders = [tier.above_input_tokens for tier in drawn.tiers]
    at_a_border = draw(st.booleans())
    if borders and at_a_border:
        return drawn, draw(st.sampled_from(borders)) + draw(st.integers(-1, 1))
    return drawn, draw(tokens)


@st.composite
def usages_of(draw: st.DrawFn, input_tokens: int, output_tokens: int) -> TokenUsage:
    """Any usage of exactly so many tokens."""
    cached = draw(st.integers(0, input_tokens))
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=draw(st.integers(0, input_tokens - cached)),
        reasoning_tokens=draw(st.integers(0, output_tokens)),
    )


@st.composite
def rates_and_usages(draw: st.DrawFn) -> tuple[Rates, TokenUsage]:
    drawn, input_tokens = draw(rates_and_input_tokens())
    return drawn, draw(usages_of(input_tokens, draw(tokens)))
