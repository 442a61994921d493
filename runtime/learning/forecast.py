"""Forecasts of the cost of answers, from a history or, without one, from limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Self

from pricing.quote import cost_mc, quote_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage
from runtime.learning.history import History

ENOUGH_TO_FORECAST = 20
"""The number of answers that a forecast needs; with fewer, the action's limits tell more."""

_Z = 1.96
_SKEWNESS = 2.3
_STEP_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class Range:
    """The expected cost, and the range that should hold the cost of 95 in 100 such campaigns."""

    expected_mc: float
    low_mc: float
    high_mc: float


@dataclass(frozen=True, slots=True)
class Typical:
    """The usage of a typical answer.

    Args:
        input_share: real input tokens per token that we count.
        output_tokens: the mean number of output tokens.
        cached_share: the share of the real input that is read from a cache.
        written_share: the share of the real input that is written to a cache.
        reasoning_share: the share of the output that is reasoning.
    """

    input_share: float
    output_tokens: float
    cached_share: float = 0.0
    written_share: float = 0.0
    reasoning_share: float = 0.0

    @classmethod
    def of(cls, history: History) -> Self:
        """Return the mean of a history's answers. The history must not be empty."""
        sums, n = history.counts, history.charged
        real = max(1, sums.get("y", 0))
        return cls(
            input_share=sums.get("y", 0) / max(1, sums.get("x", 0)),
            output_tokens=sums.get("o", 0) / n,
            cached_share=sums.get("c", 0) / real,
            written_share=sums.get("w", 0) / real,
            reasoning_share=sums.get("r", 0) / max(1, sums.get("o", 0)),
        )

    @property
    def visible_output_tokens(self) -> float:
        """The mean number of output tokens without reasoning."""
        return self.output_tokens * (1 - self.reasoning_share)

    def cost_mc(self, rates: Rates, counted_tokens: int) -> float:
        """Return the mean cost of an answer to an input of this many counted tokens."""
        less = math.floor(self.output_tokens)
        part = self.output_tokens - less
        # Rounding the mean to whole tokens would err by up to half a token per person.
        return (1 - part) * cost_mc(rates, self._usage(counted_tokens, less)) + part * cost_mc(
            rates, self._usage(counted_tokens, less + 1)
        )

    def _usage(self, counted_tokens: int, output_tokens: int) -> TokenUsage:
        real = round(counted_tokens * self.input_share)
        cached = min(real, round(real * self.cached_share))
        return TokenUsage(
            real,
            output_tokens,
            cached_input_tokens=cached,
            cache_write_tokens=min(real - cached, round(real * self.written_share)),
            reasoning_tokens=min(output_tokens, round(output_tokens * self.reasoning_share)),
        )


@dataclass(frozen=True, slots=True)
class People:
    """The people of a campaign, and the sample whose prompts were counted.

    Args:
        total: the number of people.
        counted: the number of people in the sample: all of them, or at least two picked at random.
        input_tokens: the input tokens of each person in the sample who would get a call.
    """

    total: int
    counted: int
    input_tokens: Sequence[int]

    @property
    def called(self) -> float:
        """The number of people who would get a call."""
        return self.total * len(self.input_tokens) / self.counted

    def sum_of(self, each: Sequence[float]) -> float:
        """Return the sum over all people, extrapolated from the sample."""
        return math.fsum(each) * self.total / self.counted


def worst_case_mc(people: People, rates: Rates, max_output_tokens: int) -> int:
    """Return the cost of all calls if each one costs its quote."""
    quotes = [quote_mc(rates, tokens, max_output_tokens) for tokens in people.input_tokens]
    return math.ceil(people.sum_of(quotes))


def by_limits(people: People, rates: Rates, shortest: int, longest: int) -> Range:
    """Return a campaign's cost, estimated from the limits alone.

    The expected length of an answer is the geometric mean of the shortest and the longest one. The
    range goes from the shortest answers, with all input read from a cache, to the longest ones.
    """
    expected = Typical(1.0, math.sqrt(max(shortest, 1) * longest))
    least = Typical(1.0, shortest, cached_share=1.0)
    most = Typical(1.0, longest)
    found = [
        people.sum_of([typical.cost_mc(rates, tokens) for tokens in people.input_tokens])
        for typical in (expected, least, most)
    ]
    return Range(found[0], min(found), max(found))


def by_history(people: People, rates: Rates, history: History) -> Range:
    """Return a campaign's cost, estimated from the answers of its history.

    Three uncertainties add their variances: the deviation of M answers from their mean (M v, with v
    the variance of one answer's cost), that of the mean of the n known answers from the true mean
    (M^2 v / n), and that of the sample from all people (the usual formula for a sample without
    replacement). The range extends to either side by Student's t for n answers, in standard
    deviations.

    Lengths of answers are skewed to the right, and a few answers rarely include the longest ones,
    so both mean and spread tend to be too small. The upper end is corrected: Johnson, "Modified
    t Tests and Confidence Intervals for Asymmetrical Populations", JASA 73(363), 1978, with the
    skewness of a lognormal distribution with a sigma of 0.6.
    """
    typical = Typical.of(history)
    costs = [typical.cost_mc(rates, tokens) for tokens in people.input_tokens]
    expected = people.sum_of(costs)
    if not costs:
        return Range(expected, expected, expected)
    n, called = history.charged, people.called
    one = _variance_of_one(history, typical, rates, round(fmean(people.input_tokens)))
    everybody = [*costs, *[0.0] * (people.counted - len(costs))]
    sampled = 0.0
    if people.counted < people.total:
        unseen = 1 - people.counted / people.total
        sampled = people.total**2 * unseen * variance(everybody) / people.counted
    deviation = math.sqrt(called * one + called**2 * one / n + sampled)
    t = _student_t(n - 1)
    upper = t + _SKEWNESS * (1 + 2 * t**2) / (6 * math.sqrt(n))
    return Range(expected, max(0.0, expected - t * deviation), expected + upper * deviation)


def _variance_of_one(history: History, typical: Typical, rates: Rates, counted: int) -> float:
    """Return the variance of one answer's cost, in square millicredits.

    Output, the difference between real and counted input, and cached input count as independent.
    """
    sums, n = history.counts, history.charged
    share = typical.input_share
    of_output = sums.get("oo", 0) - n * typical.output_tokens**2
    of_input = sums.get("yy", 0) - 2 * share * sums.get("xy", 0) + share**2 * sums.get("xx", 0)
    of_cached = sums.get("cc", 0) - sums.get("c", 0) ** 2 / n
    real = max(_STEP_TOKENS, round(counted * share))
    output = round(typical.output_tokens)
    thinking = round(_STEP_TOKENS * typical.reasoning_share)
    base = cost_mc(rates, TokenUsage(real, output))
    slopes = (
        cost_mc(rates, TokenUsage(real, output + _STEP_TOKENS, reasoning_tokens=thinking)),
        cost_mc(rates, TokenUsage(real + _STEP_TOKENS, output)),
        cost_mc(rates, TokenUsage(real, output, cached_input_tokens=_STEP_TOKENS)),
    )
    return sum(
        max(0.0, squares) / (n - 1) * ((slope - base) / _STEP_TOKENS) ** 2
        for squares, slope in zip((of_output, of_input, of_cached), slopes, strict=True)
    )


def _student_t(freedom: int) -> float:
    """Return Student's t for 97.5%, accurate to 0.001 from 15 degrees of freedom.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = _Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
