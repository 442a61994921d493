from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.quote import UNLIMITED_TOKENS, cost_mc, covered_output_tokens, quote_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage
from tests.unit.pricing.strategies import rates, tokens, usages


def _exact_mc(rates: Rates, usage: TokenUsage) -> Fraction:
    plain_input = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return rates.per_request_mc + sum(
        (
            Fraction(count, 1_000_000) * rate
            for count, rate in (
                (plain_input, rates.input_mc),
                (usage.cached_input_tokens, rates.cached_input_mc),
                (usage.cache_write_tokens, rates.cache_write_mc),
                (usage.output_tokens - usage.reasoning_tokens, rates.output_mc),
                (usage.reasoning_tokens, rates.reasoning_mc),
            )
        ),
        Fraction(0),
    )


@given(rates(), usages())
def test_a_charge_is_rounded_only_up_and_by_less_than_a_millicredit(
    rates: Rates, usage: TokenUsage
) -> None:
    charge_mc = cost_mc(rates, usage)

    assert type(charge_mc) is int
    assert 0 <= charge_mc - _exact_mc(rates, usage) < 1
    assert charge_mc >= 0


@given(rates(), usages(), tokens, tokens)
def test_no_usage_within_the_limits_costs_more_than_the_quote(
    rates: Rates, usage: TokenUsage, spare_input: int, spare_output: int
) -> None:
    quoted_mc = quote_mc(
        rates, usage.input_tokens + spare_input, usage.output_tokens + spare_output
    )

    assert cost_mc(rates, usage) <= quoted_mc


@given(rates(), tokens, tokens)
def test_some_usage_costs_exactly_the_quote(rates: Rates, given_in: int, given_out: int) -> None:
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


@given(rates(), usages(), st.integers(1, 100_000))
def test_more_tokens_of_any_class_never_cost_less(
    rates: Rates, usage: TokenUsage, more: int
) -> None:
    more_input = usage.input_tokens + more
    more_output = usage.output_tokens + more
    larger = [
        replace(usage, input_tokens=more_input),
        replace(
            usage, input_tokens=more_input, cached_input_tokens=usage.cached_input_tokens + more
        ),
        replace(usage, input_tokens=more_input, cache_write_tokens=usage.cache_write_tokens + more),
        replace(usage, output_tokens=more_output),
        replace(usage, output_tokens=more_output, reasoning_tokens=usage.reasoning_tokens + more),
    ]

    assert all(cost_mc(rates, one) >= cost_mc(rates, usage) for one in larger)


@given(rates(), tokens, st.integers(0, 10**12))
def test_covered_output_tokens_is_the_largest_number_that_the_credits_pay_for(
    rates: Rates, input_tokens: int, available_mc: int
) -> None:
    covered = covered_output_tokens(rates, input_tokens, available_mc)

    if covered == -1:
        assert quote_mc(rates, input_tokens, 0) > available_mc
        return
    assert quote_mc(rates, input_tokens, covered) <= available_mc
    if covered != UNLIMITED_TOKENS:
        assert quote_mc(rates, input_tokens, covered + 1) > available_mc


@given(rates(), tokens, tokens)
def test_what_is_quoted_is_covered(rates: Rates, input_tokens: int, output_tokens: int) -> None:
    quoted_mc = quote_mc(rates, input_tokens, output_tokens)

    assert covered_output_tokens(rates, input_tokens, quoted_mc) >= output_tokens


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
