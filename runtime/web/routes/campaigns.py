"""Campaigns in the queue: how far they are, and what is done with them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from fallback.reasons import ReasonGroup
from runtime.actions.source import UnknownAction
from runtime.actions.spec import ActionSpec
from runtime.campaigns.progress import Progress, progress_of
from runtime.campaigns.rerun import RerunEstimate, estimate_rerun, groups_of, sample_missed
from runtime.ids import ID_PATTERN
from runtime.ledger_opening import default_caps
from runtime.queue.entries import CampaignState
from runtime.queue.errors import CampaignUnknown
from runtime.web.access import Executing, account_of
from runtime.web.bodies import Body, IdText, StrictId, problems
from runtime.web.parameters import Cursor, Limit
from runtime.web.problems import invalid
from runtime.web.routes.estimates import EXAMPLE_CHECK, EstimateAnswer
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"])

_AccountId = Annotated[
    str | None,
    Query(
        pattern=ID_PATTERN,
        description="The account that it is of. A key of an account may leave it out.",
        examples=["acme"],
    ),
]
_CampaignId = Annotated[IdText, Path(description="Its id, percent-encoded.", examples=["spring"])]


_Group = Annotated[ReasonGroup, Field(strict=False)]


class CampaignBody(Body):
    """A change of a campaign."""

    account_id: StrictId | None = Field(
        None, description="Keys of an account need not name it.", examples=["acme"]
    )


class RerunBody(CampaignBody):
    """The people who are to be put back."""

    groups: Annotated[list[_Group], Field(min_length=1, max_length=5)] | None = Field(
        None,
        description="People who fell back for reasons of these groups; without it, everybody "
        "who fell back.",
        examples=[["credits", "model"]],
    )


class Change(StrEnum):
    """The changes of a campaign's state."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"


class CampaignAnswer(BaseModel):
    """A campaign's progress. Figures are of executions, one for each person and visit."""

    account_id: str
    campaign_id: str
    workspace_id: str
    state: CampaignState
    switched_off: list[str] = Field(
        description="What is off and so holds it back, such as `workspace retail`."
    )
    created_at: datetime
    last_at: datetime | None = Field(description="When the last execution ended.")
    added: int = Field(description="Put into the queue.")
    rerun: int = Field(description="Put back into it.")
    waiting: int
    running: int
    left: int = Field(description="Waiting and running.")
    ended: int = Field(description="Done: with the model's values, fallback values, or dead.")
    total: int
    model: int = Field(description="Answered by the model.")
    mixed: int = Field(description="Answered in part.")
    fallback: int = Field(description="Got fallback values.")
    dead: int = Field(description="Dead letters, which can't be run.")
    stopped: int = Field(description="Taken out of the queue when the campaign was stopped.")
    forgotten: int = Field(description="Erased.")
    fallbacks: dict[ReasonGroup, int] = Field(description="Executions that fell back, by group.")
    missed: dict[ReasonGroup, int] = Field(description="People who were not put back since.")
    missed_gone: int = Field(
        description="Of them, those without a retained request, who can't be put back."
    )
    charged_mc: int
    expected_mc: int | None = Field(
        description="The charge at the end, if who is left costs as much as who is done; null if "
        "nothing can be told yet."
    )
    per_second: float | None = Field(description="The pace of the last minute or two.")
    left_ms: int | None = Field(description="The time left at that pace; null if not known.")
    imports: dict[str, int] = Field(description="Rows in the queue, by import.")


class CampaignsAnswer(BaseModel):
    """A page of campaigns, in the order of their start."""

    items: list[CampaignAnswer]
    next_cursor: str | None


class GroupCount(BaseModel):
    """The people of a group of reasons."""

    people: int = Field(description="Those who can be put back.")
    without_request: int = Field(description="Those whose request is not kept any more.")


