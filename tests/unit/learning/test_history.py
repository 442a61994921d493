"""What a history tells of the answers that went into it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from pricing.usage import TokenUsage
from runtime.learning.history import (
    ACCURACY,
    ENOUGH_TO_RESERVE,
    MOST_TOKENS,
    History,
    bucket_of,
    is_field,
    observed,
    upper_edge,
)
from runtime.learning.sharing import MOST_ANSWERS
from tests.harness.bounds import assert_cpu, peak_bytes

MOST = 1_000
LENGTHS = st.integers(1, MOST)


def of_length(tokens: int, *, cut: bool = False) -> dict[str, int]:
    return observed(TokenUsage(100, tokens), 120, MOST, cut=cut, charged=not cut)


def knowing(lengths: Iterable[int], cuts: int = 0) -> History:
    history = History()
    for length in lengths:
        history = history.plus(of_length(length))
    for _ in range(cuts):
        history = history.plus(of_length(10, cut=True))
    return history


@given(st.integers(0, 10**9))
def test_a_bucket_holds_lengths_that_differ_by_less_than_twice_the_accuracy(tokens: int) -> None:
    bucket = bucket_of(tokens)
    edge = upper_edge(bucket)
    assert tokens <= max(edge, 1)
    assert edge <= max(tokens, 1) * (1 + ACCURACY) / (1 - ACCURACY) + 1e-3


@given(st.lists(LENGTHS, min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_never_below_the_true_one_and_at_most_its_bucket_above(
    lengths: list[int], share: float
) -> None:
    true = sorted(lengths)[math.ceil(share * len(lengths)) - 1]
    found = knowing(lengths).quantile(share)
    assert found is not None
    assert true <= found <= true * (1 + ACCURACY) / (1 - ACCURACY)


@given(st.lists(LENGTHS, max_size=30), st.lists(LENGTHS, max_size=30))
def test_what_two_processes_saw_adds_up_to_what_one_would_have_seen(
    here: list[int], there: list[int]
) -> None:
    assert knowing(here).plus(knowing(there).counts).counts == knowing([*here, *there]).counts


@given(st.lists(LENGTHS, max_size=ENOUGH_TO_RESERVE - 1))
def test_with_too_few_answers_nothing_less_than_the_worst_case_is_reserved(
    lengths: list[int],
) -> None:
    assert knowing(lengths).output_tokens_to_reserve() is None


@given(st.lists(LENGTHS, min_size=ENOUGH_TO_RESERVE, max_size=199))
def test_with_some_answers_more_than_the_longest_of_them_is_reserved(lengths: list[int]) -> None:
    reserved = knowing(lengths).output_tokens_to_reserve()
    assert reserved is not None
    assert max(lengths) * 1.2 <= reserved <= max(lengths) * 1.26 + 1


def test_more_than_half_a_percent_of_cut_answers_brings_the_worst_case_back_for_a_while() -> None:
    chance = random.Random(1)
    short = [chance.randint(20, 60) for _ in range(1_000)]
    assert (knowing(short, cuts=5).output_tokens_to_reserve() or 0) < 80
    assert (knowing(short, cuts=6).output_tokens_to_reserve() or 0) >= MOST
    longer = [*short, *(chance.randint(60, 90) for _ in range(200))]
    learned = knowing(longer, cuts=6).output_tokens_to_reserve() or 0
    assert 60 < learned < 120


def test_what_nobody_was_charged_for_is_not_in_the_sums() -> None:
    history = knowing([10, 30], cuts=3)
    assert (history.answers, history.charged, history.cut) == (5, 2, 3)
    assert history.counts["o"] == 40


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.integers(0, 10**30), st.booleans())
def test_law_15_what_one_answer_adds_leaves_room_for_thousands_of_others(
    input_tokens: int, output_tokens: int, counted: int, cut: bool
) -> None:
    usage = TokenUsage(input_tokens, output_tokens, input_tokens, 0, output_tokens)
    added = observed(usage, counted, output_tokens, cut=cut, charged=True)

    assert all(is_field(name) for name in added)
    assert all(0 <= count * 2 * MOST_ANSWERS < 2**53 for count in added.values())
    assert (History(added).quantile(0.5) or 0) <= 1.05 * MOST_TOKENS


@given(st.dictionaries(st.text() | st.integers().map(str), st.integers(0, 2**53 - 1)))
def test_law_15_any_stored_fields_make_a_history_that_can_be_asked(stored: dict[str, int]) -> None:
    history = History({name: count for name, count in stored.items() if is_field(name)})

    length = history.output_tokens_to_reserve()
    assert length is None or length <= 2 * MOST_TOKENS


def test_law_15_a_history_at_its_bounds_is_asked_in_little_time_and_memory() -> None:
    def make(count: int) -> dict[str, int]:
        return {str(number): 2**53 - 1 - number for number in range(count)}

    def work(stored: dict[str, int]) -> None:
        history = History({name: count for name, count in stored.items() if is_field(name)})
        history.output_tokens_to_reserve()

    fields = make(1_000)
    assert_cpu(lambda: work(fields), 0.05)
    assert peak_bytes(lambda: work(fields)) < 1_000_000
