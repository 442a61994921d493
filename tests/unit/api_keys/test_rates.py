"""Rate limits of keys: a second's worth at once, then evenly spaced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.api_keys.rates import MOST_KEYS, KeyRates


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_second_s_worth_goes_at_once_and_the_next_one_waits_its_turn() -> None:
    clock = Clock()
    rates = KeyRates(4, clock)
    assert [rates.take("k").left for _ in range(4)] == [3, 2, 1, 0]
    refused = rates.take("k")
    assert 0 < refused.wait_s <= 0.25
    clock.now_s += refused.wait_s
    assert rates.take("k").wait_s == 0
    assert rates.take("k").wait_s > 0


def test_keys_do_not_count_for_each_other() -> None:
    rates = KeyRates(1, Clock())
    assert rates.take("a").wait_s == 0
    assert rates.take("b").wait_s == 0
    assert rates.take("a").wait_s > 0


def test_a_request_that_was_refused_costs_nothing() -> None:
    clock = Clock()
    rates = KeyRates(1, clock)
    rates.take("k")
    for _ in range(100):
        assert rates.take("k").wait_s > 0
    clock.now_s += 1
    assert rates.take("k").wait_s == 0


@given(st.integers(1, 50), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_law_15_no_window_has_more_than_twice_a_second_s_worth(
    rate: int, pauses: list[float]
) -> None:
    clock = Clock()
    rates = KeyRates(rate, clock)
    taken: list[float] = []
    for pause in pauses:
        clock.now_s += pause
        taken += [clock.now_s for _ in range(3) if rates.take("k").wait_s == 0]
    for begin in taken:
        # What is saved up at its begin, and what comes to that within it.
        assert sum(begin <= at < begin + 1 for at in taken) <= 2 * rate + 1


def test_law_15_the_keys_that_are_counted_are_bounded() -> None:
    clock = Clock()
    rates = KeyRates(1, clock)
    rates.take("first")
    for number in range(MOST_KEYS):
        rates.take(f"k{number}")
    assert rates.take("first").wait_s == 0
