"""Errors as RFC 9457's problem details: a stable type, what was found, and the way out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from pricing.errors import CreditgateError
from pricing.offers import PurchaseRefused
from runtime.actions.requests import InvalidRequest
from runtime.actions.source import ActionSourceUnavailable, UnknownAction
from runtime.alerts.deliveries import DeliveryRefused, DeliveryUnknown
from runtime.alerts.destinations import (
    ChangedMeanwhile,
    DestinationRefused,
    DestinationUnknown,
)
from runtime.api_keys.errors import (
    ApiKeyRevoked,
    ApiKeyUnknown,
    ChangeNotTold,
    ScopesRefused,
    TooManyApiKeys,
)
from runtime.archive.errors import ArchiveError, CursorRefused, NotArchived
from runtime.credits.results import (
    AccountConflict,
    AccountUnknown,
    CapUnknown,
    ExecutionConflict,
    GrantRefused,
    GrantUnknown,
    LedgerUnavailable,
    ReferenceConflict,
    TooManyGrants,
)
from runtime.library.errors import (
    ActionArchived,
    ActionChanged,
    ActionExists,
    TooManyActions,
)
from runtime.payments.errors import (
    EventUnreadable,
    PaymentsUnavailable,
    PaymentUnknown,
    SignatureRefused,
)
from runtime.queue.errors import (
    CampaignConflict,
    CampaignStopped,
    CampaignUnknown,
    QueueFull,
    QueueUnavailable,
)
from runtime.store.database import StoreUnavailable

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 5
_MOST_ERRORS = 100
_LONGEST_SHOWN = 80
_NO_OBJECT = frozenset(("model_type", "model_attributes_type", "dict_type"))


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="Its path, such as `limits.attempts` or `query.cursor`.")
    message: str = Field(description="The rule that it breaks.")
    found: str | None = Field(None, description="What was found, cut off where it is long.")
    line: int | None = Field(None, description="The line within a template, from 1.")


class ProblemDetails(BaseModel):
    """The body of every error (RFC 9457)."""

    type: str = Field(description="`urn:creditgate:problem:` and a name that does not change.")
    title: str = Field(description="The same words for every problem of the type.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong this time, and what to do.")
    errors: list[FieldError] | None = Field(None, description="Every field that is wrong.")


class Problem(Exception):
    """An error that ends a request.

    Args:
        kind: the last part of the type, such as ``account_not_found``.
        more: further members of the body.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.headers = status, dict(headers or {})
        self.body: dict[str, Any] = {
            "type": f"urn:creditgate:problem:{kind}",
            "title": title,
            "status": status,
            "detail": detail,
            **more,
        }
        if errors:
            self.body["errors"] = [error.model_dump(exclude_none=True) for error in errors]

    def response(self) -> JSONResponse:
        """Return the answer."""
        return JSONResponse(self.body, self.status, self.headers, media_type=MEDIA_TYPE)


def invalid(field: str, message: str, found: object = None) -> Problem:
    """Return the problem of one field that is wrong."""
    error = FieldError(field=field, message=message, found=None if found is None else shown(found))
    return _invalid([error])


def account_not_found(account_id: str) -> Problem:
    """Return the problem of an account that is not there, or not the caller's: both look alike."""
    return Problem(
        404,
        "account_not_found",
        "No such account",
        f"There is no account {shown(account_id)} that this key may see.",
    )


