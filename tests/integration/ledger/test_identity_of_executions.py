"""Law 3: one outcome, one charge, whoever asks again and whoever comes late."""

from __future__ import annotations

from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.answers import (
    ExecutionConflict,
    Existing,
    InProgress,
    Refused,
    Released,
    Reserved,
    Settled,
)
from tests.integration.ledger.conftest import OpenDesk
from tests.integration.ledger.desk import Desk

ID = "journey-1:step:1"


async def test_promise_09_the_same_attempt_asking_again_gets_its_own_reservation(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, first = await desk.reserve(1_000)
    await desk.pass_time(400)

    again = await desk.ledger.reserve(attempt, 1_000, 60_000)

    assert again == Reserved(1_000, 9_000, first.reserved_at_ms, 59_600)
    assert (await desk.balance()).reserved_mc == 1_000


async def test_promise_09_another_attempt_hears_how_long_the_first_may_take(desk: Desk) -> None:
    await desk.open(10_000)
    await desk.reserve(1_000, desk.attempt(ID), ttl_ms=60_000)
    await desk.pass_time(1_500)

    other = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert other == InProgress(58_500)
    assert (await desk.balance()).reserved_mc == 1_000


async def test_promise_09_a_settled_id_answers_its_first_outcome_and_charges_no_more(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID))
    await desk.settle(attempt, reserved, 700, outcome=b"\x00\n\tany bytes\xff")
    before = await desk.dump()

    again = await desk.ledger.reserve(desk.attempt(ID), 900, 60_000)

    assert again == Existing("settled", 700, 0, None, b"\x00\n\tany bytes\xff")
    assert await desk.dump() == before


async def test_promise_09_a_settlement_sent_twice_is_charged_once(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000)
    first = await desk.settle(attempt, reserved, 700)
    before = await desk.dump()

    second = await desk.settle(attempt, reserved, 700)

    assert first == second == Settled(700, 0, 9_300, ())
    assert await desk.dump() == before


async def test_promise_09_a_release_sent_twice_gives_back_once(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000)
    reason = FallbackReason.PROVIDER_TIMEOUT
    await desk.ledger.release(attempt, reason, exposure_mc=40, outcome=b"fallback")
    before = await desk.dump()

    again = await desk.ledger.release(attempt, reason, exposure_mc=40, outcome=b"fallback")

    assert again == Released(10_000, found=True)
    assert await desk.dump() == before


async def test_promise_09_a_released_id_with_its_outcome_is_not_asked_again(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, desk.attempt(ID))
    await desk.ledger.release(attempt, FallbackReason.PROVIDER_ERROR, outcome=b"fallback")

    again = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert again == Existing("released", 0, 0, FallbackReason.PROVIDER_ERROR, b"fallback")


