from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.efficiency import (
    cost_efficient,
    relative_costs,
    typical_answer_tokens,
    typical_thinking_tokens,
)
from pricing.rate_card import ModelClass

QUICK, REASONING = ModelClass.QUICK, ModelClass.REASONING
models = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.sampled_from(ModelClass), st.integers(0, 10**9)),
    max_size=6,
)


@given(models)
def test_cost_efficient_is_what_costs_at_most_a_quarter_more_than_the_cheapest_of_its_class(
    costs: dict[str, tuple[ModelClass, int]],
) -> None:
    found = cost_efficient(costs)

    for model, (model_class, cost_mc) in costs.items():
        cheapest_mc = min(mc for one, mc in costs.values() if one is model_class)
        assert (model in found) == (Fraction(cost_mc) <= Fraction(5, 4) * cheapest_mc)


def test_the_border_is_cost_efficient_and_a_millicredit_above_it_is_not() -> None:
    costs = {"a": (QUICK, 1_000), "b": (QUICK, 1_250), "c": (QUICK, 1_251), "d": (REASONING, 9_000)}

    assert cost_efficient(costs) == {"a", "b", "d"}
    assert cost_efficient({}) == frozenset()


def test_costs_are_compared_with_the_cheapest_that_is_not_free() -> None:
    assert relative_costs({"a": 200, "b": 100, "c": 0, "d": 320}) == {
        "a": 2,
        "b": 1,
        "c": 0,
        "d": Fraction(16, 5),
    }
    assert relative_costs({"c": 0}) == {"c": 0}
    assert relative_costs({}) == {}


@pytest.mark.parametrize(
    "limit, allowance, answer", [(400, 0, 160), (1, 0, 1), (1_000, 500, 200), (101, 0, 41)]
)
def test_a_typical_answer_takes_40_percent_of_what_is_left_for_it(
    limit: int, allowance: int, answer: int
) -> None:
    assert typical_answer_tokens(limit, allowance) == answer


def test_thinking_takes_40_percent_of_what_is_allowed() -> None:
    assert (typical_thinking_tokens(0), typical_thinking_tokens(1_001)) == (0, 401)
