"""From money to credits: what was taken is compared with the payment, then credited, once."""

from __future__ import annotations

from pricing.offers import GrantKind
from runtime.credits.accounts import Accounts
from runtime.credits.results import (
    AccountUnknown,
    GrantRefused,
    LedgerUnavailable,
    ReferenceConflict,
    TooManyGrants,
)
from runtime.payments.events import Alarm
from runtime.payments.payment import UNPAID, Kind, Payment, State, Taken, mismatch
from runtime.payments.stored import StoredPayments, now_ms
from runtime.payments.stored_settings import SettingsStore
from runtime.payments.top_up import TopUpSettings

ACTOR = "payments"


class Crediting:
    """Credits payments. Every step can be taken again, by any process, with the same result."""

    def __init__(
        self,
        stored: StoredPayments,
        settings: SettingsStore,
        accounts: Accounts,
        alarm: Alarm,
    ) -> None:
        self._stored = stored
        self._settings = settings
        self._accounts = accounts
        self._alarm = alarm

    async def take(self, payment: Payment, taken: Taken) -> None:
        """Note that money was taken, and credit it.

        Money that is not the payment's credits nothing: the payment is a mismatch from then on.

        Raises:
            LedgerUnavailable: it is noted as paid, and not yet credited.
            StoreUnavailable: nothing is known to be noted.
        """
        if (fault := mismatch(payment, taken)) is not None:
            await self._mismatched(payment, fault)
            return
        known = {
            name: getattr(taken, name)
            for name in ("session_id", "intent_id")
            if getattr(taken, name) is not None
        }
        await self._stored.move(payment, UNPAID, State.PAID, fault="", **known)
        await self.credit(payment.payment_id)

    async def credit(self, payment_id: str) -> None:
        """Credit a payment that is paid; nothing in any other state. Errors as ``take``."""
        payment = await self._stored.find(payment_id)
        if payment is None or payment.state is not State.PAID:
            return
        if payment.back_cents >= payment.price_cents:
            # All of it was paid back before it could be credited.
            await self._stored.move(
                payment,
                {State.PAID},
                payment.state_of_reversal,
                applied_cents=payment.refunded_cents + payment.disputed_cents,
            )
            return
        try:
            granted = await self._accounts.grant(
                payment.account_id,
                amount_mc=payment.amount_mc,
                kind=GrantKind.PURCHASED,
                reference=payment.ledger_reference,
                actor=ACTOR,
            )
        except LedgerUnavailable as exc:
            await self._waits(payment, f"the ledger can't be reached: {exc}")
            raise
        except (AccountUnknown, GrantRefused, TooManyGrants, ReferenceConflict) as exc:
            await self._waits(payment, str(exc))
            return
        await self._stored.move(
            payment, {State.PAID}, State.CREDITED, grant_id=granted.grant_id, fault=""
        )

    async def fail(self, payment: Payment, fault: str, to: State = State.FAILED) -> None:
        """Note that nothing was taken, nor will be. A failed top-up stops those that follow."""
        await self.stop_top_ups(payment, fault)
        await self._stored.move(payment, {State.CREATED, State.OPEN}, to, fault=fault[:400])

    async def stop_top_ups(self, payment: Payment, reason: str) -> None:
        """Stop the account's top-ups until a person sets them again, if this payment is one."""
        if payment.state in (State.CREATED, State.OPEN) and payment.kind is Kind.TOP_UP:
            await self.stop(payment.account_id, reason, payment)

    async def stop(self, account_id: str, reason: str, payment: Payment | None = None) -> None:
        """Stop an account's top-ups, and tell so; nothing where none are made."""
        payment_id = None if payment is None else payment.payment_id
        found = await self._settings.read(account_id)
        if not found.settings.is_active:
            return
        await self._alarm.tell(
            account_id,
            "top_up_stopped",
            reason=reason,
            payment_id=payment_id,
            settings=found.etag,  # the same stop may be told twice, another one is another
        )

        def stopped(settings: TopUpSettings) -> TopUpSettings:
            return settings.stop(reason, now_ms(), payment_id) if settings.is_active else settings

        await self._settings.change(account_id, stopped)

    async def _mismatched(self, payment: Payment, fault: str) -> None:
        await self._alarm.tell(
            payment.account_id, "payment_mismatch", payment_id=payment.payment_id, fault=fault
        )
        await self.stop_top_ups(payment, "a payment does not match")
        await self._stored.move(payment, UNPAID, State.MISMATCH, fault=fault[:400])

    async def _waits(self, payment: Payment, fault: str) -> None:
        await self._alarm.tell(
            payment.account_id, "payment_not_credited", payment_id=payment.payment_id, fault=fault
        )
        await self._stored.move(payment, {State.PAID}, fault=fault[:400])
