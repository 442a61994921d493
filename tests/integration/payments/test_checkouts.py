"""Checkouts and events about them: credited once, never before payment."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from pricing.offers import PurchaseRefused
from runtime.credits.results import AccountUnknown, GrantRefused, ReferenceConflict
from runtime.payments.errors import EventUnreadable, PaymentsUnavailable, SignatureRefused
from runtime.payments.payment import State
from tests.harness.payments import PACK_MC, Till
from tests.harness.stripe import signed

COMPLETED = "checkout.session.completed"


async def test_credits_that_were_paid_for_are_credited_once_however_often_the_event_comes(
    till: Till,
) -> None:
    payment = await till.buy(3)
    assert (payment.state, payment.price_cents) == (State.OPEN, 3_000)
    assert payment.session_url is not None
    assert (await till.balance()).available_mc == 0, "not before payment"
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    assert session["client_reference_id"] == payment.payment_id
    event = till.fake.event(COMPLETED, session)
    assert await till.deliver(event) == "done"
    assert await till.deliver(event) == "repeated"
    assert await till.deliver(till.fake.event(COMPLETED, session)) == "done", "another event"
    intent = till.fake.intents[session["payment_intent"]]
    assert await till.deliver(till.fake.event("payment_intent.succeeded", intent)) == "done"

    balance = await till.balance()
    assert balance.available_mc == 3 * PACK_MC
    [grant] = balance.grants
    assert (grant.kind, grant.expires_at_ms) == ("purchased", None)
    assert (await till.again(payment)).grant_id == grant.grant_id
    assert till.told == []


async def test_a_checkout_is_made_once_for_each_reference_also_after_a_lost_answer(
    till: Till,
) -> None:
    till.fake.lose_answers = 1
    with pytest.raises(PaymentsUnavailable):
        await till.buy(2, reference="order-a")
    first = await till.buy(2, reference="order-a")
    again = await till.buy(2, reference="order-a")
    assert first.payment_id == again.payment_id
    assert first.session_url == again.session_url
    assert len(till.fake.sessions) == 1
    with pytest.raises(ReferenceConflict):
        await till.buy(3, reference="order-a")


async def test_an_account_that_may_not_be_given_credits_is_refused_before_any_payment(
    till: Till,
) -> None:
    accounts = till.desk.ledger.accounts
    await accounts.open_account("on-trial", plan="trial")
    await accounts.open_account("gone", plan="growth")
    await accounts.close_account("gone", reference="end", reason="they left")
    for account_id, reason in (
        ("on-trial", FallbackReason.PLAN_NOT_ELIGIBLE),
        ("gone", FallbackReason.ACCOUNT_CLOSED),
    ):
        with pytest.raises(GrantRefused) as refused:
            await till.buy(account_id=account_id)
        assert refused.value.reason == reason
    with pytest.raises(AccountUnknown):
        await till.buy(account_id="nobody")
    with pytest.raises(PurchaseRefused):
        await till.buy(10**8)
    assert till.fake.requests == []
    assert await till.payments.page(None, limit=10) == []


@pytest.mark.parametrize(
    "change",
    [
        {"amount_total": 999},
        {"amount_total": 1_001},
        {"amount_total": None},
        {"amount_total": 1_000.0},
        {"currency": "jpy"},
        {"currency": None},
        {"mode": "setup"},
        {"id": "cs_of_another"},
        {"payment_status": "no_payment_required"},
    ],
)
async def test_an_event_that_is_not_of_the_payment_credits_nothing_and_is_told(
    till: Till, change: dict[str, Any]
) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""]) | change
    assert await till.deliver(till.fake.event(COMPLETED, session)) == "done"
    payment = await till.again(payment)
    assert payment.state is State.MISMATCH
    assert payment.fault
    assert till.kinds() == ["payment_mismatch"]
    # What follows changes nothing: a person has to look at it.
    right = dict(till.fake.sessions[payment.session_id or ""])
    await till.deliver(till.fake.event(COMPLETED, right))
    assert (await till.balance()).granted_mc == 0


async def test_a_method_that_takes_days_credits_when_the_money_is_there(till: Till) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""], "unpaid")
    assert await till.deliver(till.fake.event(COMPLETED, session)) == "done"
    assert ((await till.again(payment)).state, (await till.balance()).granted_mc) == (State.OPEN, 0)
    paid = session | {"payment_status": "paid"}
    await till.deliver(till.fake.event("checkout.session.async_payment_succeeded", paid))
    assert (await till.again(payment)).state is State.CREDITED
    await till.deliver(till.fake.event(COMPLETED, session))
    assert (await till.again(payment)).state is State.CREDITED
    assert (await till.balance()).granted_mc == PACK_MC


async def test_a_method_that_fails_after_days_credits_nothing(till: Till) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""], "unpaid")
    failed = till.fake.event("checkout.session.async_payment_failed", session)
    await till.deliver(failed)
    await till.deliver(till.fake.event(COMPLETED, session))
    assert (await till.again(payment)).state is State.FAILED
    expired = session | {"status": "expired", "payment_intent": None}
    await till.deliver(till.fake.event("checkout.session.expired", expired))
    assert (await till.again(payment)).state is State.FAILED
    assert (await till.balance()).granted_mc == 0


async def test_in_whatever_order_events_come_the_payment_is_credited_once(till: Till) -> None:
    kinds = (
        (COMPLETED, "unpaid"),
        ("checkout.session.async_payment_succeeded", "paid"),
        ("checkout.session.expired", "unpaid"),
    )
    for number, order in enumerate(itertools.permutations(kinds), start=1):
        payment = await till.buy()
        session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
        for kind, status in order:
            state = "expired" if kind.endswith("expired") else "complete"
            subject = session | {"payment_status": status, "status": state}
            await till.deliver(till.fake.event(kind, subject))
        assert (await till.again(payment)).state is State.CREDITED, order
        assert (await till.balance()).granted_mc == number * PACK_MC


async def test_two_deliveries_at_once_credit_once(till: Till) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    event = till.fake.event(COMPLETED, session)
    events = [event, event, *(till.fake.event(COMPLETED, session) for _ in range(6))]
    await asyncio.gather(*map(till.deliver, events))
    balance = await till.balance()
    assert (balance.granted_mc, len(balance.grants)) == (PACK_MC, 1)
    assert (await till.again(payment)).state is State.CREDITED


async def test_an_event_that_stripe_did_not_sign_now_is_refused(till: Till) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    body, header = signed(till.fake.event(COMPLETED, session))
    old = signed(body, at_s=int(time.time()) - 301)[1]
    forged = signed(body, secret="whsec_of_somebody_else")[1]
    for found_body, signature in (
        (body, None),
        (body, ""),
        (body, "t=now,v1=ff"),
        (body, "v1=ff"),
        (body, header.replace("v1=", "v0=")),
        (body, forged),
        (body, old),
        (body, "t=1,v1=é"),
        (body + b" ", header),
        (body.replace(b"1000", b"1"), header),
        (b"\xff", header),
    ):
        with pytest.raises(SignatureRefused):
            await till.payments.take_event(found_body, signature)
    assert (await till.balance()).granted_mc == 0
    late = signed(body, at_s=int(time.time()) - 299)[1]
    assert await till.payments.take_event(body, late) == "done"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"1", b'{"id": 1}', b"not json", b"[" * 100_000]
)
async def test_a_signed_body_that_is_not_an_event_is_refused(till: Till, body: bytes) -> None:
    with pytest.raises(EventUnreadable):
        await till.payments.take_event(*signed(body))


async def test_events_that_are_not_about_our_payments_are_ignored(till: Till) -> None:
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    live = till.fake.event(COMPLETED, session, livemode=True)
    unmarked = till.fake.event(COMPLETED, session | {"metadata": {}, "payment_intent": None})
    marks = session["metadata"] | {"creditgate_installation": "elsewhere"}
    elsewhere = till.fake.event(COMPLETED, session | {"metadata": marks, "payment_intent": None})
    for event in (live, unmarked, elsewhere, till.fake.event("invoice.paid", session)):
        assert await till.deliver(event) == "ignored"
    assert till.told == []
    lost = session["metadata"] | {"creditgate_payment": "pm00000000000000000000"}
    assert await till.deliver(till.fake.event(COMPLETED, session | {"metadata": lost})) == "ignored"
    assert till.kinds() == ["payment_unknown"]
    assert (await till.balance()).granted_mc == 0


async def test_money_for_an_account_that_was_closed_meanwhile_is_told_and_tried_again(
    till: Till,
) -> None:
    accounts = till.desk.ledger.accounts
    payment = await till.buy()
    session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
    await accounts.change_plan("acme", plan="trial", reference="down")
    assert await till.deliver(till.fake.event(COMPLETED, session)) == "done"
    payment = await till.again(payment)
    assert (payment.state, till.kinds()) == (State.PAID, ["payment_not_credited"])
    assert "plan_not_eligible" in payment.fault
    await accounts.change_plan("acme", plan="growth", reference="up")
    payment = await till.payments.retry(payment.payment_id)
    assert (payment.state, payment.fault) == (State.CREDITED, "")
    assert (await till.balance()).granted_mc == PACK_MC


async def test_a_payment_whose_event_never_came_is_found_by_asking(till: Till) -> None:
    payment = await till.buy()
    till.fake.pay(till.fake.sessions[payment.session_id or ""])
    assert (await till.payments.retry(payment.payment_id)).state is State.CREDITED
    assert (await till.balance()).granted_mc == PACK_MC


ODD: tuple[Any, ...] = (
    None,
    0,
    -1,
    2**80,
    1.5,
    True,
    "",
    "x",
    "x" * 5_000,
    "\0",
    "é",
    [],
    {},
    [1],
    {"id": "pi_1"},
)


@pytest.mark.long
async def test_whatever_stands_in_an_event_nothing_is_credited_that_was_not_paid(
    till: Till,
) -> None:
    """A version of Stripe's API that writes something else there must do no harm."""
    kinds = (COMPLETED, "checkout.session.async_payment_failed", "checkout.session.expired")
    fields = ("id", "mode", "status", "payment_status", "amount_total", "currency", "metadata")
    credited = 0
    for number, field in enumerate((*fields, "payment_intent", "customer")):
        for odd in ODD:
            payment = await till.buy()
            session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
            kind = kinds[number % 3] if field == "status" else COMPLETED
            with suppress(PaymentsUnavailable):
                await till.deliver(till.fake.event(kind, session | {field: odd}))
            credited += (await till.again(payment)).state is State.CREDITED
    assert (await till.balance()).granted_mc == credited * PACK_MC
    wrong = len(ODD) * 4  # mode, payment_status, amount_total, currency
    assert 0 < credited <= len(ODD) * (len(fields) + 2) - wrong


@pytest.mark.long
@pytest.mark.parametrize("kind", ["charge.refunded", "charge.dispute.created"])
async def test_odd_refunds_and_disputes_take_back_at_most_the_payment(
    till: Till, kind: str
) -> None:
    payment = await till.bought()
    await till.desk.grant(5_000)
    intent_id = payment.intent_id or ""
    for field in ("amount_refunded", "amount", "currency", "payment_intent", "status", "metadata"):
        for odd in ODD:
            subject = till.fake.charge_of(intent_id) | {"status": "x", field: odd}
            with suppress(PaymentsUnavailable):
                await till.deliver(till.fake.event(kind, subject))
    balance = await till.balance()
    assert balance.available_mc >= 5_000
    assert (await till.again(payment)).owed_mc == 0


async def test_payments_are_listed_newest_first_in_pages(till: Till) -> None:
    made = [(await till.buy()).payment_id for _ in range(5)]
    found: list[str] = []
    before = None
    while page := await till.payments.page("acme", limit=2, before=before):
        found += [payment.payment_id for payment in page]
        before = page[-1].created_ms, page[-1].payment_id
    assert sorted(found) == sorted(made)
    assert await till.payments.page("other", limit=10) == []
