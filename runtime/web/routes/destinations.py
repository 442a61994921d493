"""Destinations of alerts: of an account, and the operator's own."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from runtime.alerts.destinations import Destination, DestinationUnknown, events_text
from runtime.alerts.events import Event, instant_text
from runtime.config.alerts import LONGEST_URL, check_webhook_url
from runtime.ids import EMAIL_RULE, is_email
from runtime.web.access import Admin, BillingReader, OperatorAdmin, account_of
from runtime.web.bodies import ACCOUNT_ID, Body, problems
from runtime.web.etags import ETAG, IfMatch, etag_header, etag_of
from runtime.web.parameters import naming
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}/destinations", tags=["alerts"])
operator_router = APIRouter(prefix="/v1/destinations", tags=["alerts"])

_READ = problems(401, 403, 404, 422, 429, 503)
_MAKE = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_CHANGE = problems(400, 401, 403, 404, 412, 413, 415, 422, 428, 429, 503) | {200: {"headers": ETAG}}
_POST = problems(401, 403, 404, 412, 422, 429, 503)

DestinationId = Annotated[str, Path(pattern="^d[0-9a-f]{20}$", examples=["d0f4c8a1b2d3e5f607182"])]


class DestinationChange(Body):
    """A destination's address and events, which can change."""

    target: str = Field(
        min_length=1,
        max_length=LONGEST_URL,
        description="An email address, or the `https://` address of a webhook.",
        examples=["https://hooks.example.com/credits"],
    )
    events: list[Annotated[Event, Field(strict=False)]] = Field(
        default_factory=list,
        max_length=len(Event),
        description="Those that it is told of; none for all.",
        examples=[["credits.low", "credits.exhausted"]],
    )
    enabled: bool = True


class DestinationBody(DestinationChange):
    """A destination to make."""

    kind: Literal["email", "webhook"] = Field(examples=["webhook"])


class DestinationState(BaseModel):
    """A destination, without the secret that signs what it gets."""

    destination_id: str = Field(examples=["d0f4c8a1b2d3e5f607182"])
    account_id: str | None = Field(description="`null`: a destination of the operator's.")
    kind: Literal["email", "webhook"]
    target: str
    events: list[str] = Field(description="Those that it is told of; none for all.")
    enabled: bool = Field(description="False after the receiver answered 410, too.")
    created_at: str
    rotated_at: str | None


class NewDestination(DestinationState):
    """A destination with the secret of a webhook, which is shown this once."""

    secret: str | None = Field(
        description="`whsec_...`, by the Standard Webhooks convention; `null` for email."
    )


class Told(BaseModel):
    """A delivery that is on its way."""

    delivery_id: str = Field(examples=["msg_0f4c8a1b2d3e5f60718293a4b5c6d7e8"])


@router.get("", responses=_READ)
async def list_destinations(
    account_id: ACCOUNT_ID, key: BillingReader, service: ServiceOf
) -> list[DestinationState]:
    """Return the account's destinations, beside its contacts."""
    return await _list(service, account_of(key, account_id))


@router.post("", status_code=201, responses=_MAKE)
async def make_destination(
    account_id: ACCOUNT_ID,
    body: DestinationBody,
    key: Admin,
    service: ServiceOf,
    response: Response,
) -> NewDestination:
    """Make a destination of the account. A webhook's secret is shown in this answer alone."""
    owner = account_of(key, account_id)
    await service.ledger.accounts.balance(owner)  # it is of an account that was opened
    return await _make(service, owner, body, response)


@router.get("/{destination_id:id}", responses=_READ | {200: {"headers": ETAG}})
async def get_destination(
    account_id: ACCOUNT_ID,
    destination_id: DestinationId,
    key: BillingReader,
    service: ServiceOf,
    response: Response,
) -> DestinationState:
    """Return a destination of the account."""
    found = await _find(service, account_of(key, account_id), destination_id)
    return _shown(found, response)


