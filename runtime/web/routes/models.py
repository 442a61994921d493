"""The models that actions may name, with what somebody needs to know to choose one."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from runtime.catalog.choice import ModelChoice, model_choices
from runtime.catalog.typical_run import TypicalRun
from runtime.ids import ID_PATTERN, ID_RULE
from runtime.web.access import Previewing, account_of
from runtime.web.bodies import problems
from runtime.web.problems import invalid
from runtime.web.service import ServiceOf
from runtime.wording.models import model_choice_rule, model_state_text

router = APIRouter(prefix="/v1", tags=["models"])


class ModelAnswer(BaseModel):
    """One model."""

    id: str
    model_class: str = Field(
        alias="class",
        description="`quick` is fast and cheap; `reasoning` is better at complex work.",
    )
    typical_mc: int | None = Field(
        description="What a typical run costs, in millicredits; null without a rate."
    )
    is_learned: bool = Field(description="True where that comes from real answers of the action.")
    relative_cost: float | None = Field(
        description="The cost as a multiple of the cheapest model's, with two decimals."
    )
    cost_efficient: bool
    json_schema: bool | Literal["json_object"]
    context_tokens: int | None
    max_output_tokens: int | None
    healthy: bool | None = Field(description="Null where this process made no call yet.")
    retires_on: date | None
    replaced_by: str | None
    called: str | None = Field(description="The model that is called for it today.")
    state: str | None = Field(description="What is special about it, for people to read.")


class ModelsAnswer(BaseModel):
    """All models, the cheapest first, and how they are compared."""

    rule: str
    items: list[ModelAnswer]


_ANSWER = {
    "rule": "A typical run is 1,000 input and 300 output tokens. Cost-efficient: at most 1.5 times "
    "the cheapest of its class.",
    "items": [
        {
            "id": "quick",
            "class": "quick",
            "typical_mc": 4_000,
            "is_learned": False,
            "relative_cost": 1.0,
            "cost_efficient": True,
            "json_schema": True,
            "context_tokens": 128_000,
            "max_output_tokens": 16_384,
            "healthy": True,
            "retires_on": None,
            "replaced_by": None,
            "called": "quick",
            "state": None,
        }
    ],
}


@router.get(
    "/models",
    responses={
        200: {"content": {"application/json": {"example": _ANSWER}}},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def models(
    key: Previewing,
    service: ServiceOf,
    action: Annotated[
        str | None,
        Query(
            pattern=ID_PATTERN,
            description=f"Compare by runs of this action. {ID_RULE}",
            examples=["route"],
        ),
    ] = None,
    account_id: Annotated[
        str | None,
        Query(
            pattern=ID_PATTERN,
            description="Whose action it is, for keys of the operator's.",
            examples=["acme"],
        ),
    ] = None,
) -> ModelsAnswer:
    """Return the models that actions may name, the cheapest first, with what each costs."""
    run = TypicalRun()
    if account_id is not None and action is None:
        raise invalid("query.account_id", "is used with `action` alone; leave it out")
    if action is not None:
        spec = await service.runtime.actions.get(account_of(key, account_id), action)
        learned = await service.estimator.learned(spec, service.config.models)
        run = TypicalRun(spec, learned=learned)
    # Prompts are counted, and LiteLLM's list is read.
    choices = await asyncio.to_thread(
        model_choices, service.config, run, is_healthy=service.runtime.is_healthy
    )
    return ModelsAnswer(rule=model_choice_rule(action), items=[_answer(one) for one in choices])


def _answer(model: ModelChoice) -> ModelAnswer:
    relative = model.relative_cost
    return ModelAnswer(
        **{"class": model.model_class},
        id=model.id,
        typical_mc=model.typical_mc,
        is_learned=model.learned,
        relative_cost=None if relative is None else round(float(relative), 2),
        cost_efficient=model.cost_efficient,
        json_schema=model.json_schema,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        healthy=model.healthy,
        retires_on=model.retires_on,
        replaced_by=model.replaced_by,
        called=model.called,
        state=model_state_text(model) or None,
    )
