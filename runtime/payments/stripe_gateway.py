"""Requests to Stripe, and the check of its events. No other module knows its library.

Everything that is created has the payment's id as its idempotency key, so that asking again after
a lost answer tells what became of the first request. The library itself tries nothing again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import stripe

from runtime.config.payments import StripeSection
from runtime.payments.errors import EventUnreadable, PaymentsUnavailable, SignatureRefused
from runtime.payments.payment import Payment

TOLERANCE_S = 300
"""The oldest that a signature may be. Stripe signs each delivery anew."""

_LONGEST_FAULT = 300
_CONFLICT = 409
_LONGEST_ID = 100
_PAYMENT = "creditgate_payment"
_ACCOUNT = "creditgate_account"
_INSTALLATION = "creditgate_installation"

Found = Mapping[str, Any]
"""An object as Stripe's API has it."""


@dataclass(frozen=True, slots=True)
class Event:
    """A verified event."""

    event_id: str
    kind: str
    is_live: bool
    subject: Found


@dataclass(frozen=True, slots=True)
class Declined:
    """A charge that was not made; ``intent_id`` is what Stripe tried it with."""

    code: str
    intent_id: str | None


class StripeGateway:
    """Stripe, as far as payments need it. Every call may raise ``PaymentsUnavailable``.

    Args:
        installation: a mark of this installation, for objects that several may share.
    """

    def __init__(self, config: StripeSection, installation: str, http: stripe.HTTPClient) -> None:
        self._config = config
        self.installation = installation
        base = config.api_base.rstrip("/")
        self._client = stripe.StripeClient(
            config.secret_key.get_secret_value(),
            base_addresses={"api": base, "files": base, "connect": base, "meter_events": base},
            max_network_retries=0,
            http_client=http,
        )

    @property
    def is_live(self) -> bool:
        """True if real money is moved."""
        return self._config.is_live

    def verify(self, body: bytes, signature: str | None) -> Event:
        """Return an event that Stripe signed, at most ``TOLERANCE_S`` ago.

        Raises:
            SignatureRefused: it is not signed with the endpoint's secret, or too long ago.
            EventUnreadable: it is signed, and not an event.
        """
        secret = self._config.webhook_secret.get_secret_value()
        try:
            stripe.WebhookSignature.verify_header(body, signature, secret, TOLERANCE_S)
        except stripe.SignatureVerificationError as exc:
            raise SignatureRefused(str(exc).split("(HINT")[0].strip()) from None
        except (UnicodeDecodeError, ValueError, TypeError):  # TypeError: not ASCII
            raise SignatureRefused("the body or its signature is not text") from None
        try:
            found = json.loads(body)
            return Event(
                event_id=_text(found["id"]),
                kind=_text(found["type"]),
                is_live=bool(found["livemode"]),
                subject=dict(found["data"]["object"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            raise EventUnreadable("the body is signed, but is not an event") from None

    async def create_session(self, payment: Payment) -> Found:
        """Create the Checkout Session of a payment, or return the one that it has."""
        marks = self._marks(payment)
        intent: dict[str, Any] = {"metadata": marks}
        params: dict[str, Any] = {
            "mode": "payment",
            "client_reference_id": payment.payment_id,
            "success_url": self._config.success_url,
            "cancel_url": self._config.cancel_url,
            "metadata": marks,
            "payment_intent_data": intent,
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": payment.currency,
                        "unit_amount": payment.price_cents,
                        "product_data": {"name": f"{payment.amount_mc // 1_000:,} AI credits"},
                    },
                }
            ],
        }
        if payment.keeps_method:
            intent["setup_future_usage"] = "off_session"
            if payment.customer_id is None:
                params["customer_creation"] = "always"
        if payment.customer_id is not None:
            params["customer"] = payment.customer_id
        return await _asked(
            self._client.v1.checkout.sessions.create_async(
                cast(Any, params), {"idempotency_key": payment.payment_id}
            )
        )

    async def session(self, session_id: str) -> Found:
        """Return a Checkout Session as it is now."""
        return await _asked(self._client.v1.checkout.sessions.retrieve_async(session_id))

    async def charge(self, payment: Payment) -> Found | Declined:
        """Charge the payment's customer, without them; the same payment is charged once."""
        params = {
            "amount": payment.price_cents,
            "currency": payment.currency,
            "customer": payment.customer_id,
            "payment_method": payment.method_id,
            "off_session": True,
            "confirm": True,
            "description": f"{payment.amount_mc // 1_000:,} AI credits (automatic top-up)",
            "metadata": self._marks(payment),
        }
        try:
            return await _tried(
                self._client.v1.payment_intents.create_async(
                    cast(Any, params), {"idempotency_key": payment.payment_id}
                )
            )
        except stripe.CardError as exc:
            found = exc.error.payment_intent if exc.error is not None else None
            intent_id = None if found is None else found.id
            return Declined(str(exc.code or "card_declined"), intent_id)
        except stripe.InvalidRequestError as exc:
            return Declined(str(exc.code or exc.user_message or "invalid_request"), None)

    async def cancel(self, intent_id: str) -> None:
        """Cancel an intent, so that nobody pays it later."""
        try:
            await _tried(self._client.v1.payment_intents.cancel_async(intent_id))
        except stripe.InvalidRequestError:
            return  # it is canceled already, or paid: an event tells which

    async def intent(self, intent_id: str) -> Found:
        """Return a PaymentIntent as it is now."""
        return await _asked(self._client.v1.payment_intents.retrieve_async(intent_id))

    async def intent_of(self, payment: Payment) -> Found | None:
        """Look for the intent of a payment whose answer was lost."""
        params = {
            "customer": payment.customer_id,
            "created": {"gte": payment.created_ms // 1_000 - TOLERANCE_S},
            "limit": 100,
        }
        found = await _asked(self._client.v1.payment_intents.list_async(cast(Any, params)))
        for intent in found["data"]:
            if self.payment_of(intent) == payment.payment_id:
                return cast(Found, intent)
        return None

    def payment_of(self, subject: Found) -> str | None:
        """Return the id of the payment that an object of Stripe's is marked with, if it is ours."""
        marks = subject.get("metadata")
        if not isinstance(marks, dict) or marks.get(_INSTALLATION) != self.installation:
            return None
        payment_id = marks.get(_PAYMENT)
        return payment_id if isinstance(payment_id, str) else None

    def account_of(self, subject: Found) -> str:
        """Return the account that such an object is marked with, for messages."""
        return str((subject.get("metadata") or {}).get(_ACCOUNT, ""))[:_LONGEST_ID]

    def _marks(self, payment: Payment) -> dict[str, str]:
        return {
            _PAYMENT: payment.payment_id,
            _ACCOUNT: payment.account_id,
            _INSTALLATION: self.installation,
        }


@asynccontextmanager
async def open_gateway(config: StripeSection, installation: str) -> AsyncIterator[StripeGateway]:
    """Open the way to Stripe, and close its connections at the end."""
    from runtime.payments.stripe_http import OneHost

    http = OneHost()
    try:
        yield StripeGateway(config, installation, http)
    finally:
        await http.close_async()


async def _asked(work: Awaitable[Any]) -> Found:
    """Return an answer; every refusal is for later, or for the operator."""
    try:
        return await _tried(work)
    except stripe.StripeError as exc:
        raise PaymentsUnavailable(_shown(exc)) from exc


async def _tried(work: Awaitable[Any]) -> Found:
    """Return an answer; raise what Stripe says of this one charge as it is."""
    try:
        return cast(Found, (await work).to_dict())
    except stripe.StripeError as exc:
        ours = isinstance(exc, stripe.CardError | stripe.InvalidRequestError)
        if ours and exc.http_status != _CONFLICT:
            raise
        raise PaymentsUnavailable(_shown(exc)) from exc


def _shown(exc: stripe.StripeError) -> str:
    said = exc.user_message or type(exc).__name__
    return f"Stripe: {' '.join(said.split())[:_LONGEST_FAULT]}"


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID or not value.isprintable():
        raise TypeError("not a short text")
    return value