class RerunEstimateAnswer(BaseModel):
    """The people who can be put back, and the cost if all of them get a new answer."""

    campaign_id: str
    workspace_id: str
    groups: dict[ReasonGroup, GroupCount]
    people: int
    without_request: int = Field(
        description="People without a retained request: enqueue them again."
    )
    unknown_actions: list[str] = Field(description="Actions that are not there any more.")
    estimate: EstimateAnswer | None = Field(description="Null if nobody can be put back.")


class RerunAnswer(BaseModel):
    """The end of a rerun."""

    put_back: int
    not_put_back: int = Field(description="Put back too often, or damaged.")
    without_request: int = Field(
        description="People without a retained request: enqueue them again."
    )
    campaign: CampaignAnswer


_CAMPAIGN: dict[str, Any] = {
    "account_id": "acme",
    "campaign_id": "spring",
    "workspace_id": "retail",
    "state": "running",
    "switched_off": [],
    "created_at": "2026-07-08T09:00:00.000Z",
    "last_at": "2026-07-08T09:20:00.000Z",
    "added": 100_000,
    "rerun": 0,
    "waiting": 39_968,
    "running": 32,
    "left": 40_000,
    "ended": 60_000,
    "total": 100_000,
    "model": 58_800,
    "mixed": 200,
    "fallback": 1_000,
    "dead": 0,
    "stopped": 0,
    "forgotten": 0,
    "fallbacks": {"model": 1_000},
    "missed": {"model": 1_000},
    "missed_gone": 0,
    "charged_mc": 72_000_000,
    "expected_mc": 120_000_000,
    "per_second": 50.0,
    "left_ms": 800_000,
    "imports": {"crm-2026-07-08": 100_000},
}
_ESTIMATE: dict[str, Any] = {
    "campaign_id": "spring",
    "workspace_id": "retail",
    "groups": {"model": {"people": 1_000, "without_request": 0}},
    "people": 1_000,
    "without_request": 0,
    "unknown_actions": [],
    "estimate": EXAMPLE_CHECK,
}


def _example(example: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"example": example}}}


