"""Previews: what the "Preview response" button calls."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from runtime.actions.spec import ActionSpec
from runtime.previews.report import report_json
from runtime.previews.running import (
    MOST_PREVIEWS,
    PreviewOrder,
    SamplePerson,
    Variant,
    run_previews,
)
from runtime.web.access import Previewing, account_of
from runtime.web.action_bodies import EXAMPLE_DRAFT
from runtime.web.bodies import Body, IdText, StrictId, problems
from runtime.web.drafts import ActionBody, ScopesBody, checked_draft
from runtime.web.problems import invalid
from runtime.web.service import Service, ServiceOf

router = APIRouter(prefix="/v1", tags=["previews"])

_TokenCount = Annotated[int, Field(gt=0, le=10**9)]


class PersonBody(Body):
    """Somebody to run the action for."""

    person_id: IdText = Field("preview", description="To tell several people apart.")
    data: ScopesBody = Field(default_factory=ScopesBody)


class VariantBody(Body):
    """The action with another model or other settings. What is left out stays as it is."""

    name: str | None = Field(None, min_length=1, max_length=100)
    model: StrictId | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: _TokenCount | None = None
    min_output_tokens: _TokenCount | None = None

    def changes(self, spec: ActionSpec) -> dict[str, Any]:
        """Return the fields of the action that this one changes."""
        given = self.model_dump(exclude={"name"}, exclude_unset=True)
        tokens = ("max_output_tokens", "min_output_tokens")
        limits = {name: given.pop(name) for name in tokens if name in given}
        if limits:
            given["limits"] = {**spec.limits.model_dump(), **limits}
        return given


_EXAMPLE: dict[str, Any] = {
    "account_id": "acme",
    "draft": {"id": "route_message", **EXAMPLE_DRAFT},
    "people": [
        {"person_id": "ann", "data": {"customer": {"message": "Where is my card?"}}},
        {"person_id": "bob", "data": {"customer": {"message": "Send 20 to Ann, please."}}},
    ],
    "free": True,
}


_ANSWER: dict[str, Any] = {
    "free": False,
    "note": None,
    "variants": [
        {
            "variant": 0,
            "name": "quick",
            "action": "route_message",
            "action_version": "0cf50f9a54c9",
            "model": "quick",
            "previews": 1,
            "from_model": 1,
            "mixed": 0,
            "fallback": 0,
            "quote_mc": 2_130,
            "reserved_mc": 2_130,
            "charged_mc": 180,
            "mean_ms": 412,
        }
    ],
    "previews": [
        {
            "person": 0,
            "person_id": "ann",
            "variant": 0,
            "missing_attributes": [],
            "why": None,
            "action": "route_message",
            "model": "quick",
            "prompt": [{"role": "user", "content": "Route this message: Where is my card?"}],
            "quote": {"input_tokens": 130, "max_output_tokens": 200, "amount_mc": 2_130},
            "lowered": False,
            "result": {
                "execution_id": "preview.5e1c0b2f:route_message:1",
                "kept": True,
                "status": "model",
                "values": {"intent": "card"},
                "origins": {"intent": {"mark": "model", "reason": None, "because": None}},
                "reserved_mc": 2_130,
                "charged_mc": 180,
                "available_after_mc": 9_999_820,
            },
            "answer": '{"intent":"card"}',
            "finish": "stop",
            "provider_errors": [],
            "is_cut": False,
        }
    ],
    "charged_mc": 180,
    "available_after_mc": 9_999_820,
}


class PreviewBody(ActionBody):
    """A call for previews: every person with every variant."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    account_id: StrictId | None = None
    workspace_id: IdText = "default"
    campaign_id: IdText = "preview"
    people: Annotated[list[PersonBody], Field(min_length=1, max_length=MOST_PREVIEWS)]
    variants: Annotated[list[VariantBody], Field(max_length=MOST_PREVIEWS)] = Field(
        default_factory=list, description="Without any, the action as it is."
    )
    free: bool = Field(
        False,
        description="Run on a mock model: for trying templates. Nothing is reserved or charged.",
    )


class VariantTotals(BaseModel):
    """One variant, and what its previews came to."""

    variant: int
    name: str
    action: str
    action_version: str
    model: str
    previews: int
    from_model: int
    mixed: int
    fallback: int
    quote_mc: int
    reserved_mc: int
    charged_mc: int
    mean_ms: int


class PreviewAnswer(BaseModel):
    """One preview: its prompt, its cost, its values and where each comes from."""

    person: int = Field(description="Its place in `people`, from 0.")
    person_id: str
    variant: int = Field(description="Its place in `variants`, from 0.")
    missing_attributes: list[str] = Field(
        description="What the prompts read and the sample lacks; there may be defaults."
    )
    why: str | None = Field(description="Why values are fallback values, for people to read.")
    action: str
    model: str | None = Field(None, description="The model that was, or would be, called.")
    prompt: list[dict[str, str]] | None = Field(description="The messages as sent.")
    quote: dict[str, int] | None = None
    lowered: bool | None = None
    result: dict[str, Any] = Field(description="As `POST /v1/executions` answers it.")
    answer: str | None = Field(description="The raw answer.")
    finish: str | None = None
    provider_errors: list[dict[str, Any]] | None = None
    is_cut: bool = Field(description="True where prompt or answer are shown in part.")


class PreviewsAnswer(BaseModel):
    """All previews of a call, and what each variant came to. Amounts are millicredits."""

    free: bool
    note: str | None
    variants: list[VariantTotals]
    previews: list[PreviewAnswer]
    charged_mc: int
    available_after_mc: int | None


@router.post(
    "/previews",
    response_model=PreviewsAnswer,
    responses={
        200: {"content": {"application/json": {"example": _ANSWER}}},
        **problems(400, 401, 403, 404, 413, 415, 422, 429, 503),
    },
)
async def preview(body: PreviewBody, key: Previewing, service: ServiceOf) -> JSONResponse:
    """Run an action for sample people, and show everything about each run.

    Each preview is an execution with an id of its own, and costs what a live one costs, unless
    `free` is true or the configuration says that previews are not charged. What it shows, prompt
    and raw answer included, is stored nowhere.
    """
    account_id = account_of(key, body.account_id)
    spec = await body.spec(service, account_id)
    asked = len(body.people) * max(1, len(body.variants))
    if asked > MOST_PREVIEWS:
        raise invalid(
            "variants",
            f"{len(body.people)} people times {len(body.variants)} variants are {asked} previews; "
            f"{MOST_PREVIEWS} are allowed",
        )
    order = PreviewOrder(
        account_id=account_id,
        workspace_id=body.workspace_id,
        campaign_id=body.campaign_id,
        people=[SamplePerson(one.person_id, one.data.scopes()) for one in body.people],
        variants=await _variants(service, spec, body.variants),
        free=body.free,
    )
    return JSONResponse(report_json(order, await run_previews(service.runtime, order)))


async def _variants(
    service: Service, spec: ActionSpec, variants: list[VariantBody]
) -> list[Variant]:
    if not variants:
        return [Variant(spec.model, spec)]
    found = []
    for number, variant in enumerate(variants):
        changes = variant.changes(spec)
        changed = spec
        if changes:
            fields = {**spec.model_dump(), **changes}
            changed = await checked_draft(service, fields, f"variants.{number}.")
        found.append(Variant(variant.name or changed.model, changed))
    return found
