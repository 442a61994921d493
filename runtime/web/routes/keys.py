"""Keys of the API: those of an account, and the operator's own."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from runtime.api_keys.keys import ApiKey, Scope, now_ms
from runtime.formats.api_keys import key_json
from runtime.formats.times import instant_ms
from runtime.web.access import Admin, OperatorAdmin, account_of, actor_of
from runtime.web.bodies import ACCOUNT_ID, Body, Instant, Reference, problems
from runtime.web.parameters import Cursor, Limit
from runtime.web.problems import invalid
from runtime.web.service import Service, ServiceOf

_LONGEST_GRACE_S = 7 * 24 * 3_600
_CURSOR = re.compile(r"[A-Za-z0-9]{1,22}")
_WITH_BODY = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_WITHOUT = problems(401, 403, 404, 422, 429, 503)

router = APIRouter(prefix="/v1/accounts/{account_id}/keys", tags=["keys"])
operator_router = APIRouter(prefix="/v1/keys", tags=["keys"])

KeyId = Annotated[
    str,
    Path(
        pattern="^[A-Za-z0-9]{1,22}$",
        description="The part of a key that follows `cgk_`.",
        examples=["0f4c8a1b2d3e5f60"],
    ),
]


class KeyBody(Body):
    """A key to make."""

    name: Reference = Field(description="Its use, for lists.", examples=["campaign back end"])
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        min_length=1,
        max_length=len(Scope),
        description="Everything that it may do; `admin` includes the others.",
        examples=[["execute", "preview"]],
    )
    expires_at: Instant | None = Field(
        None, description="Without it the key counts until it is revoked."
    )


class NameBody(Body):
    """A key's new name."""

    name: Reference = Field(examples=["campaign back end, new"])


class RotationBody(Body):
    """The rotation of a key."""

    grace_s: int = Field(
        0,
        ge=0,
        le=_LONGEST_GRACE_S,
        description="How long the secret so far counts as well, in seconds.",
        examples=[3_600],
    )


class KeyState(BaseModel):
    """A key, without its secret."""

    key_id: str = Field(examples=["0f4c8a1b2d3e5f60"])
    account_id: str | None = Field(description="`null`: a key of the operator's.")
    name: str = Field(examples=["campaign back end"])
    scopes: list[Scope]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None = Field(description="Its last use, true to about a minute.")
    previous_until_at: datetime | None = Field(
        description="Up to when the secret before the last rotation counts as well."
    )


class NewKey(KeyState):
    """A key with its secret, which is shown this once."""

    secret: str = Field(description="The whole key, to be sent as `Authorization: Bearer`.")


class KeyPage(BaseModel):
    """A page of keys, in the order of their ids; those that were revoked are among them."""

    items: list[KeyState]
    next_cursor: str | None


