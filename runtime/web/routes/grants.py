"""Credits that are given and taken back, by a customer success manager or a program of theirs."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import Field

from pricing.offers import MC_PER_CREDIT
from runtime.credits.checks import MAX_PRIORITY
from runtime.credits.results import Granted
from runtime.web.access import OperatorBilling, actor_of
from runtime.web.answers import Given, TakenBack
from runtime.web.bodies import (
    ACCOUNT_ID,
    AmountMc,
    Body,
    IdText,
    Instant,
    Reference,
    Responses,
    problems,
)
from runtime.web.parameters import naming
from runtime.web.problems import invalid
from runtime.web.service import ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}", tags=["credits"])
_PROBLEMS = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_REPEATED: Responses = {200: {"model": Given, "description": "The reference gave them before."}}


class GrantBody(Body):
    """Credits to give."""

    amount_mc: AmountMc = Field(examples=[25_000_000])
    kind: Literal["introductory", "promotional", "plan", "adjustment"] = Field(
        examples=["promotional"]
    )
    reference: Reference = Field(examples=["spring-2026"])
    priority: int | None = Field(
        None, ge=0, le=MAX_PRIORITY, description="The lowest burns first; by kind if not given."
    )
    expires_at: Instant | None = Field(None, description="Without it they never expire.")
    execution_id: IdText | None = Field(
        None, description="The execution that an adjustment corrects."
    )
    actor: Reference | None = Field(None, description="Who gives them; by default the key.")


class PurchaseBody(Body):
    """Credits that were paid for."""

    amount_mc: AmountMc = Field(
        description="A multiple of the configured pack, 100,000 credits by default.",
        examples=[100_000_000],
    )
    reference: Reference = Field(
        description="The payment's: it credits once, for ever.", examples=["invoice-1041"]
    )
    actor: Reference | None = Field(None, description="Who sold them; by default the key.")


class VoidBody(Body):
    """A grant of which what is left is taken back."""

    grant_id: IdText = Field(examples=["g1"])
    reference: Reference = Field(examples=["void-1041"])
    reason: Reference = Field(examples=["Given to the wrong account."])
    actor: Reference | None = Field(None, description="Who takes them back; by default the key.")


@router.post("/grants", status_code=201, responses=_REPEATED | _PROBLEMS)
async def grant_credits(
    account_id: ACCOUNT_ID,
    body: GrantBody,
    key: OperatorBilling,
    service: ServiceOf,
    response: Response,
) -> Given:
    """Give credits, once per reference. Takes a key of the operator's."""
    if body.execution_id is not None and body.kind != "adjustment":
        raise invalid("execution_id", "only an adjustment names one", body.execution_id)
    with naming("expires_at", "body"):
        granted = await service.ledger.accounts.grant(
            account_id,
            amount_mc=body.amount_mc,
            kind=body.kind,
            reference=body.reference,
            priority=body.priority,
            expires_at=body.expires_at,
            execution_id=body.execution_id,
            actor=body.actor or actor_of(key),
        )
    return _given(granted, response)


@router.post("/purchases", status_code=201, responses=_REPEATED | _PROBLEMS)
async def purchase_credits(
    account_id: ACCOUNT_ID,
    body: PurchaseBody,
    key: OperatorBilling,
    service: ServiceOf,
    response: Response,
) -> Given:
    """Add credits that were paid for, in whole packs, once per payment. They never expire.

    Takes a key of the operator's. Customers buy by themselves with a checkout.
    """
    pack_mc = service.config.pack.amount_mc
    if body.amount_mc % pack_mc:
        raise invalid("amount_mc", f"must be a multiple of the pack, {pack_mc} mc", body.amount_mc)
    granted = await service.ledger.accounts.purchase(
        account_id,
        credits=body.amount_mc // MC_PER_CREDIT,
        payment_reference=body.reference,
        actor=body.actor or actor_of(key),
    )
    return _given(granted, response)


@router.post("/voids", responses=_PROBLEMS)
async def void_grant(
    account_id: ACCOUNT_ID, body: VoidBody, key: OperatorBilling, service: ServiceOf
) -> TakenBack:
    """Take back what is left of one grant. Open reservations of it can still be settled.

    Takes a key of the operator's.
    """
    voided = await service.ledger.accounts.void(
        account_id,
        body.grant_id,
        reference=body.reference,
        reason=body.reason,
        actor=body.actor or actor_of(key),
    )
    return TakenBack(
        grant_id=voided.grant_id,
        amount_mc=voided.amount_mc,
        available_mc=voided.available_mc,
        new=voided.new,
    )


def _given(granted: Granted, response: Response) -> Given:
    response.status_code = 201 if granted.new else 200
    return Given(grant_id=granted.grant_id, available_mc=granted.available_mc, new=granted.new)
