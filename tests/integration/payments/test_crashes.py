"""Processes that end at any step of a payment: others go on, and nothing is paid or given twice.

A step is a transaction (before it, in it, after it), a request to Stripe or a call of the ledger
(before and after it).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.payments import payments as payments_module
from runtime.payments.payment import State
from runtime.payments.stripe_http import OneHost
from tests.harness.payments import PACK_MC, Till, other_process

pytestmark = pytest.mark.long


class Killed(BaseException):
    """The process is gone: nothing of it runs on."""


class Steps:
    """Counts the steps of a process, and ends it at one of them."""

    def __init__(self, till: Till, monkeypatch: pytest.MonkeyPatch, kill_at: int) -> None:
        self._kill_at = kill_at
        self.taken = 0
        self._wrap_store(till, monkeypatch)
        for name in ("grant", "void"):
            accounts = till.desk.ledger.accounts
            monkeypatch.setattr(accounts, name, self._around(getattr(accounts, name)))
        monkeypatch.setattr(OneHost, "request_async", self._around(OneHost.request_async))

    def _step(self) -> None:
        self.taken += 1
        if self.taken == self._kill_at:
            raise Killed
        assert self.taken < self._kill_at or not self._kill_at, "it is gone"

    def _around(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stepped(*args: Any, **named: Any) -> Any:
            self._step()
            answer = await work(*args, **named)
            self._step()
            return answer

        return stepped

    def _wrap_store(self, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
        begin = till.store.begin

        @asynccontextmanager
        async def stepped() -> AsyncIterator[AsyncConnection]:
            self._step()
            async with begin() as connection:
                yield connection
                self._step()
            self._step()

        monkeypatch.setattr(till.store, "begin", stepped)


async def killed_at_each_step(
    till: Till,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[], Awaitable[Any]],
    work: Callable[[Till, Any], Awaitable[Any]],
    check: Callable[[Any], Awaitable[None]],
) -> int:
    """Do the work in a process that ends at step 1, then at step 2, and so on to the last one.

    After each, another process does the same work again, then what is due.
    """
    for kill_at in range(1, 200):
        prepared = await prepare()
        async with other_process(till) as doomed:
            with monkeypatch.context() as patches:
                steps = Steps(doomed, patches, kill_at)
                try:
                    await work(doomed, prepared)
                except Killed:
                    pass
                else:
                    assert steps.taken < kill_at
                    return kill_at
        await work(till, prepared)
        for _ in range(3):
            await till.payments.round()
        await check(prepared)
    raise AssertionError("it never ends")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due need not wait."""
    monkeypatch.setattr(payments_module, "RETRY_MS", -1_000)


async def test_killed_at_any_step_a_top_up_is_paid_once_and_credited_once(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossings = 0

    async def prepare() -> None:
        nonlocal crossings
        crossings += 1
        left_mc = (await till.balance()).available_mc
        if left_mc:
            await till.desk.spend(left_mc)
        monkeypatch.setattr("runtime.payments.stored_settings.MOST_AN_HOUR", 1_000)
        await till.top_up()

    async def work(process: Till, _: None) -> None:
        await process.payments.topping_up.look("acme")

    async def check(_: None) -> None:
        assert till.fake.charges == crossings
        assert await till.stopped() is None
        balance = await till.balance()
        assert (balance.granted_mc, balance.available_mc) == (crossings * PACK_MC, PACK_MC)

    assert await killed_at_each_step(till, monkeypatch, prepare, work, check) > 15


async def test_killed_at_any_step_an_event_credits_once(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = 0

    async def prepare() -> tuple[Any, Any]:
        nonlocal paid
        paid += 1
        payment = await till.buy(keep_method=True)
        session = till.fake.pay(till.fake.sessions[payment.session_id or ""])
        return payment, till.fake.event("checkout.session.completed", session)

    async def work(process: Till, prepared: tuple[Any, Any]) -> None:
        await process.deliver(prepared[1])

    async def check(prepared: tuple[Any, Any]) -> None:
        assert (await till.again(prepared[0])).state is State.CREDITED
        assert (await till.balance()).granted_mc == paid * PACK_MC

    assert await killed_at_each_step(till, monkeypatch, prepare, work, check) > 10


async def test_killed_at_any_step_a_refund_takes_back_once(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_mc = 0

    async def prepare() -> tuple[Any, Any]:
        payment = await till.bought()
        charge = till.fake.charge_of(payment.intent_id or "", amount_refunded=250)
        await till.top_up()
        return payment, till.fake.event("charge.refunded", charge)

    async def work(process: Till, prepared: tuple[Any, Any]) -> None:
        await process.deliver(prepared[1])

    async def check(prepared: tuple[Any, Any]) -> None:
        nonlocal left_mc
        left_mc += 75_000_000
        payment = await till.again(prepared[0])
        assert (payment.applied_cents, payment.owed_mc) == (250, 0)
        assert (await till.balance()).available_mc == left_mc
        assert await till.stopped() == "a payment was refunded"

    assert await killed_at_each_step(till, monkeypatch, prepare, work, check) > 15


async def test_killed_at_any_step_a_checkout_is_made_once(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    async def prepare() -> str:
        nonlocal made
        made += 1
        return f"order-{made}-of-this"

    async def work(process: Till, reference: str) -> None:
        await process.buy(reference=reference)

    async def check(reference: str) -> None:
        assert len(till.fake.sessions) == made
        assert (await till.buy(reference=reference)).state is State.OPEN

    assert await killed_at_each_step(till, monkeypatch, prepare, work, check) > 5