def shown(value: object) -> str:
    """Return what was found, for a message: cut off where it is long."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


_Row = tuple[int, str, str]
_OF_ERRORS: Mapping[type[CreditgateError], _Row] = {
    DestinationUnknown: (404, "destination_not_found", "No such destination"),
    DestinationRefused: (409, "too_many_destinations", "There are too many destinations"),
    DeliveryUnknown: (404, "delivery_not_found", "No such delivery"),
    DeliveryRefused: (409, "delivery_not_ended", "The delivery can't be sent again"),
    ChangedMeanwhile: (412, "changed_meanwhile", "It was changed meanwhile"),
    ActionSourceUnavailable: (503, "action_unavailable", "Nobody can tell what is published"),
    ActionChanged: (412, "action_changed", "The action was changed meanwhile"),
    ActionExists: (409, "action_exists", "The id is taken"),
    ActionArchived: (409, "action_archived", "The action is archived"),
    TooManyActions: (409, "too_many_actions", "The account has too many actions"),
    UnknownAction: (404, "action_not_found", "No such action"),
    ExecutionConflict: (409, "execution_conflict", "The execution_id was used for something else"),
    InvalidRequest: (422, "invalid_request", "The request is not valid"),
    AccountUnknown: (404, "account_not_found", "No such account"),
    AccountConflict: (409, "account_conflict", "The account exists with other attributes"),
    ReferenceConflict: (409, "reference_conflict", "The reference was used for something else"),
    GrantRefused: (409, "grant_refused", "The account may not be given credits"),
    TooManyGrants: (409, "too_many_grants", "The account has too many grants"),
    GrantUnknown: (404, "grant_not_found", "No such grant"),
    CapUnknown: (404, "cap_not_found", "No such cap"),
    PurchaseRefused: (422, "purchase_refused", "Credits are bought in whole packs"),
    NotArchived: (404, "not_archived", "The archive has no such account or entry"),
    CursorRefused: (422, "cursor_refused", "The cursor is of another query"),
    ApiKeyUnknown: (404, "key_not_found", "No such key"),
    ApiKeyRevoked: (409, "key_revoked", "The key was revoked"),
    ScopesRefused: (403, "scopes_refused", "The key may not make such a key"),
    TooManyApiKeys: (409, "too_many_keys", "There are too many keys"),
    ChangeNotTold: (503, "change_not_told", "The key is revoked, but not everywhere yet"),
    PaymentUnknown: (404, "payment_not_found", "No such payment"),
    SignatureRefused: (400, "signature_refused", "The event is not signed by Stripe"),
    EventUnreadable: (400, "event_unreadable", "The event can't be read"),
    PaymentsUnavailable: (503, "payments_unavailable", "The payment provider can't be used"),
    LedgerUnavailable: (503, "ledger_unavailable", "The ledger can't be reached"),
    CampaignUnknown: (404, "campaign_not_found", "No such campaign"),
    CampaignConflict: (
        409,
        "campaign_conflict",
        "The campaign or import exists with other content",
    ),
    CampaignStopped: (409, "campaign_stopped", "The campaign is stopped"),
    QueueFull: (503, "queue_full", "The campaign's queue is full"),
    QueueUnavailable: (503, "queue_unavailable", "The queue can't be reached"),
    StoreUnavailable: (503, "store_unavailable", "The database can't be reached"),
    ArchiveError: (503, "archive_unavailable", "The archive can't answer"),
}


def of_error(error: CreditgateError) -> Problem | None:
    """Return the problem that an expected error becomes; ``None`` for one that is a fault here."""
    for kind in type(error).__mro__:
        if kind in _OF_ERRORS:
            status, name, title = _OF_ERRORS[kind]
            headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
            return Problem(status, name, title, str(error), headers=headers)
    return None


def add_handlers(app: FastAPI) -> None:
    """Let every error of the app be answered as a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(CreditgateError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - by its registration
    return error.response()


async def _on_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CreditgateError)  # noqa: S101 - by its registration
    problem = of_error(error)
    if problem is None:
        raise error
    return problem.response()


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - by its registration
    found = error.errors()[:_MOST_ERRORS]
    if any(each["type"] == "json_invalid" for each in found):
        text = f"The body is not valid JSON: {found[0]['ctx']['error']}, at {found[0]['loc'][-1]}."
        return Problem(400, "not_json", "The body is not JSON", text).response()
    return _invalid([_field_error(each) for each in found]).response()


def invalid_body(error: ValidationError) -> Problem:
    """Return the problem of a body that is not of its model."""
    found = error.errors(include_url=False)[:_MOST_ERRORS]
    return _invalid([_field_error({**each, "loc": ("body", *each["loc"])}) for each in found])


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - by its registration
    path = shown(request.url.path)
    if error.status_code == 404:
        detail = f"There is nothing at {path}; /openapi.json lists what there is."
        return Problem(404, "not_found", "No such path", detail).response()
    if error.status_code != 405:
        detail = str(error.detail)
        return Problem(error.status_code, "http", detail, detail, headers=error.headers).response()
    allowed = ", ".join(_methods(request.app, request.url.path))
    detail = f"{request.method} is not a method of {path}, allowed: {allowed}."
    headers = {"Allow": allowed}
    return Problem(405, "method_not_allowed", "No such method", detail, headers=headers).response()


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods of a path; Starlette knows those of the first route that has it."""
    paths = app.openapi()["paths"]
    found: set[str] = set()
    for part in ("[^/:]+", "[^/]+"):  # an id with a colon is not the name of what is done
        found = {
            method.upper()
            for template, operations in paths.items()
            if re.fullmatch(re.sub(r"\\{[a-z_]+\\}", part, re.escape(template)), path)
            for method in operations
        }
        if found:
            break
    return sorted(found)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    names = [str(name) for name in error["loc"]]
    if names[:1] == ["body"]:
        del names[0]
    known = error["type"] not in ("missing", "extra_forbidden")
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in _NO_OBJECT:
        message = "must be an object"  # pydantic names the class, which is of no use to a caller
    return FieldError(
        field=".".join(names) or "body",
        message=message,
        found=shown(error["input"]) if known else None,
    )


def _invalid(errors: Sequence[FieldError]) -> Problem:
    first = errors[0]
    rest = f" ({len(errors) - 1} more below)" if len(errors) > 1 else ""
    found = "" if first.found is None else f", found {first.found}"
    return Problem(
        422,
        "invalid_request",
        "The request is not valid",
        f"{first.field}: {first.message}{found}{rest}.",
        errors=errors,
    )
