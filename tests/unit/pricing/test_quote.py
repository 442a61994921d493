from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.quote import UNLIMITED_TOKENS, cost_mc, covered_output_tokens, quote_mc
from pricing.rate_card import Rates, Tier
from pricing.usage import TokenUsage
from tests.harness.strategies import rates_and_input_tokens, rates_and_usages, tokens, usages_of


def _exact_mc(rates: Rates, usage: TokenUsage) -> Fraction:
    reached = [tier for tier in rates.tiers if usage.input_tokens > tier.above_input_tokens]
    held = reached[-1] if reached else rates
    plain_input = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return rates.per_request_mc + sum(
        (
            Fraction(count, 1_000_000) * rate
            for count, rate in (
                (plain_input, held.input_mc),
                (usage.cached_input_tokens, held.cached_input_mc),
                (usage.cache_write_tokens, held.cache_write_mc),
                (usage.output_tokens - usage.reasoning_tokens, held.output_mc),
                (usage.reasoning_tokens, held.reasoning_mc),
            )
        ),
        Fraction(0),
    )


@given(rates_and_usages())
def test_law_7_a_charge_is_rounded_only_up_and_by_less_than_one_millicredit(
    drawn: tuple[Rates, TokenUsage],
) -> None:
    charge_mc = cost_mc(*drawn)

    assert type(charge_mc) is int
    assert 0 <= charge_mc - _exact_mc(*drawn) < 1


@given(rates_and_usages())
def test_a_charge_is_never_below_zero(drawn: tuple[Rates, TokenUsage]) -> None:
    assert cost_mc(*drawn) >= 0


@given(rates_and_input_tokens(), tokens, st.data())
def test_law_17_a_charge_is_never_above_the_quote_for_usage_within_the_limits(
    drawn: tuple[Rates, int], max_output_tokens: int, data: st.DataObject
) -> None:
    rates, counted_tokens = drawn
    quoted_mc = quote_mc(rates, counted_tokens, max_output_tokens)
    borders = [t.above_input_tokens for t in rates.tiers if t.above_input_tokens <= counted_tokens]
    real_input = data.draw(
        st.one_of(st.integers(0, counted_tokens), st.sampled_from([counted_tokens, *borders]))
    )
    usage = data.draw(usages_of(real_input, data.draw(st.integers(0, max_output_tokens))))

    assert cost_mc(rates, usage) <= quoted_mc


@given(rates_and_input_tokens(), tokens)
def test_law_17_some_usage_costs_exactly_the_quote(
    drawn: tuple[Rates, int], given_out: int
) -> None:
    rates, given_in = drawn
    costs = [
        cost_mc(
            rates,
            TokenUsage(
                given_in, given_out, given_in * (read == 1), given_in * (read == 2), thought
            ),
        )
        for read in (0, 1, 2)
        for thought in (0, given_out)
    ]

    assert max(costs) == quote_mc(rates, given_in, given_out)


@given(rates_and_usages(), *[st.one_of(st.just(0), st.integers(0, 100_000))] * 5)
def test_a_charge_is_monotone_in_every_token_class(
    drawn: tuple[Rates, TokenUsage], plain: int, cached: int, written: int, said: int, thought: int
) -> None:
    rates, usage = drawn
    larger = TokenUsage(
        input_tokens=usage.input_tokens + plain + cached + written,
        output_tokens=usage.output_tokens + said + thought,
        cached_input_tokens=usage.cached_input_tokens + cached,
        cache_write_tokens=usage.cache_write_tokens + written,
        reasoning_tokens=usage.reasoning_tokens + thought,
    )

    assert cost_mc(rates, larger) >= cost_mc(rates, usage)


@given(rates_and_input_tokens(), tokens)
def test_a_quote_is_monotone_in_both_limits(drawn: tuple[Rates, int], output_tokens: int) -> None:
    rates, input_tokens = drawn
    quoted_mc = quote_mc(rates, input_tokens, output_tokens)

    assert quote_mc(rates, input_tokens + 1, output_tokens) >= quoted_mc
    assert quote_mc(rates, input_tokens, output_tokens + 1) >= quoted_mc


