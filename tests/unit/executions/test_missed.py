"""The search for the last retry of an execution, and the id to ask with next."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.outcomes import Known
from runtime.credits.results import AccountDamaged, Existing, InProgress
from runtime.executions.missed import State, standings
from runtime.ids import MAX_ID_TEXT_LENGTH, MOST_RETRIES, retry_id

ID = "journey-7:route:1"
MOST_LOOK_UPS = 21

DRY = Existing("refused", 0, 0, FallbackReason.INSUFFICIENT_CREDITS, b"")
LOST = Existing("settled", 412, 0, None, b"")
RUNS = InProgress(1_500)


def answered(reasons: dict[str, str] | None = None) -> Existing:
    status = "fallback" if reasons else "model"
    values = {"v": {"intent": "card"}, "o": reasons or {}, "w": {}}
    stored = {"f": 1, "s": status, **values, "r": 9, "u": None, "a": "v1", "c": None}
    return Existing("settled", 412, 0, None, json.dumps(stored).encode())


class Outcomes:
    """Outcomes by number of the retry, and how often they were looked up."""

    def __init__(self, *known: Known) -> None:
        self.by_id = {retry_id(ID, n) if n else ID: each for n, each in enumerate(known)}
        self.look_ups = 0

    async def known(self, account_id: str, execution_ids: Sequence[str]) -> list[Known]:
        self.look_ups += 1
        return [self.by_id.get(each) for each in execution_ids]


@pytest.mark.parametrize("retries", [0, 1, 2, 3, 4, 7, 8, 100, 998, 999])
@pytest.mark.parametrize("last", [DRY, RUNS, answered()], ids=["dry", "runs", "answered"])
async def test_law_15_the_last_of_a_thousand_retries_is_found_by_few_look_ups(
    retries: int, last: Known
) -> None:
    outcomes = Outcomes(*[DRY] * retries, last)

    [found] = await standings(outcomes, "acme", [ID])  # type: ignore[arg-type]  # a stand-in

    assert found.asked_as == (f"{ID}:r{retries}" if retries else ID)
    if last is DRY:
        assert (found.state, found.ask_as) == (State.FELL_BACK, f"{ID}:r{retries + 1}")
        assert (found.reason, found.is_kept) == (FallbackReason.INSUFFICIENT_CREDITS, True)
    elif last is RUNS:
        assert (found.state, found.ask_as) == (State.PENDING, found.asked_as)
        assert (found.retry_after_ms, found.is_kept) == (1_500, False)
    else:
        assert (found.state, found.ask_as, found.charged_mc) == (State.ANSWERED, None, 412)
    assert outcomes.look_ups <= MOST_LOOK_UPS


async def test_beyond_the_last_retry_nothing_is_left_to_ask_with() -> None:
    outcomes = Outcomes(*[DRY] * (MOST_RETRIES + 1))
    [found] = await standings(outcomes, "acme", [ID])  # type: ignore[arg-type]  # a stand-in
    assert (found.state, found.ask_as) == (State.FELL_BACK, None)
    assert outcomes.look_ups <= MOST_LOOK_UPS


async def test_what_is_unusable_lost_or_damaged_is_told_apart() -> None:
    unusable = answered({"intent": "output_invalid"})
    for known, state, reason, ask_as in (
        (unusable, State.FELL_BACK, FallbackReason.OUTPUT_INVALID, f"{ID}:r1"),
        (LOST, State.FELL_BACK, FallbackReason.OUTCOME_LOST, f"{ID}:r1"),
        (AccountDamaged("a record"), State.DAMAGED, None, None),
        (None, State.UNKNOWN, None, ID),
    ):
        [found] = await standings(Outcomes(known), "acme", [ID])  # type: ignore[arg-type]  # a stand-in
        assert (found.state, found.reason, found.ask_as) == (state, reason, ask_as)


@pytest.mark.parametrize(
    "execution_id",
    ["short", "a:b:c", "x" * 200, f"{'j' * 130}:{'a' * 64}:1", f"a:{'b' * 99}:{'c' * 98}"],
)
def test_an_id_of_a_retry_is_never_too_long_and_no_other_ones(execution_id: str) -> None:
    ids = {retry_id(execution_id, number) for number in (1, 2, MOST_RETRIES)}
    assert len(ids) == 3
    assert all(len(each) <= MAX_ID_TEXT_LENGTH for each in ids)
    assert execution_id not in ids
    assert ids.isdisjoint({retry_id(f"y{execution_id[1:]}", number) for number in (1, 2)})
