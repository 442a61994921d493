"""Makes automatic top-ups: decides, pays, then credits.

The payment is written before anything is paid, under the number that follows the last one. So of
processes that see the same crossing one writes it; and after a crash any process goes on with it.
"""

from __future__ import annotations

from dataclasses import replace

from pricing.offers import MC_PER_CREDIT, Pack
from runtime.credits.accounts import Accounts
from runtime.payments.crediting import Crediting
from runtime.payments.events import Alarm
from runtime.payments.payment import CURRENCY, Kind, Payment, State, Taken
from runtime.payments.stored import StoredPayments, now_ms
from runtime.payments.stored_settings import SettingsStore, StoredSettings
from runtime.payments.stripe_gateway import Declined, Found, StripeGateway
from runtime.payments.top_up import affordable_packs, month_of, wanted_packs

_KEY_LIVES_MS = 23 * 3_600_000
"""Stripe forgets idempotency keys after 24 hours; then the same request would pay again."""


class ToppingUp:
    """Tops up accounts. What one process leaves unfinished, another one finishes."""

    def __init__(
        self,
        stored: StoredPayments,
        settings: SettingsStore,
        gateway: StripeGateway,
        accounts: Accounts,
        crediting: Crediting,
        alarm: Alarm,
        pack: Pack,
    ) -> None:
        self._stored = stored
        self._settings = settings
        self._gateway = gateway
        self._accounts = accounts
        self._crediting = crediting
        self._alarm = alarm
        self._pack = pack

    async def look(self, account_id: str) -> str:
        """Begin and pay a top-up if one is due; return what was done.

        Raises:
            LedgerUnavailable, StoreUnavailable, PaymentsUnavailable: a later look goes on.
        """
        found = await self._settings.read(account_id)
        if not found.settings.is_active:
            return "off"
        # Before the balance: a balance that is older than the last credit would be paid for twice.
        course = await self._settings.course(account_id)
        if course.unfinished:
            return "under way"
        balance = await self._accounts.balance(account_id)
        if balance.state != "open" or not balance.ai_credits:
            return "not eligible"
        wanted = wanted_packs(
            found.settings, balance.available_mc + balance.reserved_mc, self._pack
        )
        if not wanted:
            return "enough"
        month, since_ms = month_of(now_ms(), balance.timezone)
        spent_cents = await self._settings.spent_cents(account_id, since_ms)
        packs = affordable_packs(found.settings, wanted, spent_cents, self._pack)
        if not packs:
            return await self._limited(account_id, found, month)
        payer = await self._stored.payer(account_id)
        if payer is None or payer.method_id is None:
            await self._crediting.stop(account_id, "no payment method is kept")
            return "no payer"
        began = await self._settings.begin(
            found,
            course,
            payer,
            account_id=account_id,
            packs=packs,
            amount_mc=packs * self._pack.credits * MC_PER_CREDIT,
            price_cents=packs * self._pack.price_cents,
            currency=CURRENCY,
        )
        if began == "runaway":
            await self._crediting.stop(account_id, "two top-ups within an hour")
        elif began == "begun":
            await self._continue_begun(account_id, course.begun + 1)
        return began

    async def proceed(self, payment: Payment) -> None:
        """Pay a top-up that has begun, or learn what became of it. Errors as ``look``."""
        if payment.sent_ms is not None and now_ms() - payment.sent_ms > _KEY_LIVES_MS:
            await self._find_out(payment)
        elif await self._settings.may_send(payment):
            charged = await self._gateway.charge(payment)
            if isinstance(charged, Declined):
                await self._declined(payment, charged)
            else:
                await self.note_intent(payment, charged)

    async def note_intent(self, payment: Payment, intent: Found) -> None:
        """Go on by the state of the payment's intent."""
        status, intent_id = intent.get("status"), str(intent["id"])
        if status == "succeeded":
            taken = Taken(intent.get("amount_received"), intent.get("currency"), None, intent_id)
            await self._crediting.take(payment, taken)
        elif status == "processing":
            await self._stored.move(payment, {State.CREATED}, State.OPEN, intent_id=intent_id)
        elif status == "canceled":
            await self._crediting.fail(payment, "the payment was canceled")
        else:
            await self._declined(payment, Declined(str(status), intent_id))

    async def _declined(self, payment: Payment, declined: Declined) -> None:
        if declined.intent_id is not None:
            await self._stored.move(
                payment, {State.CREATED, State.OPEN}, intent_id=declined.intent_id
            )
            await self._gateway.cancel(declined.intent_id)
        await self._crediting.fail(payment, f"the payment was declined: {declined.code}")

    async def _find_out(self, payment: Payment) -> None:
        intent = await self._gateway.intent_of(payment)
        if intent is not None:
            await self.note_intent(payment, intent)
        else:
            await self._crediting.fail(payment, "the payment never arrived at the provider")

    async def _continue_begun(self, account_id: str, number: int) -> None:
        payment = await self._stored.by_reference(account_id, Kind.TOP_UP, f"top-up:{number}")
        if payment is not None and payment.state is State.CREATED:
            await self.proceed(payment)

    async def _limited(self, account_id: str, found: StoredSettings, month: str) -> str:
        if found.settings.limited_in != month:
            await self._alarm.tell(account_id, "top_up_limit_reached", month=month)
            await self._settings.write(
                account_id, replace(found.settings, limited_in=month), found.etag
            )
        return "limited"
