"""Rates and usage as hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from pricing.rate_card import MAX_RATE_MC, Rates
from pricing.usage import TokenUsage

tokens = st.integers(0, 2_000_000)


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    a_rate = st.one_of(st.integers(0, 3), st.integers(0, 50_000_000), st.integers(0, MAX_RATE_MC))
    input_mc, output_mc, cached_mc, write_mc, reasoning_mc, request_mc = (
        draw(a_rate) for _ in range(6)
    )
    return Rates(
        input_mc,
        output_mc,
        cached_mc,
        write_mc,
        reasoning_mc,
        request_mc,
        free=not any((input_mc, output_mc, cached_mc, write_mc, reasoning_mc, request_mc)),
    )


@st.composite
def usages(draw: st.DrawFn) -> TokenUsage:
    input_tokens, output_tokens = draw(tokens), draw(tokens)
    cached = draw(st.integers(0, input_tokens))
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=draw(st.integers(0, input_tokens - cached)),
        reasoning_tokens=draw(st.integers(0, output_tokens)),
    )
