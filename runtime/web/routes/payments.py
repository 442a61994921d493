"""Payments: checkouts, what became of them, automatic top-ups, and Stripe's events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, Field

from pricing.offers import MAX_MC
from runtime.archive.errors import CursorRefused
from runtime.payments.payment import Payment
from runtime.payments.plain import payment_json, top_up_json
from runtime.payments.stored import Payer
from runtime.payments.top_up import TopUpSettings
from runtime.web.access import BillingReader, BillingWriter, account_of
from runtime.web.bodies import ACCOUNT_ID, AmountMc, Body, Reference, problems
from runtime.web.parameters import Cursor, Limit
from runtime.web.problems import Problem, invalid
from runtime.web.service import Service, ServiceOf

if TYPE_CHECKING:
    from runtime.payments.payments import Payments

router = APIRouter(prefix="/v1", tags=["payments"])

_READ = problems(401, 403, 404, 422, 429, 503)
_WRITE = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_CURSOR = re.compile(r"([0-9]{1,15})\.(pm[0-9a-f]{20})", re.ASCII)
_ETAG = re.compile(r'"([A-Za-z0-9_-]{1,40})"', re.ASCII)

PaymentId = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9_-]{1,40}$",
        description="A payment's id.",
        examples=["pm0123456789abcdef0123"],
    ),
]


class CheckoutBody(Body):
    """Credits to buy on a page of Stripe's."""

    packs: int = Field(
        ge=1, le=1_000_000, description="Packs of 100,000 credits, as configured.", examples=[3]
    )
    reference: Reference = Field(
        description="The caller's name of this purchase: the same one returns the same checkout.",
        examples=["order-1041"],
    )
    keep_method: bool = Field(
        False, description="Keep the payment method, for automatic top-ups later."
    )


class PayerBody(Body):
    """A customer of Stripe's, and the payment method of theirs that is charged."""

    customer_id: str = Field(pattern=r"^cus_[A-Za-z0-9_]{1,90}$", examples=["cus_N1"])
    method_id: str = Field(pattern=r"^(pm|card|src)_[A-Za-z0-9_]{1,90}$", examples=["pm_N1"])


class TopUpBody(Body):
    """The rule by which credits are bought by themselves, and its limit."""

    enabled: bool = Field(examples=[True])
    below_mc: AmountMc = Field(
        description="Buy when what is left (available and reserved) is this or less.",
        examples=[20_000_000],
    )
    target_mc: AmountMc = Field(
        description="Buy as many whole packs as bring the account to this.",
        examples=[150_000_000],
    )
    monthly_limit_cents: int = Field(
        gt=0,
        le=MAX_MC,
        description="The most to pay by itself in a month of the account's time zone.",
        examples=[10_000],
    )
    payer: PayerBody | None = Field(
        None,
        description="Who pays, where no checkout kept a method. Takes a key of the operator's.",
    )


class PaymentAnswer(BaseModel):
    """A payment, and what became of it."""

    payment_id: str = Field(examples=["pm0123456789abcdef0123"])
    account_id: str = Field(examples=["acme"])
    kind: Literal["checkout", "top_up"]
    reference: str = Field(examples=["order-1041"])
    packs: int = Field(examples=[3])
    amount_mc: int = Field(examples=[300_000_000])
    price_cents: int = Field(examples=[3_000])
    currency: str = Field(examples=["usd"])
    state: Literal[
        "created",
        "open",
        "paid",
        "credited",
        "failed",
        "expired",
        "mismatch",
        "refunded",
        "disputed",
    ] = Field(examples=["open"])
    checkout_url: str | None = Field(description="Where it is paid, while it is open.")
    keep_method: bool
    grant_id: str | None = Field(description="The grant of its credits.")
    refunded_cents: int
    disputed_cents: int
    dispute: Literal["open", "won", "lost"] | None
    owed_mc: int = Field(description="Credits that were paid back and had been spent by then.")
    owed_cents: int = Field(description="Their price.")
    fault: str | None = Field(description="What a person has to look at.")
    created_at: str = Field(examples=["2026-07-08T00:00:00.000Z"])
    updated_at: str = Field(examples=["2026-07-08T00:00:00.000Z"])


class PaymentPage(BaseModel):
    """Payments, newest first."""

    items: list[PaymentAnswer]
    next_cursor: str | None


class StoppedAnswer(BaseModel):
    """The reason why top-ups stopped, until they are set again."""

    reason: str = Field(examples=["the payment was declined: card_declined"])
    at: str = Field(examples=["2026-07-08T00:00:00.000Z"])
    payment_id: str | None


class TopUpAnswer(BaseModel):
    """An account's automatic top-ups."""

    account_id: str = Field(examples=["acme"])
    enabled: bool
    below_mc: int = Field(examples=[20_000_000])
    target_mc: int = Field(examples=[150_000_000])
    monthly_limit_cents: int = Field(examples=[10_000])
    has_payer: bool = Field(description="A payment method is kept.")
    stopped: StoppedAnswer | None


class TakenAnswer(BaseModel):
    """The result of an event."""

    result: Literal["done", "repeated", "ignored"]