async def test_promise_09_a_cancelled_attempt_leaves_no_outcome_so_the_id_may_be_asked_again(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, desk.attempt(ID))
    await desk.ledger.release(attempt)

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
async def test_promise_09_an_id_reused_for_something_else_is_refused_naming_the_field(
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
        await desk.ledger.release(attempt, outcome=b"")
    before = await desk.dump()
    other = desk.attempt(ID, **change)

    with pytest.raises(ExecutionConflict) as reserving:
        await desk.ledger.reserve(other, 1_000, 60_000)
    with pytest.raises(ExecutionConflict) as settling:
        await desk.settle(other, Reserved(1_000, 0, desk.now_ms, 0), 700)
    with pytest.raises(ExecutionConflict) as concluding:
        await desk.ledger.conclude(other, FallbackReason.INSUFFICIENT_CREDITS)
    with pytest.raises(ExecutionConflict) as releasing:
        await desk.ledger.release(other, outcome=b"")

    assert {e.value.field for e in (reserving, settling, concluding, releasing)} == {field}
    assert ID in str(reserving.value)
    assert field in str(reserving.value)
    assert await desk.dump() == before


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


# Attempts that come late


async def test_promise_09_of_two_attempts_the_first_settlement_wins_and_the_other_is_exposure(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    slow, slow_reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    quick, quick_reserved = await desk.reserve(1_200, desk.attempt(ID), ttl_ms=1_000)
    won = await desk.settle(quick, quick_reserved, 600, outcome=b"quick")

    lost = await desk.settle(slow, slow_reserved, 500, outcome=b"slow")
    lost_again = await desk.settle(slow, slow_reserved, 500, outcome=b"slow")

    assert won == Settled(600, 0, 9_400, ())
    assert lost == lost_again == Existing("settled", 600, 0, None, b"quick")
    balance = await desk.balance()
    assert (balance.charged_mc, balance.exposure_mc) == (600, 500)
    assert [entry.kind for entry in await desk.journal()][-3:] == ["expired", "settled", "exposure"]


async def test_promise_09_a_late_settlement_wins_over_an_attempt_that_still_runs(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    late, late_reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    running, running_reserved = await desk.reserve(1_200, desk.attempt(ID))

    won = await desk.settle(late, late_reserved, 500, outcome=b"late")
    lost = await desk.settle(running, running_reserved, 800)

    assert won == Settled(500, 0, 9_500, ("late",))
    assert lost == Existing("settled", 500, 0, None, b"late")
    balance = await desk.balance()
    assert (balance.charged_mc, balance.reserved_mc, balance.exposure_mc) == (500, 0, 800)
    superseded = (await desk.journal())[-3]
    assert (superseded.kind, superseded.flags) == ("released", ("superseded",))


async def test_a_late_settlement_stays_late_when_a_newer_attempt_was_cancelled(desk: Desk) -> None:
    await desk.open(10_000)
    late, reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    newer, _ = await desk.reserve(1_000, desk.attempt(ID))
    await desk.ledger.release(newer)

    settled = await desk.settle(late, reserved, 500)

    assert settled == Settled(500, 0, 9_500, ("late",))


async def test_an_attempt_may_reserve_again_after_its_own_reservation_expired(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)
    _, reserved = await desk.reserve(1_000, attempt, ttl_ms=1_000)

    released = await desk.ledger.release(attempt)

    assert released == Released(10_000, found=True)
    assert (await desk.balance()).open_reservations == 0
    assert (await desk.settle(attempt, reserved, 10)).flags == ("orphan",)


async def test_promise_09_a_settlement_without_any_record_is_charged_as_an_orphan(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    lost = Reserved(1_000, 9_000, desk.now_ms - 5_000, 60_000)

    settled = await desk.settle(desk.attempt(), lost, 700)

    assert settled == Settled(700, 0, 9_300, ("orphan",))
    (entry,) = [e for e in await desk.journal() if e.kind == "settled"]
    assert entry.flags == ("orphan",)
    assert entry.reserved_at_ms == desk.now_ms - 5_000


async def test_promise_09_a_settlement_beyond_the_horizon_is_dead_and_changes_nothing(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=10_000) as desk:
        await desk.open(10_000)
        attempt = desk.attempt()
        before = await desk.dump()
        horizon = Reserved(1_000, 0, desk.now_ms - 10_000, 0)

        assert await desk.settle(attempt, horizon, 700) is None
        assert await desk.dump() == before

        within = Reserved(1_000, 0, desk.now_ms - 9_999, 0)
        assert (await desk.settle(attempt, within, 700)).flags == ("orphan",)


async def test_promise_09_an_outcome_outlives_every_settlement_that_could_still_be_charged(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=10_000) as desk:
        await desk.open(10_000)
        attempt, reserved = await desk.reserve(1_000, ttl_ms=10_000)
        # The clock goes back, as at a failover to a server whose clock lags behind.
        await desk.set_clock(desk.now_ms - 8_000)
        await desk.settle(attempt, reserved, 700)

        key = desk.keys.outcome(attempt.account_id, attempt.execution_key)
        ends_at_ms = await desk.server_ms() + await desk.client.pttl(key)

        assert abs(ends_at_ms - (reserved.reserved_at_ms + 10_000)) < 2_000


async def test_promise_09_a_late_release_with_its_fallback_values_becomes_the_outcome(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    reason = FallbackReason.PROVIDER_TIMEOUT
    for _ in range(2):
        await desk.ledger.release(attempt, reason, exposure_mc=30, outcome=b"fallback")

    again = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert again == Existing("released", 0, 0, reason, b"fallback")
    assert (await desk.balance()).exposure_mc == 30
    assert (await desk.journal())[-1].flags == ("late", "exposure")


async def test_a_late_release_does_not_disturb_an_attempt_that_runs(desk: Desk) -> None:
    await desk.open(10_000)
    late, _ = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    running, reserved = await desk.reserve(1_000, desk.attempt(ID))

    for _ in range(2):
        answer = await desk.ledger.release(
            late, FallbackReason.PROVIDER_TIMEOUT, exposure_mc=30, outcome=b"fallback"
        )
        assert answer == Released(9_000, found=False)

    assert await desk.settle(running, reserved, 700) == Settled(700, 0, 9_300, ())
    assert (await desk.balance()).exposure_mc == 30


async def test_the_exposure_of_an_expired_attempt_is_booked_once(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)

    for _ in range(3):
        await desk.ledger.release(attempt, exposure_mc=30)

    assert (await desk.balance()).exposure_mc == 30


async def test_a_release_of_nothing_changes_nothing(desk: Desk) -> None:
    await desk.open(10_000)
    before = await desk.dump()

    answer = await desk.ledger.release(desk.attempt(), exposure_mc=30)

    assert answer == Released(10_000, found=False)
    assert await desk.dump() == before


# Refusals


async def test_promise_09_a_refusal_is_not_stored_unless_it_is_final(desk: Desk) -> None:
    await desk.open(500)
    before = await desk.dump()

    answer = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert answer == Refused(FallbackReason.EXECUTION_TOO_LARGE, 500, 0)
    assert await desk.dump() == before


@pytest.mark.parametrize("how", ["reserve", "conclude"])
async def test_promise_09_a_concluded_refusal_is_the_outcome_even_when_credits_come(
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


async def test_promise_09_a_refusal_can_be_concluded_again_and_not_over_a_running_attempt(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    reason = FallbackReason.INSUFFICIENT_CREDITS
    attempt = desk.attempt(ID)
    assert await desk.ledger.conclude(attempt, reason) is None
    before = await desk.dump()
    assert await desk.ledger.conclude(attempt, reason) is None
    assert await desk.dump() == before

    await desk.reserve(1_000, desk.attempt("journey-2:step:1"))
    answer = await desk.ledger.conclude(desk.attempt("journey-2:step:1"), reason)
    assert answer == InProgress(60_000)


@pytest.mark.parametrize(
    "reserved_mc, wanted_mc, reason, home_mc",
    [
        (9_000, 1_000, None, 0),
        (9_000, 1_001, FallbackReason.CREDITS_RESERVED_ELSEWHERE, 9_000),
        (9_000, 10_000, FallbackReason.CREDITS_RESERVED_ELSEWHERE, 9_000),
        (9_000, 10_001, FallbackReason.EXECUTION_TOO_LARGE, 9_000),
        (0, 10_001, FallbackReason.EXECUTION_TOO_LARGE, 0),
        (10_000, 10_001, FallbackReason.EXECUTION_TOO_LARGE, 10_000),
    ],
)
async def test_promise_13_a_refusal_says_why_and_what_may_come_back(
    desk: Desk, reserved_mc: int, wanted_mc: int, reason: FallbackReason | None, home_mc: int
) -> None:
    await desk.open(10_000)
    if reserved_mc:
        await desk.reserve(reserved_mc)
    before = await desk.dump()

    answer = await desk.ledger.reserve(desk.attempt(), wanted_mc, 60_000)

    if reason is None:
        assert isinstance(answer, Reserved)
    else:
        passing = reason is FallbackReason.CREDITS_RESERVED_ELSEWHERE
        assert answer == Refused(reason, 10_000 - reserved_mc, home_mc, passing=passing)
        assert await desk.dump() == before


async def test_promise_13_an_account_without_credits_or_plan_or_existence_is_told_apart(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.ledger.open_account("trial", plan="trial")
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


async def test_promise_13_credits_reserved_of_an_expired_grant_are_not_promised_back(
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


async def test_endings_of_an_unknown_account_are_answered_not_raised(desk: Desk) -> None:
    attempt = desk.attempt()

    assert await desk.settle(attempt, Reserved(1, 0, desk.now_ms, 0), 1) is None
    assert await desk.ledger.release(attempt) == Released(0, found=False)
    assert await desk.ledger.conclude(attempt, FallbackReason.ACCOUNT_UNKNOWN) is None