@router.put("/{destination_id:id}", responses=_CHANGE)
async def put_destination(
    account_id: ACCOUNT_ID,
    destination_id: DestinationId,
    body: DestinationChange,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> DestinationState:
    """Change where a destination of the account is, and what it is told of."""
    etag = etag_of(if_match)
    found = await _find(service, account_of(key, account_id), destination_id)
    return await _change(service, found, body, etag, response)


@router.delete("/{destination_id:id}", status_code=204, responses=_READ)
async def delete_destination(
    account_id: ACCOUNT_ID, destination_id: DestinationId, key: Admin, service: ServiceOf
) -> None:
    """Remove a destination of the account. What waits for it is not sent."""
    found = await _find(service, account_of(key, account_id), destination_id)
    await service.alerts.destinations.remove(found.destination_id)


@router.post("/{destination_id:id}:rotate", responses=_POST)
async def rotate_destination(
    account_id: ACCOUNT_ID,
    destination_id: DestinationId,
    key: Admin,
    service: ServiceOf,
    response: Response,
) -> NewDestination:
    """Give a webhook a new secret. For 24 hours, what it gets is signed by both."""
    found = await _find(service, account_of(key, account_id), destination_id)
    return await _rotate(service, found, response)


@router.post("/{destination_id:id}:test", status_code=202, responses=_POST)
async def test_destination(
    account_id: ACCOUNT_ID, destination_id: DestinationId, key: Admin, service: ServiceOf
) -> Told:
    """Send a test to a destination of the account."""
    found = await _find(service, account_of(key, account_id), destination_id)
    return Told(delivery_id=await service.alerts.test(found))


@operator_router.get("", responses=_READ)
async def list_operator_destinations(
    key: OperatorAdmin, service: ServiceOf
) -> list[DestinationState]:
    """Return the operator's destinations, beside those of the config.

    They get what concerns the installation, and the alerts of accounts that have neither contacts
    nor destinations. Takes a key of the operator's.
    """
    return await _list(service, None)


@operator_router.post("", status_code=201, responses=_MAKE)
async def make_operator_destination(
    body: DestinationBody, key: OperatorAdmin, service: ServiceOf, response: Response
) -> NewDestination:
    """Make a destination of the operator's. A webhook's secret is shown in this answer alone."""
    return await _make(service, None, body, response)


@operator_router.get("/{destination_id:id}", responses=_READ | {200: {"headers": ETAG}})
async def get_operator_destination(
    destination_id: DestinationId, key: OperatorAdmin, service: ServiceOf, response: Response
) -> DestinationState:
    """Return a destination of the operator's."""
    return _shown(await _find(service, None, destination_id), response)


@operator_router.put("/{destination_id:id}", responses=_CHANGE)
async def put_operator_destination(
    destination_id: DestinationId,
    body: DestinationChange,
    key: OperatorAdmin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> DestinationState:
    """Change where a destination of the operator's is, and what it is told of."""
    etag = etag_of(if_match)
    return await _change(service, await _find(service, None, destination_id), body, etag, response)


@operator_router.delete("/{destination_id:id}", status_code=204, responses=_READ)
async def delete_operator_destination(
    destination_id: DestinationId, key: OperatorAdmin, service: ServiceOf
) -> None:
    """Remove a destination of the operator's. What waits for it is not sent."""
    found = await _find(service, None, destination_id)
    await service.alerts.destinations.remove(found.destination_id)


@operator_router.post("/{destination_id:id}:rotate", responses=_POST)
async def rotate_operator_destination(
    destination_id: DestinationId, key: OperatorAdmin, service: ServiceOf, response: Response
) -> NewDestination:
    """Give a webhook of the operator's a new secret. For 24 hours, both sign what it gets."""
    return await _rotate(service, await _find(service, None, destination_id), response)


@operator_router.post("/{destination_id:id}:test", status_code=202, responses=_POST)
async def test_operator_destination(
    destination_id: DestinationId, key: OperatorAdmin, service: ServiceOf
) -> Told:
    """Send a test to a destination of the operator's."""
    found = await _find(service, None, destination_id)
    return Told(delivery_id=await service.alerts.test(found))


async def _find(service: Service, owner: str | None, destination_id: str) -> Destination:
    found = await service.alerts.destinations.find(destination_id)
    if found.account_id != owner:
        raise DestinationUnknown(destination_id)  # as if it were not there
    return found


async def _list(service: Service, owner: str | None) -> list[DestinationState]:
    found = await service.alerts.destinations.listed(owner)
    return [DestinationState(**_fields(each)) for each in found]


async def _make(
    service: Service, owner: str | None, body: DestinationBody, response: Response
) -> NewDestination:
    target = _target(service, body.kind, body.target)
    destinations = service.alerts.destinations
    made = await destinations.add(owner, body.kind, target, body.events, enabled=body.enabled)
    return _with_secret(service, made, response)


async def _change(
    service: Service,
    found: Destination,
    body: DestinationChange,
    etag: str,
    response: Response,
) -> DestinationState:
    changed = await service.alerts.destinations.change(
        found,
        etag,
        target=_target(service, found.kind, body.target),
        events=events_text(body.events),
        disabled_ms=None if body.enabled else found.disabled_ms or time.time_ns() // 1_000_000,
    )
    return _shown(changed, response)


async def _rotate(service: Service, found: Destination, response: Response) -> NewDestination:
    if found.kind == "webhook":
        found = await service.alerts.destinations.rotate(found)
    return _with_secret(service, found, response)


def _target(service: Service, kind: str, target: str) -> str:
    with naming("target", "body"):
        if kind == "webhook":
            return check_webhook_url(target, plain_http=service.config.alerts.webhooks.plain_http)
        if is_email(target) is None:
            raise ValueError(f"must be {EMAIL_RULE}")
        return target


def _shown(found: Destination, response: Response) -> DestinationState:
    response.headers["ETag"] = etag_header(found.etag)
    return DestinationState(**_fields(found))


def _with_secret(service: Service, found: Destination, response: Response) -> NewDestination:
    response.headers["Cache-Control"] = "no-store"
    response.headers["ETag"] = etag_header(found.etag)
    secret = None
    if found.kind == "webhook":
        secret = service.alerts.secrets.secret(found.destination_id, found.generation)
    return NewDestination(**_fields(found), secret=secret)


def _fields(found: Destination) -> dict[str, Any]:
    return {
        "destination_id": found.destination_id,
        "account_id": found.account_id,
        "kind": found.kind,
        "target": found.target,
        "events": list(found.events),
        "enabled": found.disabled_ms is None,
        "created_at": instant_text(found.created_ms),
        "rotated_at": None if found.rotated_ms is None else instant_text(found.rotated_ms),
    }