@router.post("/accounts/{account_id}/checkouts", responses=_WRITE)
async def create_checkout(
    account_id: ACCOUNT_ID, body: CheckoutBody, key: BillingWriter, service: ServiceOf
) -> PaymentAnswer:
    """Buy credits: return a page of Stripe's on which they are paid, once per reference.

    Credits come when Stripe says that they are paid, and not before.
    """
    account_id = account_of(key, account_id)
    payment = await _payments(service).checkouts.create(
        account_id, packs=body.packs, reference=body.reference, keep_method=body.keep_method
    )
    return _answer(payment)


@router.get("/accounts/{account_id}/payments", responses=_READ)
async def list_payments(
    account_id: ACCOUNT_ID,
    key: BillingReader,
    service: ServiceOf,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> PaymentPage:
    """Return an account's payments, newest first."""
    account_id = account_of(key, account_id)
    before = None
    if cursor is not None:
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise CursorRefused(f"{cursor!r} is not a cursor; use the one that a page ended with")
        before = int(found[1]), found[2]
    page = await _payments(service).page(account_id, limit=limit + 1, before=before)
    shown, last = page[:limit], page[limit - 1] if len(page) > limit else None
    return PaymentPage(
        items=[_answer(payment) for payment in shown],
        next_cursor=None if last is None else f"{last.created_ms}.{last.payment_id}",
    )


@router.get("/accounts/{account_id}/payments/{payment_id}", responses=_READ)
async def get_payment(
    account_id: ACCOUNT_ID, payment_id: PaymentId, key: BillingReader, service: ServiceOf
) -> PaymentAnswer:
    """Return one payment of an account."""
    account_id = account_of(key, account_id)
    return _answer(await _payments(service).find(account_id, payment_id))


@router.get("/accounts/{account_id}/top-up", responses=_READ)
async def get_top_up(
    account_id: ACCOUNT_ID, key: BillingReader, service: ServiceOf, response: Response
) -> TopUpAnswer:
    """Return an account's automatic top-ups; the ETag is for changing them."""
    account_id = account_of(key, account_id)
    found, payer = await _payments(service).settings(account_id)
    response.headers["ETag"] = f'"{found.etag}"'
    return TopUpAnswer(**top_up_json(account_id, found.settings, payer is not None))


@router.put("/accounts/{account_id}/top-up", responses=_WRITE | problems(412, 428))
async def set_top_up(
    account_id: ACCOUNT_ID,
    body: TopUpBody,
    key: BillingWriter,
    service: ServiceOf,
    response: Response,
    if_match: Annotated[str | None, Header(description="The ETag that was read.")] = None,
) -> TopUpAnswer:
    """Set an account's automatic top-ups. What had stopped them is over with it."""
    account_id = account_of(key, account_id)
    payments = _payments(service)
    if body.payer is not None and key.account_id is not None:
        detail = "Only a key of the operator's names who pays. Keep a method by a checkout."
        raise Problem(403, "forbidden", "The key does not allow this", detail)
    if if_match is None:
        detail = "Send If-Match with the ETag that a GET of this path returns."
        raise Problem(428, "if_match_missing", "If-Match is missing", detail)
    wanted = TopUpSettings(body.enabled, body.below_mc, body.target_mc, body.monthly_limit_cents)
    try:
        wanted.check(service.config.build_pack())
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise invalid(field, message) from None
    found = _ETAG.fullmatch(if_match)
    named = body.payer
    payer = None if named is None else Payer(named.customer_id, named.method_id)
    etag = found and await payments.set_top_up(account_id, wanted, found[1], payer)
    if etag is None:
        detail = "The settings were changed since they were read: read them again."
        raise Problem(412, "changed_meanwhile", "It was changed meanwhile", detail)
    response.headers["ETag"] = f'"{etag}"'
    stored, payer = await payments.settings(account_id)
    return TopUpAnswer(**top_up_json(account_id, stored.settings, payer is not None))


_EVENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "description": "An event of Stripe's."},
                "example": {"id": "evt_1", "type": "checkout.session.completed"},
            }
        },
    }
}


@router.post(
    "/webhooks/stripe", openapi_extra=_EVENT, responses=problems(400, 404, 408, 413, 415, 422, 503)
)
async def take_stripe_event(
    request: Request,
    service: ServiceOf,
    stripe_signature: Annotated[str | None, Header(description="Stripe's, of the body.")] = None,
) -> TakenAnswer:
    """Take an event of Stripe's, signed with the endpoint's secret. It takes no key.

    200 says that its effect is stored; after anything else Stripe delivers it again.
    """
    result = await _payments(service).take_event(await request.body(), stripe_signature)
    return TakenAnswer.model_validate({"result": result})


def _payments(service: Service) -> Payments:
    if service.payments is None:
        raise Problem(
            404,
            "payments_not_configured",
            "Payments are not configured",
            "The operator's config has no section stripe: credits are bought from a person.",
        )
    return service.payments


def _answer(payment: Payment) -> PaymentAnswer:
    return PaymentAnswer(**payment_json(payment))
