"""The rule by which turns are given out, for one process by itself."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate, count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.pacing.rule import LocalTurns, Returned, SharedLimit, Shortage, TurnRequest

MINUTE_US = 60_000_000


class Process:
    """A process that asks for one turn after the other, at times of the tests' own."""

    def __init__(self, limit: SharedLimit) -> None:
        self.now_us = 10**15
        self.turns = LocalTurns(limit, lambda: self.now_us)
        self._names = count()
        self.taken: list[tuple[int, int]] = []

    def ask(self, tokens: int = 1, ttl_ms: int = 1_000) -> tuple[str | None, Shortage, int]:
        slot = str(next(self._names))
        given = self.turns.exchange([], [TurnRequest(slot, ttl_ms, tokens)])
        if given.count:
            self.taken.append((self.now_us, tokens))
            return slot, given.shortage, given.wait_ms
        return None, given.shortage, given.wait_ms

    def most_in_a_minute(self, tokens: bool = False) -> int:
        times = [at_us for at_us, _ in self.taken]
        sums = [0, *accumulate(amount if tokens else 1 for _, amount in self.taken)]
        ends = (bisect_left(times, at_us + MINUTE_US) for at_us in times)
        return max(sums[end] - sums[begin] for begin, end in enumerate(ends))


@given(
    limit=st.integers(1, 300),
    pauses_ms=st.lists(st.integers(0, 3_000) | st.just(90_000), min_size=1, max_size=150),
)
def test_no_minute_sees_more_requests_than_the_limit(limit: int, pauses_ms: list[int]) -> None:
    process = Process(SharedLimit(requests_per_minute=limit))
    for pause_ms in pauses_ms:
        process.now_us += pause_ms * 1000
        while process.ask()[0] is not None:
            pass
    assert process.most_in_a_minute() <= limit


@given(
    tokens=st.lists(st.integers(1, 1_000), min_size=1, max_size=150),
    pauses_ms=st.lists(st.integers(0, 20_000), min_size=150, max_size=150),
)
def test_no_minute_sees_more_tokens_than_the_limit(tokens: list[int], pauses_ms: list[int]) -> None:
    limit = 10_000
    process = Process(SharedLimit(tokens_per_minute=limit))
    for amount, pause_ms in zip(tokens, pauses_ms, strict=False):
        process.now_us += pause_ms * 1000
        process.ask(amount)
    assert not process.taken or process.most_in_a_minute(tokens=True) <= limit


@pytest.mark.parametrize("limit", [1, 7, 60, 600, 6_000])
def test_who_waits_as_long_as_told_gets_most_of_the_limit(limit: int) -> None:
    process = Process(SharedLimit(requests_per_minute=limit))
    began_us, minutes = process.now_us, max(3, -(-30 // limit))
    while process.now_us < began_us + minutes * MINUTE_US:
        slot, lack, wait_ms = process.ask()
        if slot is None:
            assert lack is Shortage.REQUESTS
            process.now_us += wait_ms * 1000
    assert len(process.taken) >= 0.85 * limit * minutes - 1
    assert process.most_in_a_minute() <= limit


def test_what_is_larger_than_may_be_had_at_once_still_goes_out_and_is_owed() -> None:
    process = Process(SharedLimit(tokens_per_minute=1_200))
    assert process.ask(600)[0] is not None
    slot, lack, wait_ms = process.ask(1)
    assert (slot, lack) == (None, Shortage.TOKENS)
    assert 25_000 < wait_ms < 35_000


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), min_size=1, max_size=100))
def test_there_are_never_more_slots_than_the_limit(steps: list[tuple[bool, int]]) -> None:
    process = Process(SharedLimit(concurrency=3))
    held: dict[str, int] = {}
    for gives_back, pause_ms in steps:
        process.now_us += pause_ms * 1000
        held = {slot: until_us for slot, until_us in held.items() if until_us > process.now_us}
        if gives_back and held:
            slot = next(iter(held))
            del held[slot]
            process.turns.exchange([Returned(slot)], [])
        taken, lack, _ = process.ask(ttl_ms=1_000)
        assert (taken is None) == (len(held) == 3)
        if taken is None:
            assert lack is Shortage.SLOT
        else:
            held[taken] = process.now_us + 1_000_000


def test_a_turn_that_was_not_used_is_as_if_it_had_not_been_taken() -> None:
    limit = SharedLimit(requests_per_minute=1, tokens_per_minute=100)
    process = Process(limit)
    for _ in range(5):
        slot, _, _ = process.ask(90)
        assert slot is not None
        process.turns.exchange([Returned(slot, unused=True, tokens=90)], [])
    assert process.ask(90)[0] is not None
    assert process.ask(90)[0] is None


def test_a_clock_that_goes_back_stops_nobody_for_longer_than_minutes() -> None:
    process = Process(SharedLimit(requests_per_minute=60))
    process.ask()
    process.now_us -= 24 * 60 * MINUTE_US
    _, _, wait_ms = process.ask()
    assert wait_ms <= 3 * 60_000


@given(limit=st.integers(1, 1_000), processes=st.integers(1, 50))
def test_the_shares_of_processes_are_at_most_the_whole(limit: int, processes: int) -> None:
    share = SharedLimit(limit, limit, None).share(processes)
    assert share.tokens_per_minute is None
    assert share.concurrency == share.requests_per_minute
    assert share.concurrency is not None
    assert share.concurrency >= 1
    assert share.concurrency * processes <= max(limit, processes)
