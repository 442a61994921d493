"""Law 17: whatever a provider reports, the bill is valid, bounded, and nothing of it is lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.quote import cost_mc, quote_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage, most_input_tokens
from providers.base import MAX_ANSWER_CHARS, Completion, FinishReason
from providers.litellm.usage import read_usage
from runtime.executions.decision import Bill, bill
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes
from tests.harness.strategies import rates
from tests.harness.usage_objects import usage_objects

RATES = Rates(20_000_000, 80_000_000, 5_000_000, 25_000_000, 80_000_000)
MOST_S = 0.05


def as_attributes(value: Any) -> Any:
    """Return a usage object as LiteLLM hands it on, with attributes."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_attributes(part) for name, part in value.items()})
    return value


def billed(completion: Completion, counted: int = 100, most: int = 200, allowance: int = 0) -> Bill:
    return bill(completion, counted, most, allowance, len)


@given(
    usage_objects(),
    st.text(max_size=40),
    rates(),
    st.integers(0, 5_000),
    st.integers(1, 5_000),
    st.integers(0, 500),
)
def test_law_17_any_usage_object_makes_a_bill_within_the_bound_and_the_rest_is_exposure(
    reported: Any, text: str, rates: Rates, counted: int, most: int, allowance: int
) -> None:
    usage, beside = read_usage(as_attributes(reported), answered=bool(text))
    completion = Completion(text, FinishReason.STOP, usage, reasoning_beside=beside)

    made = billed(completion, counted, most, allowance)

    charge_mc, reported_mc = cost_mc(rates, made.usage), cost_mc(rates, made.reported)
    most_output = most + (allowance if beside else 0)
    assert charge_mc <= quote_mc(rates, most_input_tokens(counted), most_output)
    assert 0 <= charge_mc <= reported_mc
    assert ("usage_estimated" in made.flags) == (usage is None)
    assert ("usage_capped" in made.flags) == (made.usage != made.reported)
    assert usage in (None, made.reported)


@pytest.mark.parametrize(
    "raw, charged_mc, exposure_mc, flags",
    [
        ({"completion_tokens": 1_000_000}, 18_000, 79_984_000, ("usage_capped",)),
        ({"completion_tokens": 10**9}, 18_000, 79_999_984_000, ("usage_capped",)),
        ({"completion_tokens": 40, "total_tokens": 10**7}, 18_000, 799_976_000, ("usage_capped",)),
        ({"completion_tokens": 40, "total_tokens": 140}, 5_200, 0, ()),
    ],
)
def test_law_17_what_the_request_could_not_have_used_is_exposure(
    raw: dict[str, int], charged_mc: int, exposure_mc: int, flags: tuple[str, ...]
) -> None:
    usage, beside = read_usage(SimpleNamespace(prompt_tokens=100, **raw), answered=True)
    made = billed(Completion("x", FinishReason.STOP, usage, reasoning_beside=beside))

    charged = cost_mc(RATES, made.usage)
    assert (charged, cost_mc(RATES, made.reported) - charged) == (charged_mc, exposure_mc)
    assert made.flags == flags


def test_law_17_reasoning_beside_the_answer_is_billed_up_to_the_allowance() -> None:
    usage = TokenUsage(100, 5_000, reasoning_tokens=4_900)

    def output(*, beside: bool) -> int:
        completion = Completion("x", FinishReason.STOP, usage, reasoning_beside=beside)
        return billed(completion, most=200, allowance=1_000).usage.output_tokens

    assert (output(beside=True), output(beside=False)) == (1_200, 200)


def test_law_15_text_that_no_limit_of_tokens_allows_is_not_counted() -> None:
    def refuses(text: str) -> int:
        raise AssertionError(len(text))

    longest = Completion("x" * (16 * 200 + 1), FinishReason.STOP, None)
    made = bill(longest, 100, 200, 0, refuses)

    assert made.usage == TokenUsage(100, 200)
    assert made.flags == ("usage_estimated", "usage_capped")


def parts_of(size: int) -> dict[str, Any]:
    digits = int("9" * size)
    names = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
    return dict.fromkeys(names, digits) | {f"of_the_provider_{n}": digits for n in range(size)}


def charge(usage: Any) -> int:
    found, beside = read_usage(usage, answered=True)
    made = billed(Completion("x", FinishReason.STOP, found, reasoning_beside=beside))
    return cost_mc(RATES, made.usage)


def test_law_15_a_usage_object_of_any_size_is_billed_in_little_time_and_memory() -> None:
    largest = as_attributes(parts_of(4_300))
    longest = Completion("x" * (MAX_ANSWER_CHARS + 1), FinishReason.STOP, None)

    assert_cpu(lambda: charge(largest), MOST_S)
    assert peak_bytes(lambda: charge(largest)) < 1_000_000
    assert_cpu(lambda: billed(longest), MOST_S)
    assert_linear(lambda size: as_attributes(parts_of(size)), charge, 2_000)
