"""Caps: limits on what a workspace, campaign, action or source may charge in a window."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from pricing.offers import MAX_MC
from runtime.credits.caps import Cap, parse_cap
from runtime.formats.accounts import caps_json
from runtime.web.access import Admin, BillingReader, account_of, actor_of
from runtime.web.answers import CapState
from runtime.web.bodies import ACCOUNT_ID, Body, Reference, problems
from runtime.web.parameters import naming
from runtime.web.service import ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}/caps", tags=["caps"])
CapId = Annotated[
    str,
    Path(
        max_length=1_000,
        description="The window and the dimensions that count: `day`, `month` or `total`, then "
        "`;workspace_id=`, `;campaign_id=`, `;action=`, `;source=`, each with its value, in which "
        "all characters but A-Z a-z 0-9 _ . - ~ are percent-encoded.",
        examples=["month;workspace_id=retail"],
    ),
]


class CapBody(Body):
    """A cap's limit."""

    limit_mc: int = Field(ge=0, le=MAX_MC, examples=[5_000_000])
    reference: Reference = Field(
        description="Of this change: with another limit it is a conflict.", examples=["cap-1"]
    )
    used_mc: int = Field(
        0, ge=0, le=MAX_MC, description="What a new cap counts as already charged."
    )


class Changed(Body):
    """The end of a change; ``new`` is false where the reference made it before."""

    new: bool


@router.get("", responses=problems(401, 403, 404, 422, 429, 503), response_model=list[CapState])
async def list_caps(
    account_id: ACCOUNT_ID, key: BillingReader, service: ServiceOf
) -> list[dict[str, object]]:
    """Return the account's caps, and what counts towards them now."""
    return caps_json(await service.ledger.accounts.caps(account_of(key, account_id)))


@router.put("/{cap_id}", responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503))
async def put_cap(
    account_id: ACCOUNT_ID, cap_id: CapId, body: CapBody, key: Admin, service: ServiceOf
) -> Changed:
    """Set a cap, which counts from now on, or change its limit, which keeps the count."""
    account_of(key, account_id)
    changed = await service.ledger.accounts.set_cap(
        account_id,
        _cap(cap_id),
        limit_mc=body.limit_mc,
        reference=body.reference,
        used_mc=body.used_mc,
        actor=actor_of(key),
    )
    return Changed(new=changed)


@router.delete("/{cap_id}", responses=problems(401, 403, 404, 409, 422, 429, 503))
async def delete_cap(
    account_id: ACCOUNT_ID,
    cap_id: CapId,
    key: Admin,
    service: ServiceOf,
    reference: Annotated[Reference, Query(description="Of this change.", examples=["cap-1-off"])],
) -> Changed:
    """Remove a cap and its count."""
    account_of(key, account_id)
    removed = await service.ledger.accounts.remove_cap(
        account_id, _cap(cap_id), reference=reference, actor=actor_of(key)
    )
    return Changed(new=removed)


def _cap(cap_id: str) -> Cap:
    with naming("cap_id", "path"):
        return parse_cap(cap_id)