@router.get("", responses=_WITHOUT, response_model=KeyPage)
async def list_keys(
    account_id: ACCOUNT_ID,
    key: Admin,
    service: ServiceOf,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Return the account's keys, page by page. Secrets are never shown again."""
    return await _page(service, account_of(key, account_id), limit, cursor)


@router.post("", status_code=201, responses=_WITH_BODY, response_model=NewKey)
async def make_key(
    account_id: ACCOUNT_ID, body: KeyBody, key: Admin, service: ServiceOf, response: Response
) -> dict[str, Any]:
    """Make a key of the account. Its secret is shown in this answer alone."""
    owner = account_of(key, account_id)
    await service.ledger.accounts.balance(owner)  # a key is of an account that was opened
    return await _make(service, owner, body, key, response)


@router.patch("/{key_id:id}", responses=_WITH_BODY, response_model=KeyState)
async def rename_key(
    account_id: ACCOUNT_ID, key_id: KeyId, body: NameBody, key: Admin, service: ServiceOf
) -> dict[str, Any]:
    """Give a key of the account another name."""
    return key_json(await service.keys.rename(account_of(key, account_id), key_id, body.name))


@router.post("/{key_id:id}:rotate", responses=_WITH_BODY, response_model=NewKey)
async def rotate_key(
    account_id: ACCOUNT_ID,
    key_id: KeyId,
    body: RotationBody,
    key: Admin,
    service: ServiceOf,
    response: Response,
) -> dict[str, Any]:
    """Give a key of the account a new secret, shown in this answer alone."""
    return await _rotate(service, account_of(key, account_id), key_id, body, response)


@router.delete("/{key_id:id}", responses=_WITHOUT, response_model=KeyState)
async def revoke_key(
    account_id: ACCOUNT_ID, key_id: KeyId, key: Admin, service: ServiceOf
) -> dict[str, Any]:
    """Revoke a key of the account, for good.

    No process takes a request of it later than one second after this answer. Repeats change
    nothing.
    """
    return key_json(await service.keys.revoke(account_of(key, account_id), key_id))


@operator_router.get("", responses=_WITHOUT, response_model=KeyPage)
async def list_operator_keys(
    key: OperatorAdmin, service: ServiceOf, limit: Limit = 100, cursor: Cursor = None
) -> dict[str, Any]:
    """Return the operator's own keys, page by page. Takes a key of the operator's."""
    return await _page(service, None, limit, cursor)


@operator_router.post("", status_code=201, responses=_WITH_BODY, response_model=NewKey)
async def make_operator_key(
    body: KeyBody, key: OperatorAdmin, service: ServiceOf, response: Response
) -> dict[str, Any]:
    """Make a key of the operator's own. Takes one; the first is made on the command line."""
    return await _make(service, None, body, key, response)


@operator_router.patch("/{key_id:id}", responses=_WITH_BODY, response_model=KeyState)
async def rename_operator_key(
    key_id: KeyId, body: NameBody, key: OperatorAdmin, service: ServiceOf
) -> dict[str, Any]:
    """Give a key of the operator's another name."""
    return key_json(await service.keys.rename(None, key_id, body.name))


@operator_router.post("/{key_id:id}:rotate", responses=_WITH_BODY, response_model=NewKey)
async def rotate_operator_key(
    key_id: KeyId, body: RotationBody, key: OperatorAdmin, service: ServiceOf, response: Response
) -> dict[str, Any]:
    """Give a key of the operator's a new secret, shown in this answer alone."""
    return await _rotate(service, None, key_id, body, response)


@operator_router.delete("/{key_id:id}", responses=_WITHOUT, response_model=KeyState)
async def revoke_operator_key(
    key_id: KeyId, key: OperatorAdmin, service: ServiceOf
) -> dict[str, Any]:
    """Revoke a key of the operator's, for good, within one second in every process."""
    return key_json(await service.keys.revoke(None, key_id))


async def _page(
    service: Service, owner: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    if cursor is not None and _CURSOR.fullmatch(cursor) is None:
        raise invalid("query.cursor", "must be the `next_cursor` of a page", cursor)
    records = await service.keys.page(owner, after=cursor, limit=limit + 1)
    shown = records[:limit]
    return {
        "items": [key_json(record) for record in shown],
        "next_cursor": shown[-1].key.key_id if len(records) > limit else None,
    }


async def _make(
    service: Service, owner: str | None, body: KeyBody, key: ApiKey, response: Response
) -> dict[str, Any]:
    expires_ms = None if body.expires_at is None else instant_ms(body.expires_at)
    if expires_ms is not None and expires_ms <= now_ms():
        raise invalid("expires_at", "must be in the future", f"{body.expires_at:%Y-%m-%d}")
    record, text = await service.keys.make(
        account_id=owner,
        name=body.name,
        scopes=body.scopes,
        created_by=actor_of(key),
        expires_ms=expires_ms,
        maker=key,
    )
    return _with_secret(key_json(record), text, response)


async def _rotate(
    service: Service, owner: str | None, key_id: str, body: RotationBody, response: Response
) -> dict[str, Any]:
    record, text = await service.keys.rotate(owner, key_id, grace_ms=body.grace_s * 1000)
    return _with_secret(key_json(record), text, response)


def _with_secret(found: dict[str, Any], text: str, response: Response) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    return {**found, "secret": text}
