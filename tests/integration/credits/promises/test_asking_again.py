"""Law 3c: an id is charged once, and whoever lost an answer learns it by asking again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback.reasons import FallbackReason, kept_refusals
from runtime.credits.endings import Release
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.results import (
    Existing,
    InProgress,
    NotBooked,
    Refused,
    Released,
    Reserved,
    Settled,
)
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

ID = "journey-1:step:1"
REASON = FallbackReason.DEADLINE_EXCEEDED
HORIZON_MS = 10_000

# The answer to the first asking is lost

Ask = Callable[[Desk, ExecutionAttempt, Reserved], Awaitable[Any]]
ASKS: dict[str, Ask] = {
    "settle": lambda desk, attempt, reserved: desk.settle(attempt, reserved, 700, exposure_mc=5),
    "settle above the quote": lambda desk, attempt, reserved: desk.settle(attempt, reserved, 1_500),
    "release with an outcome": lambda desk, attempt, reserved: desk.ledger.release(
        Release(attempt, REASON, exposure_mc=40, outcome=b"fallback")
    ),
    "release without one": lambda desk, attempt, reserved: desk.ledger.release(
        Release(attempt, exposure_mc=40)
    ),
    "reserve": lambda desk, attempt, reserved: desk.ledger.reserve(attempt, 1_000, 60_000),
}


@pytest.mark.parametrize("after_ms", [0, 59_999])
@pytest.mark.parametrize("name", ASKS)
async def test_law_3c_asking_again_does_nothing_again(desk: Desk, name: str, after_ms: int) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID))
    first = await ASKS[name](desk, attempt, reserved)
    await desk.pass_time(after_ms)
    before = await desk.state()

    again = await ASKS[name](desk, attempt, reserved)

    assert await desk.state() == before
    if name == "reserve":
        assert again == Reserved(1_000, 9_000, reserved.reserved_at_ms, 60_000 - after_ms)
    elif name == "release without one":
        assert again == Released(10_000, found=False), "nothing is left to be released"
    else:
        assert again == first


@pytest.mark.parametrize("final", [True, False])
async def test_law_3c_asking_again_after_a_refusal_hears_the_refusal_or_its_outcome(
    desk: Desk, final: bool
) -> None:
    await desk.open(10)
    attempt = desk.attempt(ID)

    async def ask() -> Any:
        return await desk.ledger.reserve(attempt, 1_000, 60_000, final=final, outcome=b"fallback")

    refused = await ask()
    assert isinstance(refused, Refused)
    before = await desk.state()
    again = await ask()

    assert again == (Existing("refused", 0, 0, refused.reason, b"fallback") if final else refused)
    assert await desk.state() == before


@pytest.mark.parametrize("name", [name for name in ASKS if name != "reserve"])
async def test_law_3c_an_ending_is_settled_by_asking_again_also_when_its_time_ran_out(
    desk: Desk, name: str
) -> None:
    # Given a client whose request was lost on its way, and a reservation that expired meanwhile
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(5_000)

    # When it asks, loses the answer, and asks again
    await ASKS[name](desk, attempt, reserved)
    balance, entries = await desk.balance(), await desk.journal()
    await ASKS[name](desk, attempt, reserved)

    # Then nothing was charged or exposed twice, and nothing stays reserved
    after = await desk.balance()
    assert (after.charged_mc, after.exposure_mc) == (balance.charged_mc, balance.exposure_mc)
    assert after.reserved_mc == 0
    assert len(await desk.journal()) == len(entries)


async def test_law_3c_a_reserve_whose_answer_came_too_late_reserves_anew(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    attempt, _ = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)

    _, reserved = await desk.reserve(1_000, attempt, ttl_ms=1_000)

    assert reserved.reserved_at_ms == desk.now_ms
    balance = await desk.balance()
    assert (balance.reserved_mc, balance.open_reservations) == (1_000, 1)


# Many attempts


async def test_law_3c_of_many_attempts_at_once_one_runs_and_all_hear_its_outcome(
    open_desk: OpenDesk,
) -> None:
    async with open_desk() as desk, open_desk() as another:
        await desk.open(10_000)
        desks = [desk, another] * 15
        attempts = [one.attempt(ID) for one in desks]

        answers = await asyncio.gather(
            *(
                one.ledger.reserve(attempt, 1_000, 60_000)
                for one, attempt in zip(desks, attempts, strict=True)
            )
        )

        ((winner, reserved),) = [
            (attempt, answer)
            for attempt, answer in zip(attempts, answers, strict=True)
            if isinstance(answer, Reserved)
        ]
        assert [answer for answer in answers if answer != reserved] == [InProgress(60_000)] * 29
        await desk.settle(winner, reserved, 600, outcome=b"the outcome")
        for one, attempt in zip(desks, attempts, strict=True):
            heard = await one.ledger.reserve(attempt, 1_000, 60_000)
            assert heard == Existing("settled", 600, 0, None, b"the outcome")
        assert (await desk.balance()).charged_mc == 600


async def test_law_3c_waiting_ends_when_the_one_that_runs_ends_or_its_time_does(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    waiting = desk.attempt(ID)
    assert await desk.ledger.reserve(waiting, 1_000, 500) == InProgress(1_000)
    await desk.pass_time(999)
    assert await desk.ledger.reserve(waiting, 1_000, 500) == InProgress(1)
    assert await desk.ledger.conclude(waiting, REASON) == InProgress(1)

    await desk.pass_time(1)

    await desk.reserve(1_000, waiting, ttl_ms=500)
    await desk.ledger.release(Release(waiting))
    await desk.reserve(1_000, desk.attempt(ID))


STEPS = ["reserve", "settle", "release", "release for good", "conclude", "time"]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2)), max_size=20))
async def test_law_3c_whatever_three_attempts_do_an_id_has_one_outcome_and_one_charge(
    desk: Desk, steps: list[tuple[str, int]]
) -> None:
    account_id = f"acme-{next(desk.numbers)}"
    await desk.open(10_000, account_id=account_id)
    attempts = [desk.attempt(ID, account_id=account_id) for _ in range(3)]
    reserved = [Reserved(1_000, 0, desk.now_ms, 0)] * 3
    outcomes = set()

    for step, number in steps:
        attempt, cost_mc, marked = attempts[number], 500 + number, b"%d" % number
        match step:
            case "reserve":
                answer: Any = await desk.ledger.reserve(attempt, 1_000, 1_000)
                if isinstance(answer, Reserved):
                    reserved[number] = answer
            case "settle":
                answer = await desk.settle(attempt, reserved[number], cost_mc, outcome=marked)
                if isinstance(answer, Settled):
                    outcomes.add(("settled", cost_mc, marked))
            case "release" | "release for good":
                outcome = marked if step == "release for good" else None
                answer = await desk.ledger.release(Release(attempt, REASON, outcome=outcome))
                if outcome and isinstance(answer, Released) and answer.found:
                    outcomes.add(("released", 0, marked))
            case "conclude":
                answer = await desk.ledger.conclude(attempt, REASON, marked)
                if answer is None:
                    outcomes.add(("refused", 0, marked))
            case _:
                answer = None
                await desk.pass_time(600)
        if isinstance(answer, Existing):
            outcomes.add((answer.state, answer.charged_mc, answer.outcome))
        assert len(outcomes) <= 1, outcomes

    charged_mc = sum(charged for _, charged, _ in outcomes)
    assert (await desk.balance(account_id)).charged_mc == charged_mc


# The horizon


async def test_law_3c_within_the_horizon_the_outcome_is_given_to_the_last_second(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=HORIZON_MS) as desk:
        seconds, microseconds = await desk.client.time()
        await desk.set_clock(seconds * 1000 + microseconds // 1000)
        await desk.open(10_000)
        attempt, reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=HORIZON_MS)
        await desk.settle(attempt, reserved, 700)

        remaining_ms = await desk.client.pttl(desk.keys.outcome(ACCOUNT, attempt.execution_key))

        assert HORIZON_MS - 3_000 < remaining_ms <= HORIZON_MS


async def test_law_3c_beyond_the_horizon_nothing_is_charged_whatever_is_still_known(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=HORIZON_MS) as desk:
        await desk.open(10_000)
        attempt, reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
        await desk.pass_time(HORIZON_MS - 1)
        within = desk.attempt("journey-2:step:1")
        assert isinstance(await desk.settle(within, reserved, 1), Settled)

        await desk.pass_time(1)

        assert await desk.settle(attempt, reserved, 700) == NotBooked()
        assert (await desk.balance()).charged_mc == 1
        await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)


# What is told of a refusal that was concluded


@pytest.mark.parametrize("reason", kept_refusals())
async def test_law_3c_a_concluded_refusal_is_told_with_its_reason_and_bytes(
    desk: Desk, reason: FallbackReason
) -> None:
    await desk.open(10_000)

    assert await desk.ledger.conclude(desk.attempt(ID), reason, b"\x00bytes\n") is None

    told = Existing("refused", 0, 0, reason, b"\x00bytes\n")
    other = desk.attempt(ID)
    assert await desk.ledger.reserve(other, 1, 1_000) == told
    assert await desk.ledger.conclude(other, REASON) == told
    assert await desk.ledger.release(Release(other, outcome=b"")) == told
    assert await desk.settle(other, Reserved(5, 0, desk.now_ms, 0), 5) == told
    assert (await desk.balance()).charged_mc == 0


@pytest.mark.parametrize("reason", sorted(set(FallbackReason) - set(kept_refusals())))
async def test_law_3c_a_refusal_that_may_pass_can_not_be_concluded(
    desk: Desk, reason: FallbackReason
) -> None:
    await desk.open(10_000)

    with pytest.raises(ValueError, match=r"^reason: .* whose outcome is kept"):
        await desk.ledger.conclude(desk.attempt(ID), reason)

    await desk.reserve(1, desk.attempt(ID))
