"""Payments on a ledger of the test's own, and short words for what tests do with them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL

from pricing.offers import Pack
from runtime.config.payments import StripeSection
from runtime.credits.results import Balance
from runtime.payments.opening import open_payments
from runtime.payments.payment import Dispute, Kind, Payment, State
from runtime.payments.payments import Payments
from runtime.payments.stored import Payer
from runtime.payments.top_up import TopUpSettings
from runtime.store.database import open_database
from runtime.store.reopening import Store
from tests.harness.ledger.desk import ACCOUNT, Desk, connect, make_ledger
from tests.harness.stripe import SECRET_KEY, WEBHOOK_SECRET, FakeStripe, open_stripe, signed

PACK = Pack(100_000, 1_000)
PACK_MC = 100_000_000
SETTINGS = TopUpSettings(
    enabled=True, below_mc=20_000_000, target_mc=90_000_000, monthly_limit_cents=100_000
)
_numbers = itertools.count(1)


def section(url: str) -> StripeSection:
    """The section of a config that leads to a fake."""
    return StripeSection.model_construct(
        secret_key=SecretStr(SECRET_KEY),
        webhook_secret=SecretStr(WEBHOOK_SECRET),
        success_url="https://platform.example/billing?bought",
        cancel_url="https://platform.example/billing",
        api_base=url,
    )


@dataclass
class Till:
    """Payments, what they stand on, and what they told."""

    fake: FakeStripe
    desk: Desk
    payments: Payments
    store: Store
    url: URL
    redis_url: str
    told: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)

    async def deliver(self, event: Mapping[str, Any]) -> str:
        """Deliver an event, signed."""
        return await self.payments.take_event(*signed(event))

    async def buy(self, packs: int = 1, account_id: str = ACCOUNT, **how: Any) -> Payment:
        """Create a checkout under a reference of its own."""
        how.setdefault("reference", f"order-{next(_numbers)}")
        return await self.payments.checkouts.create(account_id, packs=packs, **how)

    async def bought(self, packs: int = 1, **how: Any) -> Payment:
        """Buy, pay, and have it credited."""
        payment = await self.buy(packs, **how)
        session = self.fake.pay(self.fake.sessions[payment.session_id or ""])
        assert await self.deliver(self.fake.event("checkout.session.completed", session)) == "done"
        payment = await self.again(payment)
        assert payment.state is State.CREDITED
        return payment

    async def again(self, payment: Payment) -> Payment:
        """The payment as it is now."""
        return await self.payments.find(payment.account_id, payment.payment_id)

    async def balance(self, account_id: str = ACCOUNT) -> Balance:
        """The balance, which balances."""
        return await self.desk.balance(account_id)

    async def top_up(
        self, account_id: str = ACCOUNT, settings: TopUpSettings = SETTINGS, payer: bool = True
    ) -> None:
        """Switch automatic top-ups on, by whoever has the newest ETag."""
        found, _ = await self.payments.settings(account_id)
        named = Payer("cus_1", "pm_1") if payer else None
        assert await self.payments.set_top_up(account_id, settings, found.etag, named)

    async def stopped(self, account_id: str = ACCOUNT) -> str | None:
        """Why top-ups are stopped."""
        found, _ = await self.payments.settings(account_id)
        stopped = found.settings.stopped
        return None if stopped is None else stopped.reason

    def kinds(self) -> list[str]:
        """The kinds of what was told."""
        return [kind for _, kind, _ in self.told]


@asynccontextmanager
async def open_till(
    url: URL, redis_url: str, key_prefix: str, another: FakeStripe | None = None
) -> AsyncIterator[Till]:
    """Open payments, which do nothing by themselves; with another's fake, as another process."""
    async with AsyncExitStack() as stack:
        fake = another
        if fake is None:
            fake = await stack.enter_async_context(open_stripe())
        client = connect(redis_url)
        stack.push_async_callback(client.aclose)
        ledger = make_ledger(client, key_prefix)
        stack.push_async_callback(ledger.drain)
        await ledger.check_installation()
        await ledger.accounts.open_account(ACCOUNT, plan="growth")
        store = Store(lambda: open_database(url))
        stack.push_async_callback(store.aclose)
        payments = await stack.enter_async_context(
            open_payments(section(fake.url), store, ledger.accounts, PACK, "here", pause_s=None)
        )
        till = Till(fake, Desk(client, key_prefix, ledger), payments, store, url, redis_url)

        async def note(account_id: str, kind: str, details: Mapping[str, object]) -> None:
            till.told.append((account_id, kind, dict(details)))

        payments.on_event(note)
        yield till


def other_process(till: Till) -> AbstractAsyncContextManager[Till]:
    """Open payments on the same ledger, database and fake, as another process has them."""
    return open_till(till.url, till.redis_url, till.desk.prefix, till.fake)


def payment_of(packs: int, **changes: Any) -> Payment:
    """A payment that nobody stored."""
    fields: dict[str, Any] = {
        "payment_id": "pm0123456789abcdef0123",
        "account_id": ACCOUNT,
        "kind": Kind.CHECKOUT,
        "reference": "order-1",
        "packs": packs,
        "amount_mc": packs * PACK_MC,
        "price_cents": packs * PACK.price_cents,
        "currency": "usd",
        "keeps_method": False,
        "customer_id": None,
        "method_id": None,
        "state": State.CREDITED,
        "session_id": None,
        "session_url": None,
        "intent_id": None,
        "grant_id": None,
        "refunded_cents": 0,
        "disputed_cents": 0,
        "dispute": Dispute.NONE,
        "applied_cents": 0,
        "owed_mc": 0,
        "created_ms": 0,
        "updated_ms": 0,
        "sent_ms": None,
        "checked_ms": 0,
        "fault": "",
    }
    return Payment(**(fields | changes))
