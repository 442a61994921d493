"""Payments as a whole: what the service and the command line call, and the work beside them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from pricing.errors import CreditgateError
from pricing.offers import Pack
from runtime.credits.accounts import Accounts
from runtime.payments.checkouts import Checkouts
from runtime.payments.crediting import Crediting
from runtime.payments.errors import PaymentUnknown
from runtime.payments.events import Alarm, OnEvent
from runtime.payments.payment import GIVEN, Kind, Payment, State
from runtime.payments.reversing import Reversing
from runtime.payments.stored import Payer, StoredPayments
from runtime.payments.stored_settings import SettingsStore, StoredSettings
from runtime.payments.stripe_gateway import StripeGateway
from runtime.payments.top_up import TopUpSettings
from runtime.payments.topping_up import ToppingUp
from runtime.payments.webhook import Webhook
from runtime.store.reopening import Store

RETRY_MS = 30_000
ASK_MS = 3_600_000
AT_ONCE = 100
"""The most payments that a round goes on with."""

_log = logging.getLogger("creditgate.payments")


class Payments:
    """Buys credits, once for each payment."""

    def __init__(
        self, store: Store, gateway: StripeGateway, accounts: Accounts, pack: Pack
    ) -> None:
        self._stored = StoredPayments(store)
        self._settings = SettingsStore(self._stored)
        self._gateway = gateway
        self._alarm = Alarm()
        self._pack = pack
        self._crediting = Crediting(self._stored, self._settings, accounts, self._alarm)
        self._reversing = Reversing(self._stored, accounts, self._crediting, self._alarm)
        self.checkouts = Checkouts(self._stored, gateway, accounts, pack)
        self.topping_up = ToppingUp(
            self._stored,
            self._settings,
            gateway,
            accounts,
            self._crediting,
            self._alarm,
            pack,
        )
        self._webhook = Webhook(
            self._stored,
            gateway,
            self._crediting,
            self._reversing,
            self.topping_up,
            self._alarm,
        )

    def on_event(self, on_event: OnEvent) -> None:
        """Hand what a person has to look at to this; it may be told the same twice."""
        self._alarm.connect(on_event)

    async def take_event(self, body: bytes, signature: str | None) -> str:
        """Take an event as it was delivered; return what became of it, as ``Webhook.take``.

        Raises:
            SignatureRefused, EventUnreadable: it is not an event of the provider's.
            LedgerUnavailable, StoreUnavailable, PaymentsUnavailable: it has to come again.
        """
        return await self._webhook.take(self._gateway.verify(body, signature))

    async def find(self, account_id: str, payment_id: str) -> Payment:
        """Return a payment of the account.

        Raises:
            PaymentUnknown: it has no such payment.
        """
        payment = await self._stored.find(payment_id)
        if payment is None or payment.account_id != account_id:
            raise PaymentUnknown(account_id, payment_id)
        return payment

    async def look_up(self, payment_id: str) -> Payment:
        """Return a payment of any account.

        Raises:
            PaymentUnknown: there is none.
        """
        payment = await self._stored.find(payment_id)
        if payment is None:
            raise PaymentUnknown(None, payment_id)
        return payment

    async def page(
        self, account_id: str | None, *, limit: int, before: tuple[int, str] | None = None
    ) -> Sequence[Payment]:
        """Return payments, newest first; of every account, if none is named."""
        return await self._stored.page(account_id, limit=limit, before=before)

    async def retry(self, payment_id: str) -> Payment:
        """Go on with a payment now: ask the provider about it, credit it, take back.

        Raises:
            PaymentUnknown: there is none.
            LedgerUnavailable, StoreUnavailable, PaymentsUnavailable: try later.
        """
        await self._go_on(await self.look_up(payment_id), ask=True)
        return await self.look_up(payment_id)

    async def settings(self, account_id: str) -> tuple[StoredSettings, Payer | None]:
        """Return what an account has set for top-ups, and who pays for them."""
        return await self._settings.read(account_id), await self._stored.payer(account_id)

    async def set_top_up(
        self,
        account_id: str,
        settings: TopUpSettings,
        etag: str,
        payer: Payer | None = None,
    ) -> str | None:
        """Replace settings that have this ETag; return the new one, ``None`` if they have not.

        What had stopped top-ups is over with it.

        Raises:
            ValueError: a value is not allowed.
            AccountUnknown, GrantRefused: the account may not be given credits.
        """
        if settings.enabled:
            settings.check(self._pack)
            await self.checkouts.check_account(account_id)
        if payer is not None:
            await self._stored.set_payer(account_id, payer)
        return await self._settings.write(
            account_id, replace(settings, stopped=None, limited_in=None), etag
        )

    async def round(self) -> None:
        """Go on with every payment that is due, and look at the accounts that are topped up."""
        await _try("payments", self._round())

    async def _round(self) -> None:
        due = await self._stored.due(retry_ms=RETRY_MS, ask_ms=ASK_MS, limit=AT_ONCE)
        for payment in due:
            if await self._stored.claim(payment):
                await _try(f"payment {payment.payment_id}", self._go_on(payment))
        for account_id in await self._settings.active_accounts():
            await _try(f"top-up of {account_id}", self.topping_up.look(account_id))

    async def _go_on(self, payment: Payment, *, ask: bool = False) -> None:
        if payment.state is State.PAID:
            await self._crediting.credit(payment.payment_id)
        elif payment.state is State.CREATED and payment.kind is Kind.TOP_UP:
            await self.topping_up.proceed(payment)
        elif payment.state is State.OPEN or (ask and payment.state not in GIVEN):
            await self._ask(payment)
        await self._reversing.apply(payment.payment_id)

    async def _ask(self, payment: Payment) -> None:
        """Ask the provider how a payment stands, as if an event about it had come."""
        if payment.kind is Kind.CHECKOUT and payment.session_id is not None:
            session = await self._gateway.session(payment.session_id)
            await self._webhook.note_session(payment, session)
        elif payment.intent_id is not None:
            intent = await self._gateway.intent(payment.intent_id)
            await self.topping_up.note_intent(payment, intent)
        elif payment.kind is Kind.TOP_UP:
            found = await self._gateway.intent_of(payment)
            if found is not None:
                await self.topping_up.note_intent(payment, found)


async def _try(name: str, work: Awaitable[object]) -> None:
    try:
        await work
    except CreditgateError as exc:
        _log.warning("%s goes on later: %s", name, exc)
