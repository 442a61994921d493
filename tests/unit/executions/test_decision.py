"""The decisions of an execution, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from fallback.reasons import FallbackReason, is_kept
from providers.base import FinishReason
from runtime.actions.answers import ParsedAnswer
from runtime.credits.results import Existing, InProgress, Refused
from runtime.executions.decision import (
    MOST_LOWERINGS,
    Conclude,
    Defer,
    FallBack,
    Lower,
    Replay,
    Step,
    Verdict,
    Wait,
    judge,
    next_step,
)

GIVE_UP_S, LAST_RESERVE_S = 10.0, 20.0
NEEDED_MC = 50
"""An answer takes 5 tokens at least, at 10 mc each."""

EXISTING = Existing("settled", 7, 0, None, b"{}")
ELSEWHERE = FallbackReason.CREDITS_RESERVED_ELSEWHERE
TOO_LARGE = FallbackReason.EXECUTION_TOO_LARGE


def fitting_output(credits_mc: int) -> int | None:
    return credits_mc // 10 if credits_mc >= NEEDED_MC else None


def step(
    answer: Refused | InProgress | Existing | None, now_s: float = 0.0, lowerings: int = 0
) -> Step:
    return next_step(
        answer,
        now_s=now_s,
        last_reserve_s=LAST_RESERVE_S,
        give_up_s=GIVE_UP_S,
        lowerings=lowerings,
        fitting_output=fitting_output,
    )


def refused(reason: FallbackReason, available_mc: int = 0, returning_mc: int = 0) -> Refused:
    return Refused(reason, available_mc, returning_mc)


def test_law_3_an_id_that_has_its_outcome_gives_that_at_any_time() -> None:
    assert step(EXISTING) == step(EXISTING, now_s=99, lowerings=9) == Replay(EXISTING)


def test_law_5_without_an_answer_of_the_ledger_it_falls_back_at_once() -> None:
    assert (
        step(None)
        == step(None, now_s=99, lowerings=9)
        == FallBack(FallbackReason.LEDGER_UNAVAILABLE)
    )


@pytest.mark.parametrize(
    "now_s, expected",
    [
        (0.0, Wait(LAST_RESERVE_S, 2)),
        (GIVE_UP_S, Wait(LAST_RESERVE_S, 2)),
        (19.99, Wait(LAST_RESERVE_S, 2)),
        (LAST_RESERVE_S, Defer(700)),
        (99.0, Defer(700)),
    ],
)
def test_an_id_that_runs_elsewhere_is_waited_for_until_shortly_before_the_deadline(
    now_s: float, expected: Step
) -> None:
    assert step(InProgress(700), now_s, lowerings=2) == expected


CLEARING_CREDITS = Refused(ELSEWHERE, 60, 500, may_clear=True)
CLEARING_CAP = Refused(FallbackReason.CAP_REACHED, 5_000, may_clear=True)


@pytest.mark.parametrize(
    "answer, now_s, lowerings, expected",
    [
        # A refusal that may clear is waited out, then decided like any other.
        (CLEARING_CREDITS, 0.0, 1, Wait(GIVE_UP_S, 1)),
        (CLEARING_CREDITS, GIVE_UP_S, 1, Lower(6, 2)),
        (CLEARING_CREDITS, GIVE_UP_S, MOST_LOWERINGS, FallBack(ELSEWHERE, 60)),
        (CLEARING_CAP, 9.99, 0, Wait(GIVE_UP_S, 0)),
        (CLEARING_CAP, GIVE_UP_S, 0, Conclude(CLEARING_CAP)),
        # With enough for an answer, the quote is lowered: without waiting, and also too late to.
        (refused(TOO_LARGE, 50), 0.0, 0, Lower(5, 1)),
        (refused(TOO_LARGE, 120, 900), 0.0, 2, Lower(12, 3)),
        (refused(TOO_LARGE, 50), 99.0, 0, Lower(5, 1)),
        # Lowered too often, it waits if something is still to come, and may be lowered anew.
        (refused(TOO_LARGE, 50, 1), 0.0, MOST_LOWERINGS, Wait(GIVE_UP_S, 0)),
        (refused(TOO_LARGE, 50), 0.0, MOST_LOWERINGS, Conclude(refused(TOO_LARGE, 50))),
        # With too little, it waits if running executions could give back enough.
        (refused(TOO_LARGE, 49, 1), 0.0, 0, Wait(GIVE_UP_S, 0)),
        (refused(TOO_LARGE, 0, 50), 9.99, 2, Wait(GIVE_UP_S, 0)),
        (refused(TOO_LARGE, 0, 50), GIVE_UP_S, 0, Conclude(refused(TOO_LARGE, 0, 50))),
        (refused(TOO_LARGE, 0, 49), 0.0, 0, Conclude(refused(TOO_LARGE, 0, 49))),
        (refused(TOO_LARGE, 49), 0.0, 0, Conclude(refused(TOO_LARGE, 49))),
    ],
)
def test_law_1_short_of_credits_it_waits_lowers_the_quote_or_concludes(
    answer: Refused, now_s: float, lowerings: int, expected: Step
) -> None:
    assert step(answer, now_s, lowerings) == expected


@pytest.mark.parametrize("reason", sorted(set(FallbackReason) - {ELSEWHERE, TOO_LARGE}))
def test_no_other_refusal_is_waited_for_or_lowered_for(reason: FallbackReason) -> None:
    answer = refused(reason, available_mc=9_000, returning_mc=9_000)

    assert step(answer) == (Conclude(answer) if is_kept(reason) else FallBack(reason, 9_000))


def test_it_always_comes_to_an_end_however_often_others_are_quicker() -> None:
    now_s, lowerings, steps = 0.0, 0, 0
    while not isinstance(found := step(refused(TOO_LARGE, 60, 10), now_s, lowerings), Conclude):
        assert isinstance(found, Wait | Lower)
        lowerings, steps = found.lowerings, steps + 1
        if isinstance(found, Wait):
            now_s += 1
    # Ten waits of a second until it gives up, and three lowerings before, between and after.
    assert (now_s, steps) == (GIVE_UP_S, 10 + 11 * MOST_LOWERINGS)


VALUES = {"intent": "card"}
WHOLE = ParsedAnswer(VALUES, {})
PART = ParsedAnswer(VALUES, {"reply": "is missing"})
TRUNCATED = FallbackReason.OUTPUT_TRUNCATED


@pytest.mark.parametrize(
    "parsed, finish, lowered, expected",
    [
        (WHOLE, FinishReason.STOP, False, Verdict(VALUES, FallbackReason.OUTPUT_INVALID)),
        (PART, FinishReason.STOP, False, Verdict(VALUES, FallbackReason.OUTPUT_INVALID)),
        (PART, FinishReason.STOP, True, Verdict(VALUES, FallbackReason.OUTPUT_INVALID)),
        (WHOLE, FinishReason.REFUSED, False, Verdict({}, FallbackReason.CONTENT_REFUSED)),
        (PART, FinishReason.REFUSED, True, Verdict({}, FallbackReason.CONTENT_REFUSED)),
        (PART, FinishReason.LENGTH, False, Verdict(VALUES, TRUNCATED)),
        (WHOLE, FinishReason.LENGTH, True, Verdict(VALUES, TRUNCATED, cut_by_us=True)),
        (
            PART,
            FinishReason.LENGTH,
            True,
            Verdict(VALUES, TRUNCATED, cut_by_us=True, charged=False),
        ),
    ],
)
def test_law_6_accounts_pay_for_answers_but_not_for_those_that_we_cut_off(
    parsed: ParsedAnswer, finish: FinishReason, lowered: bool, expected: Any
) -> None:
    assert judge(parsed, finish, lowered=lowered) == expected
