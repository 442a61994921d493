"""Forecasts of made-up campaigns, held against what these then cost."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.quote import cost_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage
from runtime.learning.forecast import (
    People,
    Range,
    Typical,
    _student_t,
    by_history,
    by_limits,
    worst_case_mc,
)
from runtime.learning.history import History, observed

RATES = Rates(
    input_mc=60_000_000,
    output_mc=300_000_000,
    cached_input_mc=30_000_000,
    cache_write_mc=70_000_000,
    reasoning_mc=300_000_000,
    per_request_mc=20,
)
MOST = 2_000


class Crowd:
    """People whose answers vary in length, and half of whose input may come from a cache."""

    def __init__(self, seed: int, sigma: float) -> None:
        self.chance = random.Random(seed)
        self.sigma = sigma

    def answer(self) -> tuple[int, TokenUsage]:
        """The tokens that we count for the next one, and what is really used."""
        real = self.chance.randint(100, 400)
        thought = min(MOST - 40, round(60 * math.exp(self.sigma * self.chance.gauss(0, 1))))
        cached = real // 2 if self.chance.random() < 0.5 else 0
        return math.ceil(1.05 * (real + 32)), TokenUsage(real, 40 + thought, cached, 0, thought)

    def history(self, answers: int) -> History:
        history = History()
        for _ in range(answers):
            counted, usage = self.answer()
            history = history.plus(observed(usage, counted, MOST, cut=False, charged=True))
        return history


def trial(crowd: Crowd, known: int, total: int, counted: int) -> tuple[Range, int]:
    """Forecast a campaign of which so many are counted; return what it costs as well."""
    history = crowd.history(known)
    people = [crowd.answer() for _ in range(total)]
    # One in ten can't be asked about.
    lacking = [crowd.chance.random() < 0.1 for _ in people]
    real = sum(
        cost_mc(RATES, usage)
        for (_, usage), lacks in zip(people, lacking, strict=True)
        if not lacks
    )
    picked = crowd.chance.sample(range(total), counted)
    tokens = [people[i][0] for i in picked if not lacking[i]]
    return by_history(People(total, counted, tokens), RATES, history), real


@pytest.mark.parametrize(
    "known, total, counted, sigma",
    [(20, 60, 60, 0.5), (200, 60, 60, 0.5), (60, 400, 80, 0.5), (200, 100, 100, 0.8)],
)
def test_the_range_holds_in_at_least_90_of_100_campaigns(
    known: int, total: int, counted: int, sigma: float
) -> None:
    crowd = Crowd(seed=1, sigma=sigma)
    found = [trial(crowd, known, total, counted) for _ in range(100)]
    assert sum(r.low_mc <= real <= r.high_mc for r, real in found) >= 90
    # And it is no range that always holds.
    off = sum(real - r.expected_mc for r, real in found) / sum(real for _, real in found)
    assert abs(off) < 0.03


def test_the_more_answers_are_known_the_narrower_is_the_range() -> None:
    crowd = Crowd(seed=2, sigma=0.5)
    people = People(2_000, 2_000, [300] * 2_000)
    widths = [
        (found.high_mc - found.low_mc) / found.expected_mc
        for found in (by_history(people, RATES, crowd.history(n)) for n in (25, 100, 1_000))
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 3 * widths[-1]


TOKENS = st.lists(st.integers(1, 5_000), min_size=1, max_size=20)


@given(TOKENS, st.integers(1, 400), st.integers(0, 1_000), st.integers(1, 10))
def test_without_a_history_every_campaign_within_the_limits_lies_in_the_range(
    tokens: list[int], shortest: int, more: int, times: int
) -> None:
    people = People(len(tokens) * times, len(tokens), tokens)
    found = by_limits(people, RATES, shortest, shortest + more)
    for output in (shortest, shortest + more // 2, shortest + more):
        for cached in (0, 1):
            usages = [TokenUsage(n, output, cached_input_tokens=n * cached) for n in tokens]
            real = sum(cost_mc(RATES, usage) for usage in usages) * times
            assert found.low_mc - 1e-6 <= real <= found.high_mc + 1e-6
    assert found.low_mc <= found.expected_mc <= found.high_mc
    assert found.high_mc <= worst_case_mc(people, RATES, shortest + more)


@given(st.integers(0, 3_000), st.floats(0, 500), st.floats(0, 1))
def test_a_mean_between_two_lengths_costs_what_lies_between_them(
    counted: int, output: float, thinking: float
) -> None:
    typical = Typical(0.9, output, cached_share=0.3, reasoning_share=thinking)
    less, more = (
        Typical(0.9, whole, cached_share=0.3, reasoning_share=thinking).cost_mc(RATES, counted)
        for whole in (math.floor(output), math.floor(output) + 1)
    )
    assert less - 1e-9 <= typical.cost_mc(RATES, counted) <= more + 1e-9


def test_nobody_to_call_costs_nothing() -> None:
    found = by_history(People(10, 10, []), RATES, Crowd(3, 0.5).history(30))
    assert found == Range(0, 0, 0)


@pytest.mark.parametrize("freedom, t", [(19, 2.093), (29, 2.045), (99, 1.984), (10_000, 1.960)])
def test_the_t_distribution_is_the_one_of_the_tables(freedom: int, t: float) -> None:
    assert _student_t(freedom) == pytest.approx(t, abs=0.001)
