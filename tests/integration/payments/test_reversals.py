"""Refunds and disputes: what is left is taken back, once; what was spent is owed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.payments.payment import Dispute, Payment, State
from tests.harness.payments import PACK_MC, Till


async def refund(till: Till, payment: Payment, cents: int, **changes: Any) -> str:
    charge = till.fake.charge_of(payment.intent_id or "", amount_refunded=cents, **changes)
    return await till.deliver(till.fake.event("charge.refunded", charge))


async def dispute(till: Till, payment: Payment, status: str, **changes: Any) -> str:
    found = till.fake.dispute_of(payment.intent_id or "", status, **changes)
    kind = "closed" if status in ("won", "lost", "warning_closed") else "created"
    return await till.deliver(till.fake.event(f"charge.dispute.{kind}", found))


async def test_a_refund_takes_back_what_is_left_and_the_rest_is_owed(till: Till) -> None:
    await till.desk.grant(5_000)
    payment = await till.bought(2)
    await till.desk.spend(50_005_000)
    assert await refund(till, payment, 2_000) == "done"
    balance = await till.balance()
    assert (balance.available_mc, balance.voided_mc) == (0, 150_000_000)
    payment = await till.again(payment)
    assert (payment.state, payment.owed_mc, payment.owed_cents) == (State.REFUNDED, 50_000_000, 500)
    for _ in range(2):
        await refund(till, payment, 2_000)
    assert (await till.balance()).journal_seq == balance.journal_seq, "once"
    assert till.kinds() == ["payment_reversed"]
    entry = [entry for entry in await till.desk.journal() if entry.kind == "voided"][-1]
    assert (entry.actor, entry.detail) == ("payments", ("g2", "the payment was refunded"))


async def test_a_refund_in_part_takes_back_its_share_and_the_next_one_the_rest(
    till: Till,
) -> None:
    payment = await till.bought()
    await refund(till, payment, 250)
    payment = await till.again(payment)
    assert (payment.state, payment.refunded_cents, payment.owed_mc) == (State.CREDITED, 250, 0)
    assert (await till.balance()).available_mc == 75_000_000
    await till.desk.spend(70_000_000)
    await refund(till, payment, 500)
    assert (await till.balance()).available_mc == 0
    assert (await till.again(payment)).owed_mc == 20_000_000
    await refund(till, payment, 250)  # an older event, after the newer one
    await refund(till, payment, 1_000)
    payment = await till.again(payment)
    assert (payment.state, payment.owed_mc) == (State.REFUNDED, 70_000_000)


async def test_other_grants_are_not_touched(till: Till) -> None:
    first, second = await till.bought(), await till.bought()
    await refund(till, first, 1_000)
    grants = {grant.grant_id: grant for grant in (await till.balance()).grants}
    assert grants[first.grant_id or ""].voided_mc == PACK_MC
    assert grants[second.grant_id or ""].available_mc == PACK_MC


async def test_what_executions_have_reserved_is_decided_when_they_end(till: Till) -> None:
    payment = await till.bought()
    attempt, reserved = await till.desk.reserve(40_000_000)
    await refund(till, payment, 1_000)
    assert (await till.balance()).available_mc == 0, "nothing new can be reserved"
    await till.payments.retry(payment.payment_id)
    assert (await till.again(payment)).state is State.CREDITED
    await till.desk.settle(attempt, reserved, 10_000_000)
    payment = await till.payments.retry(payment.payment_id)
    assert (payment.state, payment.owed_mc) == (State.REFUNDED, 10_000_000)


async def test_a_payment_that_was_refunded_before_it_was_credited_credits_nothing(
    till: Till,
) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    charge = till.fake.charge_of(session["payment_intent"], amount_refunded=1_000)
    assert await till.deliver(till.fake.event("charge.refunded", charge)) == "done"
    await till.deliver(till.fake.event("checkout.session.completed", session))
    payment = await till.again(payment)
    assert (payment.state, payment.owed_mc) == (State.REFUNDED, 0)
    assert (await till.balance()).granted_mc == 0


async def test_a_refund_in_part_before_it_was_credited_is_taken_back_at_once(till: Till) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    charge = till.fake.charge_of(session["payment_intent"], amount_refunded=400)
    await till.deliver(till.fake.event("charge.refunded", charge))
    await till.deliver(till.fake.event("checkout.session.completed", session))
    assert (await till.balance()).available_mc == 60_000_000


async def test_a_dispute_takes_back_what_is_left_and_one_that_is_won_gives_it_again(
    till: Till,
) -> None:
    payment = await till.bought()
    await till.desk.spend(30_000_000)
    await till.top_up()
    assert await dispute(till, payment, "needs_response") == "done"
    payment = await till.again(payment)
    assert (payment.state, payment.dispute) == (State.DISPUTED, Dispute.OPEN)
    assert (payment.owed_mc, (await till.balance()).available_mc) == (30_000_000, 0)
    assert await till.stopped() == "a payment was disputed"

    await dispute(till, payment, "won")
    payment = await till.again(payment)
    assert (payment.state, payment.dispute, payment.owed_mc) == (State.CREDITED, Dispute.WON, 0)
    assert (await till.balance()).available_mc == 70_000_000
    await dispute(till, payment, "needs_response")  # an older event, after the newer one
    assert (await till.balance()).available_mc == 70_000_000
    assert await till.stopped() is not None, "until a person acts"


async def test_a_dispute_that_is_lost_stays_owed(till: Till) -> None:
    payment = await till.bought()
    await till.desk.spend(30_000_000)
    await dispute(till, payment, "lost")
    await dispute(till, payment, "under_review")
    payment = await till.again(payment)
    assert (payment.state, payment.owed_mc) == (State.DISPUTED, 30_000_000)


async def test_a_question_of_the_bank_stops_top_ups_and_takes_nothing_back(till: Till) -> None:
    payment = await till.bought()
    await till.top_up()
    await dispute(till, payment, "warning_needs_response")
    assert await till.stopped() == "a payment is questioned"
    assert (await till.balance()).available_mc == PACK_MC


async def test_a_dispute_before_the_payment_is_known_is_found_by_its_intent(till: Till) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    found = till.fake.dispute_of(session["payment_intent"], "needs_response")
    assert await till.deliver(till.fake.event("charge.dispute.created", found)) == "done"
    await till.deliver(till.fake.event("checkout.session.completed", session))
    assert (await till.balance()).granted_mc == 0
    await till.deliver(till.fake.event("charge.dispute.closed", found | {"status": "won"}))
    assert (await till.balance()).available_mc == PACK_MC
    assert (await till.again(payment)).state is State.CREDITED


async def test_refunds_stop_automatic_top_ups(till: Till) -> None:
    await till.top_up()
    assert await till.payments.topping_up.look("acme") == "begun"
    [payment] = await till.payments.page("acme", limit=2)
    await refund(till, payment, 1_000)
    assert await till.stopped() == "a payment was refunded"
    assert await till.payments.topping_up.look("acme") == "off"
    assert till.fake.charges == 1


@pytest.mark.parametrize("change", [{"currency": "eur"}, {"amount_refunded": "1000"}])
async def test_a_refund_that_can_not_be_the_payments_is_told(
    till: Till, change: dict[str, Any]
) -> None:
    payment = await till.bought()
    charge = till.fake.charge_of(payment.intent_id or "", amount_refunded=1_000) | change
    await till.deliver(till.fake.event("charge.refunded", charge))
    assert till.kinds() == ["payment_mismatch"]
    assert (await till.balance()).available_mc == PACK_MC


async def test_refunds_and_disputes_that_arrive_at_once_take_back_once(till: Till) -> None:
    payment = await till.bought()
    await till.desk.spend(10_000_000)
    await asyncio.gather(
        *(refund(till, payment, 500) for _ in range(3)),
        *(dispute(till, payment, "needs_response") for _ in range(3)),
        return_exceptions=False,
    )
    await till.payments.retry(payment.payment_id)
    payment = await till.again(payment)
    balance = await till.balance()
    assert balance.available_mc == 0
    assert (payment.state, payment.owed_mc) == (State.DISPUTED, 10_000_000)
