"""Law 3: one outcome, one charge, whoever asks again."""

from __future__ import annotations

from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.endings import Release
from runtime.credits.results import (
    AccountUnknown,
    ExecutionConflict,
    Existing,
    InProgress,
    Refused,
    Released,
    Reserved,
    Settled,
)
from tests.harness.ledger.desk import Desk

ID = "journey-1:step:1"


async def test_law_3c_the_same_attempt_asking_again_gets_its_own_reservation(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, first = await desk.reserve(1_000)
    await desk.pass_time(400)

    again = await desk.ledger.reserve(attempt, 1_000, 60_000)

    assert again == Reserved(1_000, 9_000, first.reserved_at_ms, 59_600)
    assert (await desk.balance()).reserved_mc == 1_000


async def test_law_3c_another_attempt_hears_how_long_the_first_may_take(desk: Desk) -> None:
    await desk.open(10_000)
    await desk.reserve(1_000, desk.attempt(ID), ttl_ms=60_000)
    await desk.pass_time(1_500)

    other = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert other == InProgress(58_500)
    assert (await desk.balance()).reserved_mc == 1_000


async def test_law_3c_a_settled_id_answers_its_first_outcome_and_charges_no_more(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID))
    await desk.settle(attempt, reserved, 700, outcome=b"\x00\n\tany bytes\xff")
    before = await desk.state()

    again = await desk.ledger.reserve(desk.attempt(ID), 900, 60_000)

    assert again == Existing("settled", 700, 0, None, b"\x00\n\tany bytes\xff")
    assert await desk.state() == before


async def test_law_3c_a_settlement_sent_twice_is_charged_once(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000)
    first = await desk.settle(attempt, reserved, 700)
    before = await desk.state()

    second = await desk.settle(attempt, reserved, 700)

    assert first == second == Settled(700, 0, 9_300, ())
    assert await desk.state() == before


async def test_law_3c_a_release_sent_twice_gives_back_once(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000)
    reason = FallbackReason.PROVIDER_TIMEOUT
    await desk.ledger.release(Release(attempt, reason, exposure_mc=40, outcome=b"fallback"))
    before = await desk.state()

    again = await desk.ledger.release(Release(attempt, reason, exposure_mc=40, outcome=b"fallback"))

    assert again == Released(10_000, found=True)
    assert await desk.state() == before


async def test_law_3c_a_released_id_with_its_outcome_is_not_asked_again(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, desk.attempt(ID))
    await desk.ledger.release(Release(attempt, FallbackReason.PROVIDER_ERROR, outcome=b"fallback"))

    again = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert again == Existing("released", 0, 0, FallbackReason.PROVIDER_ERROR, b"fallback")


async def test_law_3c_a_cancelled_attempt_leaves_no_outcome_so_the_id_may_be_asked_again(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, desk.attempt(ID))
    await desk.ledger.release(Release(attempt))

    again = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert isinstance(again, Reserved)


@pytest.mark.parametrize(
    "field, change",
    [
        ("workspace_id", {"workspace_id": "wholesale"}),
        ("campaign_id", {"campaign_id": "farewell"}),
        ("action", {"action": "summarise"}),
        ("person_id", {"person_id": "person-2"}),
        ("source", {"source": "preview"}),
    ],
)
@pytest.mark.parametrize("stage", ["open", "expired", "settled", "released", "refused"])
async def test_law_3c_an_id_reused_for_something_else_is_refused_naming_the_field(
    desk: Desk, stage: str, field: str, change: dict[str, str]
) -> None:
    await desk.open(10_000)
    attempt = desk.attempt(ID)
    if stage == "refused":
        await desk.ledger.conclude(attempt, FallbackReason.INSUFFICIENT_CREDITS)
        reserved = Reserved(0, 0, 0, 0)
    else:
        _, reserved = await desk.reserve(1_000, attempt, ttl_ms=1_000)
    if stage == "expired":
        await desk.pass_time(1_000)
        await desk.write_what_is_due()
    elif stage == "settled":
        await desk.settle(attempt, reserved, 700)
    elif stage == "released":
        await desk.ledger.release(Release(attempt, outcome=b""))
    before = await desk.state()
    other = desk.attempt(ID, **change)

    with pytest.raises(ExecutionConflict) as reserving:
        await desk.ledger.reserve(other, 1_000, 60_000)
    with pytest.raises(ExecutionConflict) as settling:
        await desk.settle(other, Reserved(1_000, 0, desk.now_ms, 0), 700)
    with pytest.raises(ExecutionConflict) as concluding:
        await desk.ledger.conclude(other, FallbackReason.INSUFFICIENT_CREDITS)
    with pytest.raises(ExecutionConflict) as releasing:
        await desk.ledger.release(Release(other, outcome=b""))

    assert {e.value.field for e in (reserving, settling, concluding, releasing)} == {field}
    assert ID in str(reserving.value)
    assert field in str(reserving.value)
    assert await desk.state() == before


async def test_prompt_version_model_and_amount_may_differ_on_a_repeated_id(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID))
    await desk.settle(attempt, reserved, 700)

    again = await desk.ledger.reserve(
        desk.attempt(ID, action_version="v2", model="thinker"), 5_000, 9_000
    )

    assert isinstance(again, Existing)


