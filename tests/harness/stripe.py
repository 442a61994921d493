"""A small fake of exactly the endpoints of Stripe's that payments use, and events as it signs them.

It keeps Stripe's rules that matter for money: idempotency keys replay the first answer, a key with
other parameters is an error, an intent is charged once, a canceled one never.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import stripe
from aiohttp import web

WEBHOOK_SECRET = "whsec_of_a_test"
SECRET_KEY = "sk_test_of_a_test"


@dataclass
class FakeStripe:
    """What it has, and how it answers next."""

    url: str = ""
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    keys: dict[str, tuple[str, int, Any]] = field(default_factory=dict)
    decline: str | None = None
    """The code by which charges are declined, such as ``card_declined``."""
    status: str = "succeeded"
    """The status that a charge ends with."""
    lose_answers: int = 0
    """How many answers of POST requests are lost after they were carried out."""
    away: bool = False
    delay_s: float = 0.0
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def charged_cents(self) -> int:
        """What was really taken of customers, in all."""
        return sum(intent["amount_received"] for intent in self.intents.values())

    @property
    def charges(self) -> int:
        """How many intents took money."""
        return sum(1 for intent in self.intents.values() if intent["amount_received"])

    def pay(self, session: Mapping[str, Any], payment_status: str = "paid") -> dict[str, Any]:
        """Let somebody complete a session; return it as it is then."""
        found = self.sessions[session["id"]]
        intent = self._intent(
            found["amount_total"],
            found["currency"],
            found["customer"] or f"cus_{next(self.numbers)}",
            f"pm_{next(self.numbers)}",
            found["intent_metadata"],
        )
        paid = payment_status == "paid"
        intent["status"] = "succeeded" if paid else "processing"
        intent["amount_received"] = found["amount_total"] if paid else 0
        found.update(
            status="complete",
            payment_status=payment_status,
            payment_intent=intent["id"],
            customer=intent["customer"],
        )
        return dict(found)

    def event(self, kind: str, subject: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """An event of this kind about an object."""
        return {
            "id": f"evt_{next(self.numbers)}",
            "object": "event",
            "type": kind,
            "livemode": False,
            "created": int(time.time()),
            "data": {"object": dict(subject)},
            **changes,
        }

    def charge_of(self, intent_id: str, **changes: Any) -> dict[str, Any]:
        """The charge of an intent, as events about it have it."""
        intent = self.intents[intent_id]
        return {
            "id": f"ch_{intent_id}",
            "object": "charge",
            "amount": intent["amount"],
            "amount_refunded": 0,
            "currency": intent["currency"],
            "payment_intent": intent_id,
            "metadata": dict(intent["metadata"]),
            **changes,
        }

    def dispute_of(self, intent_id: str, status: str, **changes: Any) -> dict[str, Any]:
        """A dispute of an intent's charge: it carries no metadata."""
        intent = self.intents[intent_id]
        return {
            "id": f"dp_{intent_id}",
            "object": "dispute",
            "amount": intent["amount"],
            "currency": intent["currency"],
            "charge": f"ch_{intent_id}",
            "payment_intent": intent_id,
            "metadata": {},
            "status": status,
            **changes,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, or lose the answer."""
        self.requests.append((request.method, request.path))
        assert request.headers["Authorization"] == f"Bearer {SECRET_KEY}"
        if self.away:
            return web.json_response({"error": {"message": "Away."}}, status=503)
        answer = await self._route(request)
        await asyncio.sleep(self.delay_s)
        if request.method == "POST" and self.lose_answers:
            self.lose_answers -= 1
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _route(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.split("/")[2:]
        match request.method, parts:
            case "POST", ["checkout", "sessions"]:
                return await self._post(request, self.create_session)
            case "GET", ["checkout", "sessions", session_id]:
                return web.json_response(self.sessions[str(session_id)])
            case "POST", ["payment_intents"]:
                return await self._post(request, self.create_intent)
            case "GET", ["payment_intents"]:
                customer = request.query["customer"]
                found = [each for each in self.intents.values() if each["customer"] == customer]
                return web.json_response(
                    {"object": "list", "data": found, "has_more": False, "url": request.path}
                )
            case "GET", ["payment_intents", intent_id]:
                return web.json_response(self.intents[str(intent_id)])
            case "POST", ["payment_intents", intent_id, "cancel"]:
                return await self._post(request, lambda _: self.cancel_intent(str(intent_id)))
        raise web.HTTPNotFound

    async def _post(
        self, request: web.Request, work: Callable[[Mapping[str, str]], Any]
    ) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        key = request.headers.get("Idempotency-Key")
        seen = repr((request.path, sorted(form.items())))
        if key is not None and key in self.keys:
            first, status, answer = self.keys[key]
            if first != seen:
                error = {"type": "idempotency_error", "message": "Other parameters."}
                return web.json_response({"error": error}, status=400)
        else:
            status, answer = await work(form)
            answer = json.loads(json.dumps(answer))
            if key is not None:
                self.keys[key] = (seen, status, answer)
        return web.json_response(answer, status=status)

    # The endpoints

    async def create_session(self, form: Mapping[str, str]) -> tuple[int, Any]:
        session_id = f"cs_test_{next(self.numbers)}"
        intent_metadata = _nested(form, "payment_intent_data[metadata]")
        session = {
            "id": session_id,
            "object": "checkout.session",
            "mode": form["mode"],
            "status": "open",
            "payment_status": "unpaid",
            "amount_total": int(form["line_items[0][price_data][unit_amount]"])
            * int(form["line_items[0][quantity]"]),
            "currency": form["line_items[0][price_data][currency]"],
            "client_reference_id": form["client_reference_id"],
            "metadata": _nested(form, "metadata"),
            "intent_metadata": intent_metadata,
            "customer": form.get("customer"),
            "payment_intent": None,
            "setup_future_usage": form.get("payment_intent_data[setup_future_usage]"),
            "livemode": False,
            "url": f"https://checkout.example/{session_id}",
        }
        self.sessions[session_id] = session
        return 200, session

    async def create_intent(self, form: Mapping[str, str]) -> tuple[int, Any]:
        assert form["off_session"] == form["confirm"] == "true"
        intent = self._intent(
            int(form["amount"]),
            form["currency"],
            form["customer"],
            form["payment_method"],
            _nested(form, "metadata"),
        )
        if self.decline is not None:
            intent["status"] = "requires_payment_method"
            error = {
                "type": "card_error",
                "code": self.decline,
                "message": "It was declined.",
                "payment_intent": intent,
            }
            return 402, {"error": error}
        intent["status"] = self.status
        if self.status == "succeeded":
            intent["amount_received"] = intent["amount"]
        return 200, intent

    async def cancel_intent(self, intent_id: str) -> tuple[int, Any]:
        intent = self.intents[intent_id]
        if intent["status"] in ("succeeded", "canceled"):
            error = {
                "type": "invalid_request_error",
                "code": "payment_intent_unexpected_state",
                "message": f"It is {intent['status']}.",
            }
            return 400, {"error": error}
        intent["status"] = "canceled"
        return 200, intent

    def _intent(
        self, amount: int, currency: str, customer: str, method: str, marks: dict[str, str]
    ) -> dict[str, Any]:
        intent_id = f"pi_{next(self.numbers)}"
        intent: dict[str, Any] = {
            "id": intent_id,
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "currency": currency,
            "customer": customer,
            "payment_method": method,
            "metadata": marks,
            "status": "requires_payment_method",
            "created": int(time.time()),
            "livemode": False,
        }
        self.intents[intent_id] = intent
        return intent


def signed(
    event: Mapping[str, Any] | bytes,
    *,
    secret: str = WEBHOOK_SECRET,
    at_s: int | None = None,
) -> tuple[bytes, str]:
    """An event's body and its signature, by the library's own scheme."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at_s)
    return body, str(header)


@asynccontextmanager
async def open_stripe() -> AsyncIterator[FakeStripe]:
    """Serve on a free port of loopback."""
    fake = FakeStripe()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        fake.url = f"http://{host}:{port}"
        yield fake
    finally:
        await runner.cleanup()


def _nested(form: Mapping[str, str], name: str) -> dict[str, str]:
    start = f"{name}["
    return {
        key.removeprefix(start).removesuffix("]"): value
        for key, value in form.items()
        if key.startswith(start)
    }
