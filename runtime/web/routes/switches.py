"""Switches: what is off of an account."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from runtime.credits.results import Switch, Switched
from runtime.web.access import Admin, BillingReader, account_of, actor_of
from runtime.web.bodies import ACCOUNT_ID, Body, IdText, Reference, problems
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}/switches", tags=["switches"])


class Part(StrEnum):
    """The parts of an account that have switches of their own."""

    WORKSPACE = "workspace"
    CAMPAIGN = "campaign"
    ACTION = "action"


class SwitchBody(Body):
    """A switch as it is to be."""

    off: bool = Field(description="True to stop, false to carry on.", examples=[True])
    reason: Reference | None = Field(
        None,
        max_length=180,
        description="Why, for the journal and for who reads the list.",
        examples=["The answers were wrong."],
    )


class SwitchState(BaseModel):
    """Something that is off. What is not known of it is null."""

    kind: str = Field(description="`account`, `workspace`, `campaign` or `action`.")
    id: str | None = Field(description="Of the workspace, campaign or action.")
    since_at: datetime | None
    since_ms: int | None
    actor: str | None = Field(description="Who switched it off.")
    reference: str | None = Field(description="Of the change in the journal, with its reason.")


class SwitchedOff(BaseModel):
    """Everything that is off of an account."""

    account_id: str = Field(examples=["acme"])
    items: list[SwitchState] = Field(
        examples=[
            [
                {
                    "kind": "workspace",
                    "id": "retail",
                    "since_at": "2026-07-08T09:30:00.000Z",
                    "since_ms": 1783503000000,
                    "actor": "key 0123456789abcdef",
                    "reference": "The answers were wrong. [3kq0Vb5nWm2Q]",
                }
            ]
        ]
    )


class SwitchAnswer(BaseModel):
    """A switch as it is now, and what still runs there."""

    account_id: str = Field(examples=["acme"])
    kind: str = Field(examples=["workspace"])
    id: str | None = Field(examples=["retail"])
    off: bool = Field(examples=[True])
    new: bool = Field(description="False where it was so already.")
    open_executions: int = Field(
        description="The reservations that are open under it: model calls under way, which finish.",
        examples=[12],
    )
    open_mc: int = Field(description="What they may cost at most.", examples=[18_240])
    exact: bool = Field(
        description="False where there are too many to look at: the figures are then those of the "
        "whole account, which are no smaller."
    )


_RESPONSES: dict[int | str, dict[str, Any]] = problems(400, 401, 403, 404, 413, 415, 422, 429, 503)


@router.get("", operation_id="list_switches", responses=problems(401, 403, 404, 422, 429, 503))
async def list_switches(
    account_id: ACCOUNT_ID, key: BillingReader, service: ServiceOf
) -> SwitchedOff:
    """Return what is off: since when, by whom, and why, as far as that is known."""
    found = await service.ledger.accounts.switches(account_of(key, account_id))
    return SwitchedOff(account_id=account_id, items=[_state(switch) for switch in found])


@router.put("/account", operation_id="switch_account", responses=_RESPONSES)
async def switch_account(
    account_id: ACCOUNT_ID, body: SwitchBody, key: Admin, service: ServiceOf
) -> SwitchAnswer:
    """Stop an account, or let it carry on. Repeats change nothing.

    After the answer nothing is reserved, and a second later no provider is called for it, retries
    included. Executions get fallback values with the reason `switched_off`, which are not kept: the
    same ids can ask again once it is on. Calls under way finish, and are charged.
    """
    found = await _switch(service, account_of(key, account_id), body, actor_of(key))
    return _answer(account_id, "account", None, body, found)


@router.put("/{kind}/{target_id:path}", operation_id="switch_part", responses=_RESPONSES)
async def switch_part(
    account_id: ACCOUNT_ID,
    kind: Part,
    target_id: Annotated[IdText, Path(description="Its id.", examples=["retail"])],
    body: SwitchBody,
    key: Admin,
    service: ServiceOf,
) -> SwitchAnswer:
    """Stop a workspace, a campaign or an action, or let it carry on, as the account is.

    Each switch stands alone: a workspace that is off stays off when its account is switched on.
    """
    name = "action" if kind is Part.ACTION else f"{kind}_id"
    named = {name: target_id}
    found = await _switch(service, account_of(key, account_id), body, actor_of(key), **named)
    return _answer(account_id, kind, target_id, body, found)


async def _switch(
    service: Service, account_id: str, body: SwitchBody, actor: str, **named: str
) -> Switched:
    return await service.ledger.accounts.switch(
        account_id, off=body.off, reason=body.reason, actor=actor, **named
    )


def _answer(
    account_id: str, kind: str, target_id: str | None, body: SwitchBody, found: Switched
) -> SwitchAnswer:
    return SwitchAnswer(
        account_id=account_id,
        kind=kind,
        id=target_id,
        off=body.off,
        new=found.new,
        open_executions=found.open_executions,
        open_mc=found.open_mc,
        exact=found.exact,
    )


def _state(switch: Switch) -> SwitchState:
    kind, _, target_id = switch.target.partition(" ")
    since_ms = switch.since_ms
    return SwitchState(
        kind=kind,
        id=target_id or None,
        since_at=None if since_ms is None else datetime.fromtimestamp(since_ms / 1000, UTC),
        since_ms=since_ms,
        actor=switch.actor,
        reference=switch.reference,
    )
