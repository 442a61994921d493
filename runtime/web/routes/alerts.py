"""Contacts of accounts, and the marks at which they are told."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import AfterValidator, BaseModel, Field

from runtime.alerts.destinations import MOST_CONTACTS, ChangedMeanwhile
from runtime.config.alerts import MOST_MARKS, cap_mark, low_mark, mark_text
from runtime.credits.alert_marks import AlertMarks
from runtime.ids import EMAIL_RULE, is_email
from runtime.web.access import Admin, BillingReader, account_of
from runtime.web.bodies import ACCOUNT_ID, Body, problems
from runtime.web.etags import ETAG, IfMatch, etag_header, etag_of
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/accounts/{account_id}", tags=["alerts"])

_READ = problems(401, 403, 404, 422, 429, 503) | {200: {"headers": ETAG}}
_CHANGE = problems(400, 401, 403, 404, 412, 413, 415, 422, 428, 429, 503) | {200: {"headers": ETAG}}
_UNSET = "none"


def _email(value: str) -> str:
    if is_email(value) is None:
        raise ValueError(f"must be {EMAIL_RULE}")
    return value


def _low(value: str) -> str:
    low_mark(value)
    return value


def _cap(value: str) -> str:
    cap_mark(value)
    return value


EmailAddress = Annotated[str, Field(max_length=254), AfterValidator(_email)]


class ContactsBody(Body):
    """An account's contacts. Without any, the operator is told in their place."""

    emails: list[EmailAddress] = Field(
        max_length=MOST_CONTACTS, examples=[["ana@example.com", "billing@example.com"]]
    )


class MarksBody(Body):
    """Alert marks of one account, in place of the configured ones."""

    marks: list[Annotated[str, Field(max_length=40), AfterValidator(_low)]] = Field(
        max_length=MOST_MARKS // 2,
        description="`20%` of the balance just after the last grant, or `5000 credits`.",
        examples=[["20%", "5%", "10000 credits"]],
    )
    cap_marks: list[Annotated[str, Field(max_length=40), AfterValidator(_cap)]] = Field(
        max_length=MOST_MARKS // 2,
        description="Shares of a cap's limit, told once in each window.",
        examples=[["80%", "100%"]],
    )


class Contacts(BaseModel):
    """An account's contacts."""

    emails: list[str] = Field(examples=[["ana@example.com", "billing@example.com"]])


class Marks(BaseModel):
    """The alert marks in force."""

    marks: list[str] = Field(examples=[["20%", "5%", "10000 credits"]])
    cap_marks: list[str] = Field(examples=[["80%", "100%"]])
    own: bool = Field(description="False: they are the configured ones.")


@router.get("/contacts", responses=_READ)
async def get_contacts(
    account_id: ACCOUNT_ID, key: BillingReader, service: ServiceOf, response: Response
) -> Contacts:
    """Return who gets the account's alerts by email."""
    owner = await _opened(service, account_of(key, account_id))
    emails, etag = await service.alerts.destinations.contacts(owner)
    response.headers["ETag"] = etag_header(etag or _UNSET)
    return Contacts(emails=list(emails))


@router.put("/contacts", responses=_CHANGE)
async def put_contacts(
    account_id: ACCOUNT_ID,
    body: ContactsBody,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> Contacts:
    """Replace who gets the account's alerts by email."""
    owner = account_of(key, account_id)
    etag = etag_of(if_match)
    await _opened(service, owner)
    emails = list(dict.fromkeys(body.emails))
    before = "" if etag == _UNSET else etag
    new = await service.alerts.destinations.set_contacts(owner, emails, before)
    response.headers["ETag"] = etag_header(new)
    return Contacts(emails=emails)


@router.get("/alert-marks", responses=_READ)
async def get_alert_marks(
    account_id: ACCOUNT_ID, key: BillingReader, service: ServiceOf, response: Response
) -> Marks:
    """Return the marks at which the account is told: its own, or the configured ones."""
    own = await service.ledger.accounts.alert_marks(account_of(key, account_id))
    return _answer(service, own, response)


@router.put("/alert-marks", responses=_CHANGE)
async def put_alert_marks(
    account_id: ACCOUNT_ID,
    body: MarksBody,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> Marks:
    """Give the account marks of its own. They count from the next charge on.

    A mark that the balance is below already is told after the next top-up.
    """
    own = AlertMarks(
        tuple(dict.fromkeys(map(low_mark, body.marks))),
        tuple(dict.fromkeys(map(cap_mark, body.cap_marks))),
    )
    await _change(service, account_of(key, account_id), own, etag_of(if_match))
    return _answer(service, own, response)


@router.delete(
    "/alert-marks",
    responses=problems(401, 403, 404, 412, 422, 428, 429, 503) | {200: {"headers": ETAG}},
)
async def delete_alert_marks(
    account_id: ACCOUNT_ID,
    key: Admin,
    service: ServiceOf,
    response: Response,
    if_match: IfMatch = None,
) -> Marks:
    """Go back to the configured marks."""
    await _change(service, account_of(key, account_id), None, etag_of(if_match))
    return _answer(service, None, response)


async def _change(service: Service, owner: str, own: AlertMarks | None, etag: str) -> None:
    accounts = service.ledger.accounts
    before = await accounts.alert_marks(owner)
    if _etag(before) != etag or not await accounts.set_alert_marks(owner, own, before=before):
        raise ChangedMeanwhile("the alert marks were changed meanwhile")


def _answer(service: Service, own: AlertMarks | None, response: Response) -> Marks:
    response.headers["ETag"] = etag_header(_etag(own))
    settings = service.config.alerts
    marks = own or AlertMarks(settings.low_marks(), settings.marks_of_caps())
    return Marks(
        marks=[mark_text(mark) for mark in marks.low],
        cap_marks=[mark_text(mark) for mark in marks.caps],
        own=own is not None,
    )


def _etag(own: AlertMarks | None) -> str:
    return _UNSET if own is None else hashlib.sha256(own.text.encode()).hexdigest()[:22]


async def _opened(service: Service, account_id: str) -> str:
    """Return the account, which was opened."""
    await service.ledger.accounts.balance(account_id)
    return account_id