async def test_ids_are_an_accounts_own(desk: Desk) -> None:
    await desk.open(10_000)
    await desk.open(10_000, account_id="other")
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID))
    await desk.settle(attempt, reserved, 700)

    answer = await desk.ledger.reserve(desk.attempt(ID, account_id="other"), 1_000, 60_000)

    assert isinstance(answer, Reserved)


# Refusals


async def test_law_3c_a_refusal_is_not_stored_unless_it_is_final(desk: Desk) -> None:
    await desk.open(500)
    before = await desk.state()

    answer = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert answer == Refused(FallbackReason.EXECUTION_TOO_LARGE, 500, 0)
    assert await desk.state() == before


@pytest.mark.parametrize("how", ["reserve", "conclude"])
async def test_law_3c_a_concluded_refusal_is_the_outcome_even_when_credits_come(
    desk: Desk, how: str
) -> None:
    await desk.open(500)
    attempt, reason = desk.attempt(ID), FallbackReason.EXECUTION_TOO_LARGE
    if how == "reserve":
        await desk.ledger.reserve(attempt, 1_000, 60_000, final=True, outcome=b"fallback")
    else:
        await desk.ledger.reserve(attempt, 1_000, 60_000)
        assert await desk.ledger.conclude(attempt, reason, b"fallback") is None
    await desk.grant(10_000)

    again = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert again == Existing("refused", 0, 0, reason, b"fallback")
    entry = (await desk.journal())[-2]
    assert (entry.kind, entry.reason, entry.postings) == ("refused", reason, ())


async def test_law_3c_a_refusal_can_be_concluded_again_and_not_over_a_running_attempt(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    reason = FallbackReason.INSUFFICIENT_CREDITS
    attempt = desk.attempt(ID)
    assert await desk.ledger.conclude(attempt, reason) is None
    before = await desk.state()
    assert await desk.ledger.conclude(attempt, reason) is None
    assert await desk.state() == before

    await desk.reserve(1_000, desk.attempt("journey-2:step:1"))
    answer = await desk.ledger.conclude(desk.attempt("journey-2:step:1"), reason)
    assert answer == InProgress(60_000)


@pytest.mark.parametrize(
    "reserved_mc, wanted_mc, reason, returning_mc",
    [
        (9_000, 1_000, None, 0),
        (9_000, 1_001, FallbackReason.CREDITS_RESERVED_ELSEWHERE, 9_000),
        (9_000, 10_000, FallbackReason.CREDITS_RESERVED_ELSEWHERE, 9_000),
        (9_000, 10_001, FallbackReason.EXECUTION_TOO_LARGE, 9_000),
        (0, 10_001, FallbackReason.EXECUTION_TOO_LARGE, 0),
        (10_000, 10_001, FallbackReason.EXECUTION_TOO_LARGE, 10_000),
    ],
)
async def test_law_12a_a_refusal_says_why_and_what_may_come_back(
    desk: Desk, reserved_mc: int, wanted_mc: int, reason: FallbackReason | None, returning_mc: int
) -> None:
    await desk.open(10_000)
    if reserved_mc:
        await desk.reserve(reserved_mc)
    before = await desk.state()

    answer = await desk.ledger.reserve(desk.attempt(), wanted_mc, 60_000)

    if reason is None:
        assert isinstance(answer, Reserved)
    else:
        may_clear = reason is FallbackReason.CREDITS_RESERVED_ELSEWHERE
        assert answer == Refused(reason, 10_000 - reserved_mc, returning_mc, may_clear=may_clear)
        assert await desk.state() == before


async def test_law_12a_an_account_without_credits_or_plan_or_existence_is_told_apart(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.ledger.accounts.open_account("trial", plan="trial")
    reasons: dict[str, Any] = {}
    for account_id in ("acme", "trial", "nobody"):
        answer = await desk.ledger.reserve(desk.attempt(account_id=account_id), 1, 60_000)
        assert isinstance(answer, Refused)
        reasons[account_id] = answer.reason

    assert reasons == {
        "acme": FallbackReason.INSUFFICIENT_CREDITS,
        "trial": FallbackReason.PLAN_NOT_ELIGIBLE,
        "nobody": FallbackReason.ACCOUNT_UNKNOWN,
    }


async def test_law_12a_credits_reserved_of_an_expired_grant_are_not_promised_back(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.grant(1_000, expires_in_ms=5_000)
    await desk.reserve(1_000)
    await desk.pass_time(5_000)

    answer = await desk.ledger.reserve(desk.attempt(), 500, 60_000)

    assert answer == Refused(FallbackReason.INSUFFICIENT_CREDITS, 0, 0)


async def test_a_free_execution_needs_no_credits(desk: Desk) -> None:
    await desk.open()
    attempt, reserved = await desk.reserve(0)

    assert await desk.settle(attempt, reserved, 0) == Settled(0, 0, 0, ())


async def test_endings_of_an_unknown_account_are_refused_so_that_they_can_be_kept(
    desk: Desk,
) -> None:
    attempt = desk.attempt()

    with pytest.raises(AccountUnknown):
        await desk.settle(attempt, Reserved(1, 0, desk.now_ms, 0), 1)
    with pytest.raises(AccountUnknown):
        await desk.ledger.release(Release(attempt))
    # Nothing is kept of it, whatever the reason for which it was concluded.
    unknown = Refused(FallbackReason.ACCOUNT_UNKNOWN)
    assert await desk.ledger.conclude(attempt, FallbackReason.DEADLINE_EXCEEDED) == unknown
