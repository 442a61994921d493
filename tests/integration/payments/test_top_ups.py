"""Automatic top-ups: one payment for each crossing, payment first, and what stops them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from runtime.payments.errors import PaymentsUnavailable
from runtime.payments.payment import Kind, Payment, State
from runtime.store.schema import payments
from tests.harness.payments import PACK_MC, SETTINGS, Till, other_process

HOUR_MS = 3_600_000


async def top_ups(till: Till) -> list[Payment]:
    """All top-ups, the first one first."""
    found = await till.payments.page("acme", limit=100)
    return [payment for payment in reversed(found) if payment.kind is Kind.TOP_UP]


async def look(till: Till) -> str:
    return await till.payments.topping_up.look("acme")


async def pass_time(till: Till, by_ms: int) -> None:
    """Let all payments be older."""
    columns = payments.c
    async with till.store.begin() as connection:
        await connection.execute(
            update(payments).values(
                created_ms=columns.created_ms - by_ms,
                sent_ms=columns.sent_ms - by_ms,
                checked_ms=columns.checked_ms - by_ms,
            )
        )


async def test_a_top_up_is_paid_and_credited_once_when_credits_fall_to_the_threshold(
    till: Till,
) -> None:
    await till.desk.grant(50_000_000)
    await till.top_up()
    assert await look(till) == "enough"
    await till.desk.spend(29_999_999)
    assert await look(till) == "enough"
    await till.desk.spend(1)  # exactly at the threshold
    assert await look(till) == "begun"
    assert await look(till) == "enough"

    [payment] = await top_ups(till)
    assert (payment.state, payment.packs, payment.reference) == (State.CREDITED, 1, "top-up:1")
    assert (till.fake.charges, till.fake.charged_cents) == (1, 1_000)
    assert (await till.balance()).available_mc == 20_000_000 + PACK_MC
    assert till.told == []


async def test_what_is_reserved_counts_as_left(till: Till) -> None:
    await till.desk.grant(50_000_000)
    await till.top_up()
    attempt, reserved = await till.desk.reserve(45_000_000)
    assert await look(till) == "enough"
    await till.desk.settle(attempt, reserved, 45_000_000)
    assert await look(till) == "begun"


async def test_as_many_packs_are_bought_as_reach_the_target(till: Till) -> None:
    await till.top_up(settings=replace(SETTINGS, target_mc=2 * PACK_MC + 1))
    assert await look(till) == "begun"
    assert (await till.balance()).available_mc == 3 * PACK_MC
    assert till.fake.charged_cents == 3_000


async def test_nothing_is_credited_before_it_is_paid(till: Till) -> None:
    till.fake.status = "processing"
    await till.top_up()
    assert await look(till) == "begun"
    assert await look(till) == "under way"
    [payment] = await top_ups(till)
    assert (payment.state, (await till.balance()).granted_mc) == (State.OPEN, 0)
    intent = till.fake.intents[payment.intent_id or ""]
    intent.update(status="succeeded", amount_received=intent["amount"])
    assert await till.deliver(till.fake.event("payment_intent.succeeded", intent)) == "done"
    assert (await till.balance()).granted_mc == PACK_MC
    assert till.fake.charges == 1


@pytest.mark.parametrize("code", ["card_declined", "authentication_required", "expired_card"])
async def test_a_declined_payment_stops_top_ups_until_a_person_acts(till: Till, code: str) -> None:
    till.fake.decline = code
    await till.top_up()
    assert await look(till) == "begun"
    [payment] = await top_ups(till)
    assert (payment.state, payment.fault) == (State.FAILED, f"the payment was declined: {code}")
    assert [intent["status"] for intent in till.fake.intents.values()] == ["canceled"]
    assert await till.stopped() == payment.fault
    assert till.kinds() == ["top_up_stopped"]
    till.fake.decline = None
    assert await look(till) == "off"
    assert till.fake.charges == 0
    await till.top_up()
    assert await look(till) == "begun"
    assert till.fake.charges == 1


async def test_before_the_third_payment_within_an_hour_top_ups_stop(till: Till) -> None:
    await till.top_up()
    for _ in range(2):
        assert await look(till) == "begun"
        await till.desk.spend(PACK_MC)
    assert await look(till) == "runaway"
    assert await till.stopped() == "two top-ups within an hour"
    assert await look(till) == "off"
    assert (till.fake.charges, len(await top_ups(till))) == (2, 2)
    await pass_time(till, HOUR_MS)
    assert await look(till) == "off", "a person has to act"
    await till.top_up()
    assert await look(till) == "begun"


async def test_no_more_is_paid_in_a_month_than_its_limit(till: Till) -> None:
    await till.top_up(settings=replace(SETTINGS, target_mc=3 * PACK_MC, monthly_limit_cents=4_999))
    assert await look(till) == "begun"
    await till.desk.spend(3 * PACK_MC)
    assert await look(till) == "begun"
    assert till.fake.charged_cents == 4_000, "the rest of the limit, in whole packs"
    await till.desk.spend(PACK_MC)
    assert await look(till) == "limited"
    assert await look(till) == "limited"
    assert till.kinds() == ["top_up_limit_reached"], "told once a month"
    await pass_time(till, 31 * 24 * HOUR_MS)
    assert await look(till) == "begun"


async def test_without_a_payment_method_top_ups_stop(till: Till) -> None:
    await till.top_up(payer=False)
    assert await look(till) == "no payer"
    assert await till.stopped() == "no payment method is kept"
    assert await top_ups(till) == []


async def test_a_checkout_keeps_the_method_that_top_ups_are_charged_to(till: Till) -> None:
    bought = await till.bought(keep_method=True)
    session = till.fake.sessions[bought.session_id or ""]
    assert session["setup_future_usage"] == "off_session"
    await till.desk.spend(PACK_MC)
    await till.top_up(payer=False)
    assert await look(till) == "begun"
    used = {(intent["customer"], intent["payment_method"]) for intent in till.fake.intents.values()}
    assert len(used) == 1
    again = await till.bought()
    assert till.fake.sessions[again.session_id or ""]["customer"] == session["customer"]


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_lost_answer_is_asked_for_again_and_charges_nothing_more(
    till: Till, lost: int
) -> None:
    till.fake.lose_answers = lost
    await till.top_up()
    for _ in range(lost):
        [*unpaid] = await top_ups(till)
        with pytest.raises(PaymentsUnavailable):
            await (till.payments.topping_up.proceed(unpaid[0]) if unpaid else look(till))
    assert (await till.balance()).granted_mc == 0
    assert await look(till) == "under way"
    [payment] = await top_ups(till)
    assert (await till.payments.retry(payment.payment_id)).state is State.CREDITED
    assert (till.fake.charges, (await till.balance()).granted_mc) == (1, PACK_MC)


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_payment_of_yesterday_is_looked_up_and_not_made_again(
    till: Till, arrived: bool
) -> None:
    till.fake.lose_answers, till.fake.away = int(arrived), not arrived
    await till.top_up()
    with pytest.raises(PaymentsUnavailable):
        await look(till)
    till.fake.away = False
    till.fake.keys.clear()  # Stripe forgets them after a day
    await pass_time(till, 24 * HOUR_MS)
    await till.payments.round()
    [payment] = await top_ups(till)
    assert payment.state is (State.CREDITED if arrived else State.FAILED)
    assert till.fake.charges == int(arrived)
    assert (await till.stopped() is None) == arrived


async def test_switched_off_a_top_up_that_was_not_sent_yet_is_not_made(till: Till) -> None:
    till.fake.away = True
    await till.top_up()
    with pytest.raises(PaymentsUnavailable):
        await look(till)
    async with till.store.begin() as connection:  # as if it had crashed before it asked Stripe
        await connection.execute(update(payments).values(sent_ms=None))
    await till.top_up(settings=replace(SETTINGS, enabled=False))
    till.fake.away = False
    await pass_time(till, HOUR_MS)
    await till.payments.round()
    [payment] = await top_ups(till)
    assert (payment.state, till.fake.charges) == (State.FAILED, 0)


async def test_processes_that_see_the_same_crossing_make_one_payment(till: Till) -> None:
    await till.top_up()
    till.fake.delay_s = 0.02
    async with other_process(till) as second, other_process(till) as third:
        for number in range(1, 3):
            crews = [each for each in (till, second, third) for _ in range(4)]
            results = await asyncio.gather(*map(look, crews), return_exceptions=True)
            assert not [each for each in results if isinstance(each, BaseException)], results
            assert results.count("begun") == 1
            assert till.fake.charges == number
            assert (await till.balance()).available_mc == PACK_MC
            await till.desk.spend(PACK_MC)
    assert len(await top_ups(till)) == 2


async def test_a_look_that_was_overtaken_buys_nothing_by_its_old_balance(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    await till.top_up()
    async with other_process(till) as slow:
        accounts, may_go = slow.desk.ledger.accounts, asyncio.Event()
        balance = accounts.balance

        async def late(account_id: str) -> Any:
            found = await balance(account_id)
            await may_go.wait()
            return found

        monkeypatch.setattr(accounts, "balance", late)
        slowly = asyncio.create_task(look(slow))
        await asyncio.sleep(0.1)
        assert await look(till) == "begun"
        may_go.set()
        assert await slowly == "begun elsewhere"
    assert till.fake.charges == 1
