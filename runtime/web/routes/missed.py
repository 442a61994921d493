"""Executions that missed their answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from fallback.policy import Status
from fallback.reasons import FallbackReason, ReasonGroup
from runtime.executions.missed import MOST_IDS, Standing, State, standings
from runtime.web.access import Executing, account_of
from runtime.web.bodies import Body, IdText, StrictId, problems
from runtime.web.service import ServiceOf
from runtime.wording import missed as wording
from runtime.wording.reasons import REASONS

router = APIRouter(prefix="/v1", tags=["executions"])

_IDS = ["journey-7:route:1", "journey-8:route:1"]
_EXAMPLE: list[dict[str, Any]] = [
    {
        "execution_id": "journey-7:route:1",
        "asked_as": "journey-7:route:1",
        "state": "fell_back",
        "status": "fallback",
        "kept": True,
        "ask_as": "journey-7:route:1:r1",
        "reason": "insufficient_credits",
        "group": "credits",
        "why": "the account has no usable credits left",
        "reasons": {"intent": "insufficient_credits"},
        "charged_mc": 0,
        "retry_after_ms": None,
    },
    {
        "execution_id": "journey-8:route:1",
        "asked_as": "journey-8:route:1",
        "state": "answered",
        "status": "model",
        "kept": True,
        "ask_as": None,
        "reason": None,
        "group": None,
        "why": None,
        "reasons": {},
        "charged_mc": 412,
        "retry_after_ms": None,
    },
]


class MissedBody(Body):
    """The executions that are asked about."""

    account_id: StrictId | None = Field(
        None, description="Keys of an account need not name it.", examples=["acme"]
    )
    execution_ids: Annotated[list[IdText], Field(min_length=1, max_length=MOST_IDS)] = Field(
        examples=[_IDS]
    )


class MissedItem(BaseModel):
    """The outcome of one execution, as far as it is kept."""

    execution_id: str
    asked_as: str = Field(
        description="The id under which it was asked last, as far as that is kept: its own, or a "
        "retry's."
    )
    state: State = Field(
        description="`unknown`: nothing is kept, so the same id may ask, again or for the first "
        "time. `pending`: it runs. `answered`: by the model, in whole or in part. `fell_back`: its "
        "fallback values are kept. `damaged`: its record can't be read."
    )
    status: Status | None = Field(description="Of its outcome.")
    kept: bool = Field(description="The id gives the same outcome again, without a call.")
    ask_as: str | None = Field(
        description="The `execution_id` to ask with for an answer: the same one where nothing is "
        "kept, else that of its next retry, `<id>:r<n>`. Null where it is answered."
    )
    reason: FallbackReason | None = Field(description="Why it fell back: the first output's.")
    group: ReasonGroup | None
    why: str | None = Field(description="The same in words.")
    reasons: dict[str, FallbackReason] = Field(description="By output, as far as kept.")
    charged_mc: int
    retry_after_ms: int | None


class MissedAnswer(BaseModel):
    """The outcomes of the executions, in the order of their ids."""

    items: list[MissedItem] = Field(examples=[_EXAMPLE])


@router.post(
    "/executions:missed",
    operation_id="find_missed",
    responses=problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
)
async def find_missed(body: MissedBody, key: Executing, service: ServiceOf) -> MissedAnswer:
    """Tell which of up to 1,000 executions missed their answers, and how to run those again.

    After a top-up or a repair, ask about the people of a campaign, and run those whose state is
    `unknown` or `fell_back`, each with its `ask_as`. Nobody else is called or charged: an id that
    has a charge is never charged twice, and what is pending gives its outcome when it is asked
    again. It calls no model and charges nothing.
    """
    account_id = account_of(key, body.account_id)
    found = await standings(service.ledger.outcomes, account_id, body.execution_ids)
    return MissedAnswer(items=[_item(standing) for standing in found])


def _item(standing: Standing) -> MissedItem:
    reason = standing.reason
    return MissedItem(
        execution_id=standing.execution_id,
        asked_as=standing.asked_as,
        state=standing.state,
        status=standing.status,
        kept=standing.is_kept,
        ask_as=standing.ask_as,
        reason=reason,
        group=None if reason is None else reason.group,
        why=_why(standing),
        reasons=dict(standing.reasons),
        charged_mc=standing.charged_mc,
        retry_after_ms=standing.retry_after_ms,
    )


def _why(standing: Standing) -> str | None:
    match standing.state:
        case State.UNKNOWN:
            return wording.NOTHING_KEPT
        case State.PENDING:
            return wording.RUNNING
        case State.DAMAGED:
            return wording.DAMAGED
        case State.FELL_BACK if standing.reason is not None:
            if standing.ask_as is None:
                return wording.TRIED_TOO_OFTEN
            return wording.fell_back_text(standing.reason, standing.charged_mc)
    return None if standing.reason is None else REASONS[standing.reason]