@given(rates_and_input_tokens(), st.integers(0, 10**12))
def test_covered_output_tokens_is_the_largest_number_that_the_credits_pay_for(
    drawn: tuple[Rates, int], available_mc: int
) -> None:
    rates, input_tokens = drawn
    covered = covered_output_tokens(rates, input_tokens, available_mc)

    if covered == -1:
        assert quote_mc(rates, input_tokens, 0) > available_mc
        return
    assert quote_mc(rates, input_tokens, covered) <= available_mc
    if covered != UNLIMITED_TOKENS:
        assert quote_mc(rates, input_tokens, covered + 1) > available_mc


@given(rates_and_input_tokens(), tokens)
def test_what_is_quoted_is_covered(drawn: tuple[Rates, int], output_tokens: int) -> None:
    rates, input_tokens = drawn
    quoted_mc = quote_mc(rates, input_tokens, output_tokens)

    assert covered_output_tokens(rates, input_tokens, quoted_mc) >= output_tokens


LONG = Rates(
    input_mc=1_000_000,
    output_mc=8_000_000,
    cached_input_mc=500_000,
    cache_write_mc=1_000_000,
    reasoning_mc=8_000_000,
    per_request_mc=7,
    tiers=(
        Tier(2_000_000, 12_000_000, 1_000_000, 2_000_000, 12_000_000, above_input_tokens=200),
        Tier(4_000_000, 16_000_000, 2_000_000, 4_000_000, 16_000_000, above_input_tokens=1_000),
    ),
)


@pytest.mark.parametrize(
    "input_tokens, charge_mc",
    [
        (200, 200 * 1 + 10 * 8 + 7),
        (201, 201 * 2 + 10 * 12 + 7),
        (1_000, 1_000 * 2 + 10 * 12 + 7),
        (1_001, 1_001 * 4 + 10 * 16 + 7),
    ],
)
def test_a_tier_holds_for_the_whole_request_once_its_input_is_above(
    input_tokens: int, charge_mc: int
) -> None:
    assert cost_mc(LONG, TokenUsage(input_tokens, 10)) == charge_mc
    assert quote_mc(LONG, input_tokens, 10) == charge_mc


def test_cached_input_counts_towards_a_tier() -> None:
    assert cost_mc(LONG, TokenUsage(201, 0, cached_input_tokens=201)) == 201 + 7


def test_output_that_costs_nothing_is_covered_without_limit_once_the_input_is() -> None:
    rates = Rates(1_000_000, 0, 0, 0, 0)

    assert covered_output_tokens(rates, 10, 10) == UNLIMITED_TOKENS
    assert covered_output_tokens(rates, 10, 9) == -1


def test_each_token_class_is_charged_at_its_own_rate() -> None:
    rates = Rates(
        input_mc=2_000_000,
        output_mc=8_000_000,
        cached_input_mc=1_000_000,
        cache_write_mc=3_000_000,
        reasoning_mc=9_000_000,
        per_request_mc=5,
    )
    usage = TokenUsage(100, 50, cached_input_tokens=30, cache_write_tokens=20, reasoning_tokens=10)

    assert cost_mc(rates, usage) == 50 * 2 + 30 * 1 + 20 * 3 + 40 * 8 + 10 * 9 + 5


def test_the_smallest_use_of_a_priced_model_costs_a_millicredit() -> None:
    assert cost_mc(Rates(1, 1, 1, 1, 1), TokenUsage(1, 0)) == 1


def test_a_free_model_costs_nothing() -> None:
    free = Rates(0, 0, 0, 0, 0, free=True)

    assert cost_mc(free, TokenUsage(1_000_000, 1_000_000)) == 0
    assert quote_mc(free, 1_000_000, 1_000_000) == 0
    assert covered_output_tokens(free, 1_000_000, 0) == UNLIMITED_TOKENS


@pytest.mark.parametrize("limits", [(-1, 5), (5, -1)])
def test_negative_limits_have_no_quote(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        quote_mc(Rates(1, 1, 1, 1, 1), *limits)
