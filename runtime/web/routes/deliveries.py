"""Deliveries of alerts: what was sent, what waits, and what was given up."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from runtime.alerts.deliveries import Delivery, DeliveryUnknown
from runtime.alerts.events import instant_text
from runtime.web.access import Admin, BillingReader, OperatorAdmin, account_of
from runtime.web.bodies import ACCOUNT_ID, problems
from runtime.web.parameters import Cursor, Limit
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}/deliveries", tags=["alerts"])
operator_router = APIRouter(prefix="/v1/deliveries", tags=["alerts"])

_READ = problems(401, 403, 404, 422, 429, 503)
_POST = problems(401, 403, 404, 409, 422, 429, 503)
State = Literal["waiting", "delivered", "dead"]
DeliveryId = Annotated[
    str,
    Path(pattern="^msg_[0-9a-f]{32}$", examples=["msg_0f4c8a1b2d3e5f60718293a4b5c6d7e8"]),
]


class DeliveryState(BaseModel):
    """One message on its way to one destination."""

    delivery_id: str = Field(examples=["msg_0f4c8a1b2d3e5f60718293a4b5c6d7e8"])
    account_id: str | None
    destination_id: str
    kind: Literal["email", "webhook", "none"] = Field(
        description="`none`: nobody was there to be told."
    )
    target: str
    event: str = Field(examples=["credits.low"])
    subject: str
    message: str
    state: State
    attempts: int
    created_at: str
    next_at: str | None = Field(description="When it is tried next, while it waits.")
    ended_at: str | None
    fault: str = Field(description="Why the last attempt failed, or nothing.")


class DeliveryPage(BaseModel):
    """A page of deliveries, the newest first."""

    items: list[DeliveryState]
    next_cursor: str | None


@router.get("", responses=_READ)
async def list_deliveries(
    account_id: ACCOUNT_ID,
    key: BillingReader,
    service: ServiceOf,
    state: State | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> DeliveryPage:
    """Return the account's deliveries of the last 90 days, page by page."""
    found, following = await service.alerts.deliveries.listed(
        account_of(key, account_id), state=state, cursor=cursor, limit=limit
    )
    return DeliveryPage(items=[_shown(each) for each in found], next_cursor=following)


@router.post("/{delivery_id:id}:resend", status_code=202, responses=_POST)
async def resend_delivery(
    account_id: ACCOUNT_ID, delivery_id: DeliveryId, key: Admin, service: ServiceOf
) -> DeliveryState:
    """Send a delivery of the account again that has ended."""
    return await _resend(service, account_of(key, account_id), delivery_id)


@operator_router.get("", responses=_READ)
async def list_all_deliveries(
    key: OperatorAdmin,
    service: ServiceOf,
    state: State | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> DeliveryPage:
    """Return the deliveries of all accounts and the operator's. Takes a key of the operator's."""
    found, following = await service.alerts.deliveries.listed(
        None, state=state, cursor=cursor, limit=limit, everybody=True
    )
    return DeliveryPage(items=[_shown(each) for each in found], next_cursor=following)


@operator_router.post("/{delivery_id:id}:resend", status_code=202, responses=_POST)
async def resend_any_delivery(
    delivery_id: DeliveryId, key: OperatorAdmin, service: ServiceOf
) -> DeliveryState:
    """Send any delivery again that has ended."""
    return await _resend(service, None, delivery_id, anybody=True)


async def _resend(
    service: Service, owner: str | None, delivery_id: str, *, anybody: bool = False
) -> DeliveryState:
    deliveries = service.alerts.deliveries
    found = await deliveries.find(delivery_id)
    if found.account_id != owner and not anybody:
        raise DeliveryUnknown(delivery_id)  # as if it were not there
    await deliveries.resend(found)
    return _shown(await deliveries.find(delivery_id))


def _shown(found: Delivery) -> DeliveryState:
    data: dict[str, Any] = json.loads(found.body)["data"]
    waits = found.state == "waiting"
    values = {
        "next_at": instant_text(found.next_ms) if waits else None,
        "ended_at": None if found.ended_ms is None else instant_text(found.ended_ms),
        "created_at": instant_text(found.created_ms),
        "subject": data["subject"],
        "message": data["message"],
    }
    names = ("delivery_id", "account_id", "destination_id", "kind", "target", "event", "state")
    same = {name: getattr(found, name) for name in (*names, "attempts", "fault")}
    return DeliveryState(**values, **same)
