"""The circuit breaker: whom it lets through, on a clock of the tests' own."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from providers.pacing.breaker import Breaker, BreakerSettings, Caller
from tests.harness.virtual_time import now_s, run

SETTINGS = BreakerSettings(failures=3, open_ms=1_000, max_open_ms=8_000, patience_ms=5_000)
HASTY_MS = 60


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def open_breaker(clock: Clock, chance: float = 0.0) -> Breaker:
    """One that has just opened for the first time."""
    breaker = Breaker(SETTINGS, clock, lambda: chance)
    for _ in range(SETTINGS.failures):
        fail(breaker)
    return breaker


def fail(breaker: Breaker) -> None:
    with breaker.caller() as caller:
        assert breaker.allows(caller)
        breaker.failed(caller)


def time_out(breaker: Breaker, limit_ms: int) -> None:
    with breaker.caller(limit_ms) as caller:
        assert breaker.allows(caller)
        breaker.timed_out(caller, limit_ms)


def is_let_through(breaker: Breaker, limit_ms: int | None = None) -> bool:
    with breaker.caller(limit_ms) as caller:
        return breaker.allows(caller)


def test_it_opens_after_so_many_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(SETTINGS, Clock())
    for _ in range(SETTINGS.failures):
        assert is_let_through(breaker)
        fail(breaker)
    assert not is_let_through(breaker)


def test_an_answer_in_between_begins_the_count_anew() -> None:
    breaker = Breaker(SETTINGS, Clock())
    for _ in range(10):
        for _ in range(SETTINGS.failures - 1):
            fail(breaker)
        with breaker.caller() as caller:
            assert breaker.allows(caller)
            breaker.answered(caller)
    assert is_let_through(breaker)


def test_calls_that_began_before_it_opened_do_not_close_it_nor_make_it_wait_longer() -> None:
    clock = Clock()
    breaker = Breaker(SETTINGS, clock, lambda: 0.0)
    with ExitStack() as stack:
        good, *bad = (stack.enter_context(breaker.caller()) for _ in range(20))
        assert all(breaker.allows(caller) for caller in (good, *bad))
        for _ in range(SETTINGS.failures):
            fail(breaker)
        clock.now_s += 0.9
        breaker.answered(good)
        for caller in bad:
            breaker.failed(caller)
        assert not is_let_through(breaker)
        clock.now_s += 0.1
        assert is_let_through(breaker)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_each_probe_that_fails_doubles_the_open_time_up_to_a_bound(chance: float) -> None:
    clock = Clock()
    breaker = open_breaker(clock, chance)
    for open_s in (1, 2, 4, 8, 8, 8):
        least_s = 0.8 * open_s
        assert least_s * 1000 <= breaker.probe_in_ms <= open_s * 1000
        clock.now_s += breaker.probe_in_ms / 1000 - 0.01
        assert not is_let_through(breaker)
        clock.now_s += 0.02
        fail(breaker)
    clock.now_s += 8
    with breaker.caller() as caller:
        assert breaker.allows(caller)
        breaker.answered(caller)
    assert breaker.probe_in_ms == 0
    for _ in range(SETTINGS.failures):
        fail(breaker)
    assert breaker.probe_in_ms <= SETTINGS.open_ms, "after an answer it begins with a short time"


def test_a_provider_that_is_away_for_weeks_does_not_break_the_arithmetic() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    for _ in range(5_000):
        clock.now_s += 8
        fail(breaker)
    assert breaker.probe_in_ms == 8_000


def test_the_probe_itself_may_ask_as_often_as_it_likes() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now_s += 1
    with breaker.caller() as probe:
        assert all(breaker.allows(probe) for _ in range(3))
        assert not is_let_through(breaker)
        breaker.failed(probe)
        assert not breaker.allows(probe), "its retry is no probe any more"


def test_only_time_outs_of_patient_callers_open_it() -> None:
    breaker = Breaker(SETTINGS, Clock())
    for _ in range(100):
        time_out(breaker, HASTY_MS)
    assert is_let_through(breaker)
    for _ in range(SETTINGS.failures):
        time_out(breaker, SETTINGS.patience_ms)
    assert not is_let_through(breaker)


def test_a_refusal_opens_it_at_once_and_is_known_until_a_probe_is_answered() -> None:
    clock = Clock()
    breaker = Breaker(SETTINGS, clock, lambda: 0.0)
    with breaker.caller() as first, breaker.caller() as second:
        assert breaker.allows(first)
        assert breaker.allows(second)
        breaker.refused(first, 401)
        breaker.refused(second, 401)
    assert not is_let_through(breaker)
    assert (breaker.refused_status, breaker.probe_in_ms) == (401, SETTINGS.open_ms)
    clock.now_s += 1
    with breaker.caller() as probe:
        assert breaker.allows(probe)
        breaker.answered(probe)
    assert breaker.refused_status is None
    for _ in range(SETTINGS.failures):
        fail(breaker)
    assert breaker.refused_status is None


def test_a_call_that_began_with_little_time_left_is_no_patient_one() -> None:
    breaker = Breaker(SETTINGS, Clock())
    for _ in range(SETTINGS.failures):
        with breaker.caller(30_000) as caller:
            assert breaker.allows(caller)
            breaker.timed_out(caller, 100)
    assert is_let_through(breaker)


def test_a_patient_caller_takes_the_probes_place_from_a_hasty_one() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now_s += 1
    with breaker.caller(HASTY_MS) as hasty, breaker.caller() as patient:
        assert breaker.allows(hasty)
        assert breaker.allows(patient)
        assert not is_let_through(breaker), "the patient probe is the only one now"
        breaker.timed_out(hasty, HASTY_MS)
        breaker.answered(patient)
    assert is_let_through(breaker)


def test_hasty_probes_are_an_open_time_apart_and_close_it_if_they_are_answered() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now_s += 1
    time_out(breaker, HASTY_MS)
    assert not is_let_through(breaker, HASTY_MS)
    clock.now_s += 1
    with breaker.caller(HASTY_MS) as hasty:
        assert breaker.allows(hasty)
        breaker.answered(hasty)
    assert is_let_through(breaker, HASTY_MS)


@given(
    callers=st.lists(
        st.tuples(
            st.integers(0, 3),  # comes so many turns of the loop later
            st.integers(1, 3),  # calls for so long
            st.sampled_from(["answers", "fails", "is cancelled", "never calls"]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_however_many_race_one_probe_is_out_at_a_time(
    callers: list[tuple[int, int, str]],
) -> None:
    async def crowd() -> None:
        breaker = Breaker(SETTINGS, now_s, lambda: 0.0)
        for _ in range(SETTINGS.failures):
            fail(breaker)
        await asyncio.sleep(1)
        out: set[int] = set()
        ends: list[str] = []

        async def come(number: int, turns: int, calls_for: int, how: str) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            with breaker.caller() as caller:
                if not breaker.allows(caller) or "answers" in ends:
                    return
                assert not out, "two probes at once"
                assert "fails" not in ends, "a probe within the open time"
                out.add(number)
                try:
                    for _ in range(calls_for):
                        await asyncio.sleep(0)
                    if how == "is cancelled":
                        raise asyncio.CancelledError
                    ends.append(how)
                    if how == "answers":
                        breaker.answered(caller)
                    elif how == "fails":
                        breaker.failed(caller)
                finally:
                    out.discard(number)

        coming = [come(number, *caller) for number, caller in enumerate(callers)]
        for result in await asyncio.gather(*coming, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
        if "answers" not in ends and "fails" not in ends:
            assert is_let_through(breaker), "a place was lost"

    run(crowd())


async def test_a_thousand_callers_at_the_same_moment_are_one_probe() -> None:
    clock = Clock()
    breaker = open_breaker(clock)
    clock.now_s += 1
    calls = 0

    async def come() -> None:
        nonlocal calls
        with breaker.caller() as caller:
            if breaker.allows(caller):
                calls += 1
                await asyncio.sleep(0.01)
                breaker.failed(caller)

    await asyncio.gather(*(come() for _ in range(1_000)))
    assert calls == 1
    assert breaker.probe_in_ms == 2_000


class BreakerMachine(RuleBasedStateMachine):
    """Visits that come, call, end and leave in any order, against the rules in plain words."""

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.breaker = Breaker(SETTINGS, self.clock, lambda: 0.0)
        self.inside: list[tuple[ExitStack, Caller]] = []
        self.calling: dict[int, int] = {}  # caller -> the period in which its call began
        self.period = 0
        self.failures = self.openings = 0
        self.open_until_s: float | None = None
        self.probe: int | None = None

    @rule()
    def come(self) -> None:
        stack = ExitStack()
        self.inside.append((stack, stack.enter_context(self.breaker.caller())))

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 8.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def call(self, data: st.DataObject) -> None:
        _, caller = data.draw(st.sampled_from(self.inside))
        closed = self.open_until_s is None
        may_probe = not closed and self.clock.now_s >= (self.open_until_s or 0)
        expected = closed or self.probe == id(caller) or (may_probe and self.probe is None)
        assert self.breaker.allows(caller) == expected
        if expected:
            self.calling[id(caller)] = self.period
            if not closed:
                self.probe = id(caller)

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), how=st.sampled_from(["answered", "failed", "refused"]))
    def end(self, data: st.DataObject, how: str) -> None:
        _, caller = data.draw(st.sampled_from(self.inside))
        began_in = self.calling.pop(id(caller), None)
        if began_in is None:
            return
        if how == "refused":
            self.breaker.refused(caller, 401)
        else:
            getattr(self.breaker, how)(caller)
        if began_in != self.period:
            return
        is_probe = self.probe == id(caller)
        if how == "answered":
            self.failures = 0
            if is_probe:
                self.open_until_s, self.probe, self.openings = None, None, 0
                self.period += 1
            return
        self.failures += 1
        if is_probe or how == "refused" or self.failures == SETTINGS.failures:
            open_s = min(8, 2**self.openings)
            self.open_until_s, self.probe, self.failures = self.clock.now_s + open_s, None, 0
            self.openings += 1
            self.period += 1

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        stack, caller = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        stack.close()
        self.calling.pop(id(caller), None)
        if self.probe == id(caller):
            self.probe = None

    @invariant()
    def tells_when_a_probe_may_be_made(self) -> None:
        if not hasattr(self, "breaker"):
            return
        left_s = max(0.0, (self.open_until_s or 0) - self.clock.now_s)
        assert self.breaker.probe_in_ms == pytest.approx(left_s * 1000, abs=1)


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
