"""Laws 13a and 5a: what is taken back, closed, switched off or moved to another plan."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind, Offer
from runtime.credits.endings import Release
from runtime.credits.journal import Kind
from runtime.credits.results import (
    AccountConflict,
    AccountUnknown,
    GrantRefused,
    GrantUnknown,
    Refused,
    Released,
    Reserved,
    Settled,
    Voided,
)
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk
from tests.harness.ledger.verbs import CHANGES, Change

BACK = {"reference": "back-1", "reason": "charged back", "actor": "ann"}
BYE = {"reference": "bye", "reason": "asked for it", "actor": "ann"}


async def reason(desk: Desk, **changes: Any) -> FallbackReason | None:
    answer = await desk.ledger.reserve(desk.attempt(**changes), 1, 1_000)
    return answer.reason if isinstance(answer, Refused) else None


# Law 13a


async def test_law_13a_a_void_takes_what_is_left_of_one_grant_and_is_journaled(
    desk: Desk,
) -> None:
    await desk.open(100, 50)
    await desk.spend(30)

    voided = await desk.ledger.accounts.void(ACCOUNT, "g1", **BACK)

    assert voided == Voided("g1", 70, 50, new=True)
    assert (await desk.parts("g1")).voided_mc == 70
    entry = (await desk.journal())[-1]
    assert (entry.kind, entry.actor, entry.reference) == (Kind.VOIDED, "ann", "back-1")
    assert entry.detail == ("g1", "charged back")
    assert await desk.ledger.accounts.void(ACCOUNT, "g1", **BACK) == Voided("g1", 70, 50, new=False)


async def test_law_13a_a_voided_grant_pays_what_was_reserved_of_it_and_takes_nothing_back(
    desk: Desk,
) -> None:
    await desk.open(100, 50)
    attempt, reserved = await desk.reserve(120)
    released, _ = await desk.reserve(10)
    await desk.ledger.accounts.void(ACCOUNT, "g1", **BACK)
    assert isinstance(await desk.ledger.reserve(desk.attempt(), 21, 1_000), Refused)

    await desk.settle(attempt, reserved, 60)
    await desk.ledger.release(Release(released))

    first, second = await desk.parts("g1"), await desk.parts("g2")
    assert (first.charged_mc, first.voided_mc, first.available_mc) == (60, 40, 0)
    assert (second.charged_mc, second.available_mc) == (0, 50)


@pytest.mark.parametrize("void_first", [True, False])
async def test_law_13a_what_comes_home_goes_where_its_grant_went_first(
    desk: Desk, void_first: bool
) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    attempt, _ = await desk.reserve(60)
    if void_first:
        await desk.ledger.accounts.void(ACCOUNT, "g1", **BACK)
    await desk.pass_time(5_000)
    if not void_first:
        await desk.ledger.accounts.void(ACCOUNT, "g1", **BACK)

    await desk.ledger.release(Release(attempt))

    parts = await desk.parts("g1")
    assert (parts.voided_mc, parts.expired_mc) == ((100, 0) if void_first else (0, 100))


async def test_law_13a_what_a_voided_grant_will_give_back_is_nobodys_hope(desk: Desk) -> None:
    await desk.open(100)
    await desk.reserve(100)
    await desk.ledger.accounts.void(ACCOUNT, "g1", **BACK)

    answer = await desk.ledger.reserve(desk.attempt(), 10, 1_000)

    assert answer == Refused(FallbackReason.INSUFFICIENT_CREDITS, 0, 0)


async def test_law_13a_voiding_what_is_used_up_or_unknown_or_lost(desk: Desk) -> None:
    await desk.open(100)
    await desk.spend(100)
    assert (await desk.ledger.accounts.void(ACCOUNT, "g1", **BACK)).amount_mc == 0

    with pytest.raises(GrantUnknown, match="g7"):
        await desk.ledger.accounts.void(ACCOUNT, "g7", reference="x", reason="y")
    await desk.client.delete(desk.key("ended"))
    with pytest.raises(Exception, match="ended"):
        await desk.ledger.accounts.void(ACCOUNT, "g1", reference="x", reason="y")


async def test_law_13a_a_closed_account_reserves_and_gets_nothing_and_settles_what_ran(
    desk: Desk,
) -> None:
    await desk.open(100, 50)
    attempt, reserved = await desk.reserve(120)
    late, late_reserved = await desk.reserve(20, ttl_ms=1_000)
    await desk.pass_time(1_000)

    assert await desk.ledger.accounts.close_account(ACCOUNT, **BYE)

    assert await reason(desk) is FallbackReason.ACCOUNT_CLOSED
    with pytest.raises(GrantRefused, match="account_closed"):
        await desk.grant(10)
    with pytest.raises(AccountConflict, match="state 'closed'"):
        await desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="p")
    assert isinstance(await desk.settle(attempt, reserved, 110), Settled)
    charged = await desk.settle(late, late_reserved, 20)
    assert (charged.charged_mc, charged.overage_mc, charged.flags) == (0, 20, ("late",))
    balance = await desk.balance()
    assert (balance.state, balance.charged_mc, balance.voided_mc) == ("closed", 110, 40)
    assert (balance.available_mc, balance.reserved_mc) == (0, 0)
    closed = next(entry for entry in await desk.journal() if entry.kind is Kind.CLOSED)
    assert (closed.actor, closed.detail) == ("ann", ("asked for it",))
    assert await desk.ledger.accounts.close_account(ACCOUNT, **BYE) is False
    assert await desk.ledger.accounts.close_account(ACCOUNT, reference="again", reason="y") is False


# Law 5a


async def test_law_5a_a_trial_plan_stops_what_is_new_and_nothing_that_runs(desk: Desk) -> None:
    await desk.open(100)
    attempt, reserved = await desk.reserve(60)

    assert await desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="down")

    assert await reason(desk) is FallbackReason.PLAN_NOT_ELIGIBLE
    with pytest.raises(GrantRefused, match="plan_not_eligible"):
        await desk.ledger.accounts.purchase(ACCOUNT, credits=100_000, payment_reference="p1")
    assert isinstance(await desk.settle(attempt, reserved, 50), Settled)
    balance = await desk.balance()
    assert (balance.plan, balance.ai_credits, balance.available_mc) == ("trial", False, 50)

    await desk.ledger.accounts.change_plan(ACCOUNT, plan="growth", reference="up")

    assert await desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="down") is False
    await desk.spend(50)


async def test_law_5a_credits_of_a_trial_account_keep_their_expiry(desk: Desk) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    await desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="down")
    await desk.pass_time(5_000)
    await desk.ledger.accounts.change_plan(ACCOUNT, plan="growth", reference="up")

    assert await reason(desk) is FallbackReason.INSUFFICIENT_CREDITS
    assert (await desk.balance()).expired_mc == 100


def offer(credits_mc: int) -> Offer:
    return Offer("welcome", GrantKind.PROMOTIONAL, credits_mc, expires_after_days=90)


async def test_law_5a_an_offer_is_given_once_whatever_became_of_its_terms(
    open_desk: OpenDesk,
) -> None:
    since = date(2096, 5, 1)
    async with open_desk(offers=[offer(500)]) as desk:
        await desk.ledger.accounts.open_account(ACCOUNT, plan="trial")
        assert (await desk.balance()).granted_mc == 0
        for reference in ("up", "up", "up-again"):
            await desk.ledger.accounts.change_plan(
                ACCOUNT, plan="growth", reference=reference, paying_since=since
            )
        await desk.ledger.accounts.open_account(ACCOUNT, plan="growth", paying_since=since)
        assert (await desk.balance()).granted_mc == 500

        changed = desk.another_ledger(offers=[offer(900)])
        assert (
            await changed.accounts.open_account(ACCOUNT, plan="growth", paying_since=since) is False
        )

        assert (await desk.balance()).granted_mc == 500
        await changed.drain()


SWITCHES: list[dict[str, str]] = [{}, {"workspace_id": "retail"}, {"action": "route"}]


@pytest.mark.parametrize("target", SWITCHES, ids=lambda target: "-".join(target) or "account")
async def test_law_5a_what_is_switched_off_reserves_nothing_at_once(
    desk: Desk, target: dict[str, str]
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(10)

    assert await desk.ledger.accounts.switch_off(ACCOUNT, reference="off", **target)

    assert await reason(desk) is FallbackReason.SWITCHED_OFF
    for name in target:
        assert await reason(desk, **{name: "another"}) is None
    assert isinstance(await desk.settle(attempt, reserved, 5), Settled)
    words = " ".join([name.removesuffix("_id") + " " + id_ for name, id_ in target.items()])
    assert (await desk.balance()).switched_off == (words or "account",)

    assert await desk.ledger.accounts.switch_on(ACCOUNT, reference="on", **target)
    assert await reason(desk) is None
    assert (await desk.balance()).switched_off == ()
    assert await desk.ledger.accounts.switch_off(ACCOUNT, reference="off", **target) is False
    assert await reason(desk) is None, "a reference that was used before changes nothing"


async def test_law_5a_switches_of_two_things_are_two(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="1")
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="2", action="route")
    await desk.ledger.accounts.switch_on(ACCOUNT, reference="3")

    assert await reason(desk) is FallbackReason.SWITCHED_OFF
    with pytest.raises(ValueError, match="one of them"):
        await desk.ledger.accounts.switch_off(ACCOUNT, reference="4", workspace_id="a", action="b")


@pytest.mark.parametrize("empty", [{"workspace_id": ""}, {"campaign_id": ""}, {"action": ""}])
async def test_law_5a_an_empty_name_is_not_taken_for_a_workspace(
    desk: Desk, empty: dict[str, str]
) -> None:
    """A shell variable that is not set, in the middle of an incident."""
    await desk.open(1_000)

    with pytest.raises(ValueError, match=f"^{next(iter(empty))}: "):
        await desk.ledger.accounts.switch_off(ACCOUNT, reference="1", **empty)


# Law 3d


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_law_13a_an_unknown_account_is_an_error(desk: Desk, change: Change) -> None:
    with pytest.raises(AccountUnknown):
        await change(desk, "ref-1")


async def test_law_3d_an_adjustment_names_the_execution_that_it_corrects(desk: Desk) -> None:
    await desk.open(100)
    attempt, reserved = await desk.reserve(50)
    await desk.settle(attempt, reserved, 50)

    await desk.grant(
        50,
        kind=GrantKind.ADJUSTMENT,
        execution_id=attempt.execution_id,
        reference="sorry",
    )

    settled, corrected = (await desk.journal())[-2:]
    assert corrected.execution_key == settled.execution_key
    with pytest.raises(ValueError, match="only an adjustment"):
        await desk.grant(50, execution_id=attempt.execution_id)


async def test_law_5a_a_release_is_not_stopped_by_anything(desk: Desk) -> None:
    await desk.open(100)
    attempts = [(await desk.reserve(10))[0] for _ in range(3)]
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="off")
    released = [await desk.ledger.release(Release(attempts[0]))]
    await desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="down")
    released.append(await desk.ledger.release(Release(attempts[1])))
    await desk.ledger.accounts.close_account(ACCOUNT, **BYE)
    released.append(await desk.ledger.release(Release(attempts[2])))

    assert all(isinstance(found, Released) and found.found for found in released)
    assert (await desk.balance()).reserved_mc == 0
    assert not isinstance(await desk.ledger.reserve(desk.attempt(), 0, 1_000), Reserved)
