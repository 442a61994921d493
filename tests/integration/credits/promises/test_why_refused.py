"""Law 12a: a refusal tells the truth, with its figures, and whether waiting can help."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fallback.reasons import FallbackReason
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Release
from runtime.credits.results import InProgress, Refused, Reserved
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

SHARES_A_DESK = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DAY = Cap(CapWindow.DAY)
ELSEWHERE = FallbackReason.CREDITS_RESERVED_ELSEWHERE

# Amount, lifetime, what becomes of it before the refusal
grants = st.tuples(
    st.integers(1, 40), st.sampled_from([None, 1_000]), st.sampled_from(["kept", "voided"])
)


@SHARES_A_DESK
@given(
    terms=st.lists(grants, min_size=1, max_size=4),
    running=st.lists(st.integers(0, 30), max_size=4),
    wanted_mc=st.integers(1, 90),
)
async def test_law_12a_a_refusal_for_credits_is_passing_just_when_what_runs_could_give_enough(
    desk: Desk, terms: list[tuple[int, int | None, str]], running: list[int], wanted_mc: int
) -> None:
    # Given grants of which some expire and some are voided while executions hold parts of them
    account_id = f"acme-{next(desk.numbers)}"
    await desk.open(account_id=account_id)
    for amount_mc, lifetime_ms, _ in terms:
        await desk.grant(amount_mc, account_id=account_id, expires_in_ms=lifetime_ms)
    open_ones = []
    for amount_mc in running:
        attempt = desk.attempt(account_id=account_id)
        answer = await desk.ledger.reserve(attempt, amount_mc, 60_000)
        if isinstance(answer, Reserved):
            open_ones.append(attempt)
    await desk.pass_time(1_000)
    for number, (_, _, fate) in enumerate(terms, 1):
        if fate == "voided":
            await desk.ledger.accounts.void(
                account_id, f"g{number}", reference=f"v{number}", reason="so"
            )
    held = await desk.balance(account_id)

    # When more is wanted than there is
    refused = await desk.ledger.reserve(desk.attempt(account_id=account_id), wanted_mc, 60_000)
    assume(isinstance(refused, Refused))
    assert isinstance(refused, Refused)

    # Then its figures are the balance's, and what it promises comes true
    usable = [g for g in held.grants if g.voided_at_ms is None and g.expired_mc == 0]
    usable = [g for g in usable if g.expires_at_ms is None or g.expires_at_ms > desk.now_ms]
    assert refused.available_mc == held.available_mc
    assert refused.returning_mc == sum(grant.reserved_mc for grant in usable)
    assert refused.cap is None
    for attempt in open_ones:
        await desk.ledger.release(Release(attempt))
    could_be_had = (await desk.balance(account_id)).available_mc
    assert could_be_had == refused.available_mc + refused.returning_mc
    assert refused.may_clear is (wanted_mc <= could_be_had)
    if refused.may_clear:
        assert refused.reason is ELSEWHERE
    elif could_be_had:
        assert refused.reason is FallbackReason.EXECUTION_TOO_LARGE
    else:
        assert refused.reason is FallbackReason.INSUFFICIENT_CREDITS


async def test_law_12a_of_several_reasons_the_first_that_only_the_owner_can_remove_is_told(
    desk: Desk,
) -> None:
    # Given an account of which everything is refused at once
    await desk.open(100)
    await desk.reserve(90)
    ledger = desk.ledger
    await ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=5, reference="cap")
    await ledger.accounts.switch_off(ACCOUNT, action="route", reference="off")
    await ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="down")

    async def told() -> FallbackReason:
        answer = await ledger.reserve(desk.attempt(), 50, 60_000)
        assert isinstance(answer, Refused), answer
        assert answer.available_mc == 10, "whatever the reason is"
        assert (answer.cap is not None) is (answer.reason is FallbackReason.CAP_REACHED)
        assert answer.may_clear is (answer.reason is ELSEWHERE)
        return answer.reason

    # Then each is told when the one before is out of the way
    assert await told() is FallbackReason.PLAN_NOT_ELIGIBLE
    await ledger.accounts.change_plan(ACCOUNT, plan="growth", reference="up")
    assert await told() is FallbackReason.SWITCHED_OFF
    await ledger.accounts.switch_on(ACCOUNT, action="route", reference="on")
    assert await told() is FallbackReason.CAP_REACHED
    await ledger.accounts.remove_cap(ACCOUNT, DAY, reference="no cap")
    assert await told() is ELSEWHERE
    await ledger.accounts.close_account(ACCOUNT, reference="bye", reason="they left")
    answer = await ledger.reserve(desk.attempt(), 50, 60_000)
    assert answer == Refused(FallbackReason.ACCOUNT_CLOSED, 0)


async def test_law_12a_an_id_is_known_before_any_refusal(desk: Desk) -> None:
    await desk.open(100)
    attempt, reserved = await desk.reserve(60, desk.attempt("journey-1:step:1"))
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="off")
    await desk.ledger.accounts.close_account(ACCOUNT, reference="bye", reason="they left")

    assert isinstance(await desk.ledger.reserve(attempt, 60, 60_000), Reserved)
    other = await desk.ledger.reserve(desk.attempt("journey-1:step:1"), 60, 60_000)
    assert other == InProgress(60_000)
    await desk.settle(attempt, reserved, 60)
    assert not isinstance(
        await desk.ledger.reserve(desk.attempt("journey-1:step:1"), 60, 1), Refused
    )


@pytest.mark.parametrize("by", ["credits", "cap"])
@pytest.mark.parametrize("ending", ["release", "settle", "expire"])
async def test_law_12a_a_passing_refusal_can_be_waited_out(
    desk: Desk, by: str, ending: str
) -> None:
    # Given everything is reserved by somebody else
    await desk.open(100 if by == "credits" else 1_000)
    if by == "cap":
        await desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=100, reference="cap")
    attempt, reserved = await desk.reserve(100, ttl_ms=1_000)
    waiting = desk.attempt()
    refused = await desk.ledger.reserve(waiting, 40, 60_000)
    assert isinstance(refused, Refused)
    assert refused.may_clear

    # When that ends, having used a part of it at most
    if ending == "release":
        await desk.ledger.release(Release(attempt))
    elif ending == "settle":
        await desk.settle(attempt, reserved, 60)
    else:
        await desk.pass_time(1_000)

    # Then the one that waited gets what it wanted
    await desk.reserve(40, waiting)


async def test_law_12a_all_who_wait_get_their_turn_or_hear_that_waiting_is_of_no_use(
    open_desk: OpenDesk,
) -> None:
    async with open_desk() as desk, open_desk() as another:
        await desk.open(300)
        done: list[Any] = []

        async def run(one: Desk) -> None:
            attempt = desk.attempt()
            answer = await one.ledger.reserve(attempt, 20, 60_000)
            while isinstance(answer, Refused) and answer.may_clear:
                await asyncio.sleep(0.001)
                answer = await one.ledger.reserve(attempt, 20, 60_000)
            if isinstance(answer, Reserved):
                await one.settle(attempt, answer, 5)
            done.append(answer)

        await asyncio.gather(*(run(one) for one in (desk, another) for _ in range(40)))

        # 300 pay for 57 at 5 each; what is left then is less than one may cost
        refused = [answer for answer in done if isinstance(answer, Refused)]
        assert len(done) - len(refused) == 57
        assert {answer.reason for answer in refused} == {FallbackReason.EXECUTION_TOO_LARGE}
        assert (await desk.balance()).available_mc == 15


@pytest.mark.parametrize("dimension", [{"workspace_id": "retail"}, {"action": "route"}, {}])
async def test_law_12a_what_is_switched_off_is_told_and_waiting_is_of_no_use(
    desk: Desk, dimension: dict[str, str]
) -> None:
    await desk.open(100)
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="off", **dimension)

    answer = await desk.ledger.reserve(desk.attempt(), 0, 60_000)

    assert answer == Refused(FallbackReason.SWITCHED_OFF, 100)


async def test_law_12a_a_cap_that_refuses_tells_its_figures_and_when_it_begins_anew(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=100, reference="cap")
    await desk.spend(30)
    await desk.reserve(50)

    may_clear = await desk.ledger.reserve(desk.attempt(), 70, 60_000)
    for_good = await desk.ledger.reserve(desk.attempt(), 71, 60_000)

    (status,) = await desk.ledger.accounts.caps(ACCOUNT)
    assert (status.charged_mc, status.reserved_mc, status.limit_mc) == (30, 50, 100)
    reached = FallbackReason.CAP_REACHED
    assert may_clear == Refused(reached, 920, cap=status, may_clear=True)
    assert for_good == Refused(reached, 920, cap=status, may_clear=False)
    assert status.resets_in_ms is not None
    await desk.pass_time(status.resets_in_ms)
    await desk.reserve(71)
