"""Works through the payment provider's events: in any order, and each as often as it comes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from runtime.payments.crediting import Crediting
from runtime.payments.events import Alarm
from runtime.payments.payment import UNPAID, Dispute, Kind, Payment, State, Taken
from runtime.payments.reversing import Reversing
from runtime.payments.stored import Payer, StoredPayments
from runtime.payments.stripe_gateway import Event, Found, StripeGateway
from runtime.payments.topping_up import ToppingUp

_log = logging.getLogger("creditgate.payments")
_LONGEST_ID = 100


class Webhook:
    """Takes verified events. An event is taken once its effect is stored, and not before."""

    def __init__(
        self,
        stored: StoredPayments,
        gateway: StripeGateway,
        crediting: Crediting,
        reversing: Reversing,
        topping_up: ToppingUp,
        alarm: Alarm,
    ) -> None:
        self._stored = stored
        self._gateway = gateway
        self._crediting = crediting
        self._reversing = reversing
        self._topping_up = topping_up
        self._alarm = alarm
        self._handlers: Mapping[str, Callable[[Payment, Found], Awaitable[None]]] = {
            "checkout.session.completed": self.note_session,
            "checkout.session.async_payment_succeeded": self.note_session,
            "checkout.session.async_payment_failed": self._session_failed,
            "checkout.session.expired": self.note_session,
            "payment_intent.succeeded": self._intent,
            "payment_intent.payment_failed": self._intent,
            "payment_intent.canceled": self._intent,
            "charge.refunded": self._refunded,
            "charge.dispute.created": self._disputed,
            "charge.dispute.updated": self._disputed,
            "charge.dispute.closed": self._disputed,
            "charge.dispute.funds_withdrawn": self._disputed,
            "charge.dispute.funds_reinstated": self._disputed,
        }

    async def take(self, event: Event) -> str:
        """Work through an event; return ``done``, ``repeated`` or ``ignored``.

        Raises:
            LedgerUnavailable, StoreUnavailable, PaymentsUnavailable: it has to come again.
        """
        handler = self._handlers.get(event.kind)
        if handler is None:
            return "ignored"
        if event.is_live != self._gateway.is_live:
            _log.warning("event %s is of the other mode (live or test)", event.event_id)
            return "ignored"
        if await self._stored.was_worked_through(event.event_id):
            return "repeated"
        payment = await self._payment_of(event)
        if payment is None:
            return "ignored"
        await handler(payment, event.subject)
        await self._reversing.apply(payment.payment_id)
        await self._stored.note_event(event.event_id, event.kind)
        return "done"

    async def note_session(self, payment: Payment, session: Found) -> None:
        """Go on by the state of the payment's Checkout Session."""
        status = session.get("payment_status")
        if status == "paid":
            taken = Taken(
                session.get("amount_total"),
                session.get("currency"),
                _id(session.get("id")),
                _id(session.get("payment_intent")),
            )
            if session.get("mode") != "payment" or taken.session_id is None:
                taken = Taken(None, None)
            await self._crediting.take(payment, taken)
            await self._keep_method(payment, session)
        elif session.get("status") == "expired":
            await self._stored.move(payment, {State.CREATED, State.OPEN}, State.EXPIRED)
        elif session.get("status") == "complete" and status == "no_payment_required":
            await self._crediting.take(payment, Taken(0, session.get("currency")))
        elif (intent_id := _id(session.get("payment_intent"))) is not None:
            # Completed, with a method that takes days: nothing is credited before it is paid.
            await self._stored.move(
                payment,
                UNPAID - {State.FAILED},
                State.OPEN,
                intent_id=intent_id,
            )

    async def _session_failed(self, payment: Payment, session: Found) -> None:
        if session.get("payment_status") == "paid":
            await self.note_session(payment, session)
        else:
            await self._crediting.fail(payment, "the payment did not succeed")

    async def _intent(self, payment: Payment, intent: Found) -> None:
        if payment.kind is Kind.TOP_UP or intent.get("status") == "succeeded":
            await self._topping_up.note_intent(payment, intent)

    async def _refunded(self, payment: Payment, charge: Found) -> None:
        cents = charge.get("amount_refunded")
        if charge.get("currency") != payment.currency or type(cents) is not int:
            fault = f"a refund of {cents!r} {charge.get('currency')!r} cents"
            await self._alarm.tell(
                payment.account_id, "payment_mismatch", payment_id=payment.payment_id, fault=fault
            )
            return
        await self._reversing.note_refund(payment, min(cents, payment.price_cents))

    async def _disputed(self, payment: Payment, dispute: Found) -> None:
        status, cents = str(dispute.get("status")), dispute.get("amount")
        if status.startswith("warning_"):
            # A question of the bank's: nothing is withheld, but nothing more is taken by itself.
            if status != "warning_closed":
                await self._crediting.stop(payment.account_id, "a payment is questioned", payment)
            return
        how = {"won": Dispute.WON, "prevented": Dispute.WON, "lost": Dispute.LOST}
        if dispute.get("currency") != payment.currency or type(cents) is not int:
            cents = payment.price_cents  # in another currency: of which the whole is disputed
        cents = max(0, min(cents, payment.price_cents))
        await self._reversing.note_dispute(payment, how.get(status, Dispute.OPEN), cents)

    async def _keep_method(self, payment: Payment, session: Found) -> None:
        intent_id = _id(session.get("payment_intent"))
        if not payment.keeps_method or intent_id is None:
            return
        intent = await self._gateway.intent(intent_id)
        customer_id, method_id = _id(intent.get("customer")), _id(intent.get("payment_method"))
        if customer_id and method_id:
            await self._stored.set_payer(payment.account_id, Payer(customer_id, method_id))

    async def _payment_of(self, event: Event) -> Payment | None:
        """Return the payment that an event is about; ``None`` if that is none of ours."""
        subject = event.subject
        payment_id = self._gateway.payment_of(subject)
        intent_id = _id(subject.get("payment_intent"))
        if payment_id is None and intent_id is not None:
            known = await self._stored.by_intent(intent_id)
            if known is not None:
                return known
            payment_id = self._gateway.payment_of(await self._gateway.intent(intent_id))
        if payment_id is None:
            return None
        payment = await self._stored.find(payment_id)
        if payment is None:
            # Its row was written before Stripe heard of it: the database has lost it.
            await self._alarm.tell(
                self._gateway.account_of(subject),
                "payment_unknown",
                payment_id=payment_id[:_LONGEST_ID],
                event=event.kind,
            )
        return payment


def _id(value: object) -> str | None:
    """Return an id of Stripe's; ``None`` for what can't be one."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID:
        return None
    return value if value.isascii() and value.isprintable() else None
