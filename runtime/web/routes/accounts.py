"""Accounts: opened, changed, closed; and what they have."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from pricing.offers import check_timezone
from runtime.archive.reports import Reports
from runtime.credits.results import AccountUnknown
from runtime.formats.accounts import balance_json, caps_json, past_balance_json
from runtime.formats.times import check_window, instant_ms, parse_instant
from runtime.web.access import BillingReader, OperatorBilling, account_of, actor_of
from runtime.web.answers import AccountState, Balance, PastBalance
from runtime.web.bodies import ACCOUNT_ID, Body, Day, Reference, StrictId, problems
from runtime.web.parameters import naming
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id:id}", tags=["accounts"])


class AccountBody(Body):
    """An account as it is to be."""

    plan: StrictId = Field(description="One of the configured plans.", examples=["growth"])
    timezone: str = Field(
        "UTC", max_length=64, description="An IANA name.", examples=["Europe/Berlin"]
    )
    paid_since: Day | None = Field(
        None,
        description="The first paid day in that time zone, by which offers are given; by default "
        "the day on which the account is opened, or its plan changed.",
        examples=["2026-05-02"],
    )


class ClosingBody(Body):
    """The closing of an account."""

    reference: Reference = Field(examples=["close-acme"])
    reason: Reference = Field(examples=["The customer has left."])


@router.put("", responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503))
async def put_account(
    account_id: ACCOUNT_ID, body: AccountBody, key: OperatorBilling, service: ServiceOf
) -> AccountState:
    """Open an account, or change its plan and time zone. Repeats change nothing.

    On a plan with AI credits it gets the offers that it is entitled to, each once. Takes a key of
    the operator's.
    """
    with naming("timezone", "body"):
        check_timezone(body.timezone)
    if body.plan not in service.config.plans:
        allowed = ", ".join(sorted(service.config.plans))
        with naming("plan", "body"):
            raise ValueError(f"found {body.plan!r}, allowed are: {allowed}")
    opened = await _bring_to(service, account_id, body, actor_of(key))
    found = await service.ledger.accounts.balance(account_id)
    return AccountState(
        account_id=account_id,
        plan=found.plan,
        timezone=found.timezone,
        state=found.state,
        ai_credits=found.ai_credits,
        available_mc=found.available_mc,
        new=opened,
    )


async def _bring_to(service: Service, account_id: str, body: AccountBody, actor: str) -> bool:
    """Bring an account to what the body says; return whether it was opened now."""
    accounts = service.ledger.accounts
    try:
        before = await accounts.balance(account_id)
    except AccountUnknown:
        before = None
    if before is not None and before.plan != body.plan:
        await accounts.change_plan(
            account_id,
            plan=body.plan,
            reference=f"api:{uuid.uuid4().hex}",
            paying_since=body.paid_since,
            actor=actor,
        )
    if before is not None and before.timezone != body.timezone:
        await accounts.change_timezone(
            account_id, timezone=body.timezone, reference=f"api:{uuid.uuid4().hex}", actor=actor
        )
    # An open one is only given the offers that it lacks.
    return await accounts.open_account(
        account_id,
        plan=body.plan,
        timezone=body.timezone,
        paying_since=body.paid_since,
        actor=actor,
    )


@router.post(":close", responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503))
async def close_account(
    account_id: ACCOUNT_ID, body: ClosingBody, key: OperatorBilling, service: ServiceOf
) -> dict[str, bool]:
    """Close an account for good and void what is left of its credits.

    Open reservations can still be settled. Takes a key of the operator's.
    """
    closed = await service.ledger.accounts.close_account(
        account_id, reference=body.reference, reason=body.reason, actor=actor_of(key)
    )
    return {"new": closed}


@router.get(
    "/balance",
    response_model=Balance | PastBalance,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def get_balance(
    account_id: ACCOUNT_ID,
    key: BillingReader,
    service: ServiceOf,
    at: Annotated[
        str | None,
        Query(
            max_length=40,
            description="A moment of the past, from the archive: a date or an instant.",
        ),
    ] = None,
) -> dict[str, Any]:
    """Return what the account has: the parts of its balance, its grants in burn order, its caps.

    With `at`, what it had then; reserved credits count as left.
    """
    account_of(key, account_id)
    if at is None:
        found = await service.ledger.accounts.balance(account_id)
        caps = await service.ledger.accounts.caps(account_id)
        return {**balance_json(found), "caps": caps_json(caps)}
    reports = Reports(await service.store.database(), service.config)
    zone = check_timezone(await reports.timezone(account_id))
    with naming("at", "query"):
        instant = parse_instant(at, zone, "at")
        check_window(instant, None, datetime.now(UTC), ("at", ""))
    return past_balance_json(await reports.balance_at(account_id, instant_ms(instant)))
