"""Estimates: what an action costs for an audience, and the launch check of a whole campaign."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from runtime.campaigns.estimate import Sample
from runtime.campaigns.launch_check import LaunchPlan, Planned, check_launch
from runtime.ledger_opening import default_caps
from runtime.web.access import Previewing, account_of
from runtime.web.action_bodies import EXAMPLE_DRAFT
from runtime.web.bodies import Body, IdText, Instant, StrictId, problems
from runtime.web.drafts import ActionBody, ScopesBody
from runtime.web.problems import invalid
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1", tags=["previews"])

MOST_ACTIONS = 50
MOST_SAMPLED = 1_000
MOST_COUNTED = 10_000
"""Of one call: the prompts of all samples together."""
_MOST_PEOPLE = 10**9

_People = Annotated[int, Field(ge=1, le=_MOST_PEOPLE, description="How many people reach it.")]
_Sampled = Annotated[
    list[ScopesBody],
    Field(
        min_length=1,
        max_length=MOST_SAMPLED,
        description="Some of the people, picked at random, or all; their prompts are counted.",
    ),
]


class PlannedBody(ActionBody):
    """One action, and its audience where that is not the one of all actions."""

    people: _People | None = None
    sample: _Sampled | None = None


_EXAMPLE: dict[str, Any] = {
    "account_id": "acme",
    "workspace_id": "retail",
    "campaign_id": "spring",
    "people": 100_000,
    "sample": [{"customer": {"message": "Where is my card?", "first_name": "Ann"}}],
    "actions": [{"draft": {"id": "route_message", **EXAMPLE_DRAFT}}],
}


EXAMPLE_CHECK: dict[str, Any] = {
    "people": 100_000,
    "cost": {
        "expected_mc": 120_000_000,
        "low_mc": 110_000_000,
        "high_mc": 131_000_000,
        "worst_mc": 400_000_000,
    },
    "actions": [
        {
            "action_id": "route_message",
            "action_version": "0cf50f9a54c9",
            "model_id": "quick",
            "rate_card_version": "2026-01",
            "people": 100_000,
            "counted": 1,
            "called": 100_000,
            "before_a_call": {},
            "cost": {
                "expected_mc": 120_000_000,
                "low_mc": 110_000_000,
                "high_mc": 131_000_000,
                "worst_mc": 400_000_000,
            },
            "answers_known": 240,
            "reach": None,
            "share_percent": 100.0,
        }
    ],
    "reach": {
        "account_id": "acme",
        "available_mc": 100_000_000,
        "usable": True,
        "covers": "less",
        "people": 83_333,
        "people_least": 76_335,
        "people_most": 90_909,
    },
    "summary": "Account acme has 100,000 credits, which is not enough. They should last for "
    "about 83,333 of 100,000 people (83%; likely 76,335 to 90,909); the others would get fallback "
    "values.",
    "caps": [],
    "expiring": [],
    "warnings": [
        {
            "kind": "share_of_balance",
            "text": "It is expected to take 120% of the available credits, more than the 50% above "
            "which a campaign is looked at before it starts.",
        }
    ],
}


class EstimateBody(Body):
    """A campaign before it starts: its actions and who will reach them."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    account_id: StrictId | None = None
    workspace_id: IdText | None = Field(None, description="Its caps are looked at.")
    campaign_id: IdText | None = Field(None, description="Its caps are looked at.")
    actions: Annotated[list[PlannedBody], Field(min_length=1, max_length=MOST_ACTIONS)]
    people: _People | None = None
    sample: _Sampled | None = None
    ends_at: Instant | None = Field(
        None, description="When everybody was there, at an even pace: for credits that expire."
    )


class CostAnswer(BaseModel):
    """A cost: what is expected, the range of 95 in 100 such campaigns, and the worst case."""

    expected_mc: int
    low_mc: int
    high_mc: int
    worst_mc: int


class ActionEstimate(BaseModel):
    """One action's part."""

    action_id: str
    action_version: str
    model_id: str | None
    rate_card_version: str | None
    people: int
    counted: int = Field(description="How many prompts were counted; 0 counts the templates.")
    called: int
    before_a_call: dict[str, int]
    cost: CostAnswer
    answers_known: int
    reach: None
    share_percent: float = Field(description="Of the expected cost of all actions.")


class ReachAnswer(BaseModel):
    """The reach of the credits. `covers`: `worst_case`, `likely`, `expected` or `less`."""

    account_id: str
    available_mc: int
    usable: bool
    covers: str
    people: int
    people_least: int
    people_most: int


class CapAnswer(BaseModel):
    """A cap that counts the campaign. `reached`: `no`, `possible` or `expected`."""

    cap: str
    text: str
    limit_mc: int
    left_mc: int
    resets_in_ms: int | None
    begins: bool = Field(description="True for one that its first reservation sets.")
    expected_mc: int
    people: int
    reached: str


class ExpiringAnswer(BaseModel):
    """Credits that expire. `lost_mc` would be left unused at an even pace to `ends_at`."""

    grant_id: str
    kind: str
    available_mc: int
    expires_at: str
    lost_mc: int | None


class WarningAnswer(BaseModel):
    """Something to look at before the campaign starts."""

    kind: str
    text: str


class EstimateAnswer(BaseModel):
    """The launch check. Amounts are millicredits."""

    people: int
    cost: CostAnswer
    actions: list[ActionEstimate]
    reach: ReachAnswer
    summary: str
    caps: list[CapAnswer]
    expiring: list[ExpiringAnswer]
    warnings: list[WarningAnswer]


@router.post(
    "/estimates",
    response_model=EstimateAnswer,
    responses={
        200: {"content": {"application/json": {"example": EXAMPLE_CHECK}}},
        **problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    },
)
async def estimate(body: EstimateBody, key: Previewing, service: ServiceOf) -> JSONResponse:
    """Return what actions will cost for an audience, against balance, caps and expiries.

    No model is called and nothing is charged. Without a sample, prompts count with the length of
    their templates.
    """
    account_id = account_of(key, body.account_id)
    counted = sum(len(one.sample or body.sample or ()) for one in body.actions)
    if counted > MOST_COUNTED:
        message = f"all samples together have {counted:,} people, {MOST_COUNTED:,} are allowed"
        raise invalid("sample", message)
    plan = LaunchPlan(
        account_id=account_id,
        actions=[
            await _planned(service, account_id, body, number) for number in range(len(body.actions))
        ],
        workspace_id=body.workspace_id,
        campaign_id=body.campaign_id,
        ends_at=body.ends_at,
    )
    found = await check_launch(
        plan,
        service.estimator,
        service.ledger.accounts,
        warn_percent=service.config.launch_check.warn_percent,
        default_caps=default_caps(service.config),
    )
    return JSONResponse(found.to_json())


async def _planned(service: Service, account_id: str, body: EstimateBody, number: int) -> Planned:
    one, at = body.actions[number], f"actions.{number}."
    sample = [person.scopes() for person in one.sample or body.sample or ()]
    people = one.people or (len(sample) if one.sample else body.people or len(sample))
    if not people:
        raise invalid(f"{at}people", "give `people` or `sample`, here or for all actions")
    if people < len(sample):
        raise invalid(f"{at}people", f"is less than the {len(sample)} people of its sample", people)
    spec = await one.spec(service, account_id, at)
    return Planned(spec, Sample.counting(people, sample))
