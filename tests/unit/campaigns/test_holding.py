"""When a run holds, whom it asks meanwhile, and when it gives up."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback.policy import Origin
from fallback.reasons import FallbackReason
from runtime.actions.requests import Attempt, ExecutionResult, Pending
from runtime.campaigns.holding import Holding, NoSign, Start, Trouble, sign_of

DOWN = Trouble(FallbackReason.PROVIDER_ERROR, 503, "unavailable")
BREAKER = Trouble(FallbackReason.MODEL_UNAVAILABLE)
ENOUGH = 5
PATIENCE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def holding(clock: Clock) -> Holding:
    return Holding(patience_s=PATIENCE_S, enough=ENOUGH, now_s=clock)


def started(holding: Holding) -> Start:
    start = holding.start()
    assert start is not None
    return start


def fail(holding: Holding, times: int = 1, trouble: Trouble = DOWN) -> None:
    for _ in range(times):
        holding.ended(started(holding), trouble)


def answer(holding: Holding) -> None:
    holding.ended(started(holding), NoSign.ANSWERED)


def test_a_person_who_fails_alone_among_answers_holds_nobody(holding: Holding) -> None:
    for _ in range(10):
        fail(holding, ENOUGH - 1)
        answer(holding)
    assert holding.hold is None


def test_a_row_of_failures_holds_the_run_and_names_the_first_of_them(
    holding: Holding, clock: Clock
) -> None:
    fail(holding)
    clock.now_s += 2
    fail(holding, ENOUGH - 1)
    hold = holding.hold
    assert hold is not None
    assert hold.trouble == DOWN
    assert hold.since_s == clock.now_s - 2
    assert hold.until_s == clock.now_s + PATIENCE_S
    assert holding.start() is None


def test_an_open_breaker_holds_at_once_and_the_error_that_opened_it_is_told(
    holding: Holding,
) -> None:
    fail(holding)
    fail(holding, trouble=BREAKER)
    assert holding.hold is not None
    assert holding.hold.trouble == DOWN


def test_a_provider_that_asks_for_a_long_pause_is_left_alone_for_as_long(
    holding: Holding, clock: Clock
) -> None:
    limited = Trouble(FallbackReason.PROVIDER_RATE_LIMITED, 429)
    holding.ended(started(holding), limited, 30.0)
    assert holding.start() is None
    assert holding.wait_s() == 30.0
    clock.now_s += 30
    assert started(holding).is_probe


def test_during_a_hold_one_person_at_a_time_is_asked_with_growing_pauses(
    holding: Holding, clock: Clock
) -> None:
    fail(holding, ENOUGH)
    pauses = []
    for _ in range(4):
        pauses.append(holding.wait_s())
        clock.now_s += holding.wait_s()
        probe = started(holding)
        assert (holding.start(), holding.wait_s()) == (None, math.inf)
        holding.ended(probe, DOWN)
    assert pauses == [0.5, 1, 2, 4]
    clock.now_s += holding.wait_s()
    answer(holding)
    assert holding.hold is None
    assert holding.wait_s() == 0


def test_a_probe_that_says_nothing_makes_room_for_the_next_at_once(
    holding: Holding, clock: Clock
) -> None:
    fail(holding, ENOUGH)
    clock.now_s += holding.wait_s()
    holding.ended(started(holding), NoSign.NOTHING)
    holding.unused(started(holding))
    assert started(holding).is_probe
    assert holding.hold is not None


def test_executions_that_began_before_a_hold_do_not_end_it(holding: Holding, clock: Clock) -> None:
    slow = [started(holding) for _ in range(3)]
    fail(holding, ENOUGH)
    for start in slow:
        holding.ended(start, NoSign.ANSWERED)
    assert holding.hold is not None


def test_answers_to_calls_from_before_the_outage_do_not_hide_it(holding: Holding) -> None:
    slow = [started(holding) for _ in range(ENOUGH)]
    for start in slow:
        fail(holding)
        holding.ended(start, NoSign.ANSWERED)
    assert holding.hold is not None


def test_the_patience_ends_with_a_last_probe(holding: Holding, clock: Clock) -> None:
    fail(holding, ENOUGH)
    begun_s = clock.now_s
    last_s = 0.0
    while holding.gave_up is None:
        clock.now_s += holding.wait_s()
        last_s = clock.now_s - begun_s
        fail(holding)
    assert last_s == PATIENCE_S
    assert holding.hold is None
    assert holding.gave_up.trouble == DOWN
    assert not started(holding).is_probe, "everybody may start now"


def test_an_answer_after_giving_up_makes_the_next_outage_a_new_one(
    holding: Holding, clock: Clock
) -> None:
    fail(holding, ENOUGH)
    clock.now_s += PATIENCE_S + 1
    fail(holding)
    gave_up = [holding.gave_up is not None]
    answer(holding)
    gave_up.append(holding.gave_up is not None)
    assert gave_up == [True, False]
    fail(holding, ENOUGH)
    assert holding.hold is not None


def test_without_patience_an_outage_gives_up_at_once(clock: Clock) -> None:
    holding = Holding(patience_s=0, enough=ENOUGH, now_s=clock)
    fail(holding, ENOUGH)
    assert holding.hold is None
    assert holding.gave_up is not None


def test_a_pause_beyond_the_patience_is_not_probed(holding: Holding, clock: Clock) -> None:
    holding.ended(started(holding), BREAKER, PATIENCE_S + 5)
    assert holding.wait_s() == PATIENCE_S
    clock.now_s += holding.wait_s()
    assert not started(holding).is_probe
    assert holding.gave_up is not None


def test_one_person_at_the_end_of_a_run_with_answers_is_waited_for_briefly(
    holding: Holding, clock: Clock
) -> None:
    answer(holding)
    fail(holding)
    holding.hold_the_rest(1, DOWN)
    assert holding.hold is not None
    assert holding.hold.is_brief
    assert holding.hold.until_s == clock.now_s + 10


def test_a_run_without_any_answer_waits_with_all_its_patience(
    holding: Holding, clock: Clock
) -> None:
    fail(holding)
    holding.hold_the_rest(1, DOWN)
    assert holding.hold is not None
    assert holding.hold.until_s == clock.now_s + PATIENCE_S


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "answer", "fail", "nothing", "unused"]),
        st.floats(0, 20),
        st.sampled_from([0.0, 0.0, 3.0, 40.0]),
    ),
    max_size=120,
)


@given(steps=STEPS, patience_s=st.sampled_from([0.0, 5.0, 60.0]))
def test_whatever_happens_there_is_one_probe_at_most_and_an_end_to_the_wait(
    steps: list[tuple[str, float, float]], patience_s: float
) -> None:
    clock = Clock()
    holding = Holding(patience_s=patience_s, enough=3, now_s=clock)
    running: list[Start] = []
    probes_before: list[Start] = []
    for step, passed_s, resumes_in_s in steps:
        clock.now_s += passed_s
        if step == "start" or not running:
            if (start := holding.start()) is not None:
                running.append(start)
        elif step == "unused":
            holding.unused(running.pop())
        elif step == "fail":
            holding.ended(running.pop(), DOWN, resumes_in_s)
        else:
            sign = NoSign.ANSWERED if step == "answer" else NoSign.NOTHING
            holding.ended(running.pop(0), sign)
        if holding.hold is None:
            probes_before = [start for start in running if start.is_probe]
        else:
            assert sum(start.is_probe and start not in probes_before for start in running) <= 1
            assert holding.gave_up is None
            assert holding.hold.until_s - clock.now_s <= patience_s + 1e-6
    for start in running:
        holding.unused(start)
    for _ in range(40):
        if holding.hold is None:
            break
        clock.now_s += holding.wait_s()
        if (start := holding.start()) is not None:
            holding.ended(start, DOWN)
    assert holding.hold is None, "a hold ends, whatever the provider does"


def result(reason: FallbackReason, **changes: Any) -> ExecutionResult:
    fields: dict[str, Any] = {
        "execution_id": "e",
        "kept": False,
        "status": "fallback",
        "values": {"text": "Hello"},
        "attributes": {},
        "origins": {"text": Origin("fallback", reason)},
        "charged_mc": 0,
        "reserved_mc": 0,
        "available_after_mc": None,
        "usage": None,
        "attempts": (),
        "timings_ms": {},
        "action_version": "v",
        "rate_card_version": "2026-01",
    }
    return ExecutionResult(**{**fields, **changes})


def rejected(status: int, **changes: Any) -> ExecutionResult:
    attempt = Attempt(1, "provider_rejected", 5, status=status, detail="told")
    return result(FallbackReason.PROVIDER_REJECTED, attempts=(attempt,), **changes)


@pytest.mark.parametrize(
    "ended, status",
    [
        (result(FallbackReason.LEDGER_UNAVAILABLE), None),
        (result(FallbackReason.MODEL_UNAVAILABLE), None),
        (result(FallbackReason.PROVIDER_TIMEOUT), None),
        (rejected(401), 401),
        (rejected(404), 404),
    ],
)
def test_what_passes_by_itself_or_by_a_mended_config_is_a_trouble(
    ended: ExecutionResult, status: int | None
) -> None:
    sign = sign_of(ended)
    assert isinstance(sign, Trouble)
    assert sign.status == status


@pytest.mark.parametrize(
    "ended, sign",
    [
        (rejected(400, kept=True), NoSign.ANSWERED),
        (result(FallbackReason.INSUFFICIENT_CREDITS, kept=True), NoSign.ANSWERED),
        (result(FallbackReason.OUTPUT_INVALID, kept=True), NoSign.ANSWERED),
        (result(FallbackReason.PROMPT_ERROR), NoSign.NOTHING),
        (result(FallbackReason.PROVIDER_ERROR, kept=True, replayed=True), NoSign.NOTHING),
        (result(FallbackReason.MODEL_UNAVAILABLE, rate_card_version=None), NoSign.ANSWERED),
        (Pending("e", 5), NoSign.NOTHING),
    ],
)
def test_what_stays_or_says_nothing_holds_nobody(
    ended: ExecutionResult | Pending, sign: NoSign
) -> None:
    assert sign_of(ended) is sign