@router.get(
    "",
    operation_id="list_campaigns",
    response_model=CampaignsAnswer,
    responses={
        200: _example({"items": [_CAMPAIGN], "next_cursor": None}),
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def list_campaigns(
    key: Executing,
    service: ServiceOf,
    account_id: _AccountId = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> JSONResponse:
    """Return an account's campaigns in the queue, with how far each is."""
    account = account_of(key, account_id)
    switches = await service.ledger.accounts.switches(account)
    names = await service.queue.campaigns(account)
    first = _begin(names, cursor)
    items = []
    for name in names[first : first + limit]:
        try:
            found = progress_of(await service.queue.status(account, name), switches)
        except CampaignUnknown:  # it was erased meanwhile
            continue
        items.append(_plain(account, found))
    page = names[first : first + limit]
    more = len(names) > first + limit
    following = _cursor(page[-1]) if more else None
    return JSONResponse({"items": items, "next_cursor": following})


@router.get(
    "/{campaign_id:id}",
    operation_id="get_campaign",
    response_model=CampaignAnswer,
    responses={200: _example(_CAMPAIGN), **problems(401, 403, 404, 422, 429, 503)},
)
async def get_campaign(
    campaign_id: _CampaignId, key: Executing, service: ServiceOf, account_id: _AccountId = None
) -> JSONResponse:
    """Return how far a campaign is: done, waiting, fallbacks, credits, time left."""
    account = account_of(key, account_id)
    return JSONResponse(await _progress(service, account, campaign_id))


@router.post(
    "/{campaign_id:id}/rerun",
    operation_id="rerun_campaign",
    response_model=RerunAnswer,
    responses={
        200: _example(
            {"put_back": 1_000, "not_put_back": 0, "without_request": 0, "campaign": _CAMPAIGN}
        ),
        **problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    },
)
async def rerun_campaign(
    campaign_id: _CampaignId, body: RerunBody, key: Executing, service: ServiceOf
) -> JSONResponse:
    """Put people who fell back into the queue again, by group of reasons.

    Each goes back under its own id where its fallback is not kept, else as its next retry, so that
    nobody is charged twice for one answer. Asked again after a lost connection, it goes on.
    """
    account = account_of(key, body.account_id)
    await service.ledger.accounts.balance(account)
    ended = await service.queue.rerun(account, campaign_id, groups_of(body.groups or ()))
    return JSONResponse(
        {
            "put_back": ended.put_back,
            "not_put_back": ended.left,
            "without_request": ended.gone,
            "campaign": await _progress(service, account, campaign_id),
        }
    )


@router.post(
    "/{campaign_id:id}/estimate",
    operation_id="estimate_rerun",
    response_model=RerunEstimateAnswer,
    responses={
        200: _example(_ESTIMATE),
        **problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    },
)
async def estimate_rerun_of(
    campaign_id: _CampaignId, body: RerunBody, key: Executing, service: ServiceOf
) -> JSONResponse:
    """Return who can be put back, and what it costs; nobody is put back.

    It counts the prompts of the 1,000 oldest of them.
    """
    account = account_of(key, body.account_id)
    await service.ledger.accounts.balance(account)
    found = await _estimate(service, account, campaign_id, groups_of(body.groups or ()))
    return JSONResponse(found.to_json())


@router.post(
    "/{campaign_id:id}/{change}",
    operation_id="change_campaign",
    response_model=CampaignAnswer,
    responses={
        200: _example(_CAMPAIGN),
        **problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    },
)
async def change_campaign(
    campaign_id: _CampaignId,
    change: Annotated[Change, Path(examples=["pause"])],
    body: CampaignBody,
    key: Executing,
    service: ServiceOf,
) -> JSONResponse:
    """Pause, resume or stop a campaign. Repeats change nothing.

    What runs ends. `pause` leaves what waits in the queue; `stop` takes it out, and it can be put
    back by a rerun of the group `limits` after a `resume`.
    """
    account = account_of(key, body.account_id)
    await service.ledger.accounts.balance(account)
    queue = service.queue
    match change:
        case Change.PAUSE:
            await queue.pause(account, campaign_id)
        case Change.RESUME:
            await queue.resume(account, campaign_id)
        case Change.STOP:
            await queue.stop(account, campaign_id)
    return JSONResponse(await _progress(service, account, campaign_id))


async def _progress(service: Service, account_id: str, campaign_id: str) -> dict[str, Any]:
    switches = await service.ledger.accounts.switches(account_id)
    status = await service.queue.status(account_id, campaign_id)
    return _plain(account_id, progress_of(status, switches))


async def _estimate(
    service: Service, account_id: str, campaign_id: str, groups: Sequence[ReasonGroup]
) -> RerunEstimate:
    missed = await sample_missed(service.queue, account_id, campaign_id, groups)
    actions: dict[str, ActionSpec] = {}
    for action_id in missed.requests:
        try:
            actions[action_id] = await service.runtime.actions.get(account_id, action_id)
        except UnknownAction:
            continue  # the answer names it
    return await estimate_rerun(
        missed,
        actions,
        account_id,
        service.estimator,
        service.ledger.accounts,
        warn_percent=service.config.launch_check.warn_percent,
        default_caps=default_caps(service.config),
    )


def _plain(account_id: str, found: Progress) -> dict[str, Any]:
    plain = {"account_id": account_id} | found.to_json()
    plain["created_at"] = _instant(plain.pop("created_ms"))
    last_ms = plain.pop("last_ms")
    plain["last_at"] = _instant(last_ms) if last_ms else None
    return {name: plain[name] for name in CampaignAnswer.model_fields}


def _instant(at_ms: int) -> str:
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _cursor(campaign_id: str) -> str:
    return base64.urlsafe_b64encode(campaign_id.encode()).decode().rstrip("=")


def _begin(names: Sequence[str], cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        after = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return names.index(after) + 1
    except (binascii.Error, ValueError):
        raise invalid("query.cursor", "is not one of this list", cursor) from None
