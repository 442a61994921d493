"""Bodies of executions and their answers, as the OpenAPI document has them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from runtime.web.bodies import Body, IdText, StrictId, few_members
from runtime.web.problems import ProblemDetails

MOST_IN_A_BATCH = 1_000

_Data = Annotated[
    dict[Literal["customer", "event", "journey", "campaign", "workspace"], dict[str, Any]],
    BeforeValidator(few_members),
]
_Millicredits = Annotated[int, Field(description="Millicredits: 1 credit is 1,000.")]

EXAMPLE_REQUEST: dict[str, Any] = {
    "execution_id": "journey-17:route:1",
    "account_id": "acme",
    "workspace_id": "retail",
    "campaign_id": "welcome",
    "person_id": "p00001",
    "action": "route",
    "data": {"customer": {"message": "Where is my card?"}},
}


class ExecutionBody(Body):
    """A request to run one action for one person."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_REQUEST]})

    execution_id: IdText = Field(
        description="The idempotency key: it names one visit of one person to one step, as "
        "`{journey_id}:{step_id}:{visit}`. Send the same one when the request is sent again."
    )
    account_id: StrictId | None = Field(
        None, description="The account that pays. A key of an account may leave it out."
    )
    workspace_id: IdText = Field(description="Where the action runs.")
    campaign_id: IdText = Field(description="The campaign that it runs in.")
    person_id: IdText = Field(description="The person that it runs for.")
    action: StrictId = Field(description="The id of a published action.")
    data: _Data = Field(description="What the prompt's templates read: attributes by scope.")
    source: Literal["live", "preview", "test"] = Field(
        "live", description="The purpose; a dimension of every charge."
    )


class Usage(BaseModel):
    """Tokens of an answer. Cached and cache writes are parts of input, reasoning of output."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int


class ValueOrigin(BaseModel):
    """The origin of one value."""

    mark: Literal["model", "fallback"]
    reason: str | None = Field(description="Why it is the fallback value.")


class AttemptMade(BaseModel):
    """One call of the provider."""

    number: int
    outcome: str = Field(description="`answered`, or a reason such as `provider_timeout`.")
    latency_ms: int
    status: int | None
    detail: str | None


class Refusal(BaseModel):
    """An endpoint that refuses its key, or a model."""

    endpoint: str
    status: int


class ExecutionAnswer(BaseModel):
    """The end of an execution: a value for every output, its origin, and what was charged."""

    execution_id: str
    kept: bool = Field(
        description="True if the same id gives the same values again, without a call or a charge."
    )
    status: Literal["model", "mixed", "fallback"] = Field(
        description="`model` if the model gave every value, `fallback` if it gave none."
    )
    values: dict[str, Any] = Field(description="Every output by name.")
    attributes: dict[str, dict[str, Any]] = Field(
        description="The same values by store (`journey`, `customer`) and attribute name."
    )
    origins: dict[str, ValueOrigin] = Field(description="Where each value comes from.")
    charged_mc: _Millicredits
    reserved_mc: _Millicredits
    available_after_mc: int | None = Field(description="What the account has left; null if unknown")
    usage: Usage | None
    attempts: list[AttemptMade]
    timings_ms: dict[str, int]
    action_version: str
    rate_card_version: str | None
    replayed: bool = Field(description="True for the first outcome of an id asked before.")
    detail: str | None = Field(description="One line about why values fell back.")
    endpoint_refusal: Refusal | None


class PendingAnswer(BaseModel):
    """The answer while the same id runs elsewhere: write nothing, and ask again."""

    execution_id: str
    retry_after_ms: int


class BatchBody(Body):
    """Executions that are run side by side, each as it would be alone."""

    executions: list[ExecutionBody] = Field(min_length=1, max_length=MOST_IN_A_BATCH)


class BatchItem(BaseModel):
    """The answer of one execution."""

    status: int = Field(description="The HTTP status that it would have alone.")
    body: ExecutionAnswer | PendingAnswer | ProblemDetails


class BatchAnswer(BaseModel):
    """The answers, in the order of the executions."""

    items: list[BatchItem]


EXAMPLE_ANSWER: dict[str, Any] = {
    "execution_id": "journey-17:route:1",
    "kept": True,
    "status": "model",
    "values": {"intent": "card", "reply": "We sent it to you today."},
    "attributes": {
        "journey": {"intent": "card", "reply": "We sent it to you today."},
        "customer": {},
    },
    "origins": {
        "intent": {"mark": "model", "reason": None},
        "reply": {"mark": "model", "reason": None},
    },
    "charged_mc": 871,
    "reserved_mc": 1_905,
    "available_after_mc": 99_998_095,
    "usage": {
        "input_tokens": 471,
        "output_tokens": 40,
        "cached_input_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
    },
    "attempts": [
        {"number": 1, "outcome": "answered", "latency_ms": 412, "status": None, "detail": None}
    ],
    "timings_ms": {"prepare": 1, "reserve": 1, "provider": 412, "settle": 1, "total": 415},
    "action_version": "0f6a2b9c41d7",
    "rate_card_version": "2026-01",
    "replayed": False,
    "detail": None,
    "endpoint_refusal": None,
}
EXAMPLE_PENDING: dict[str, Any] = {"execution_id": "journey-17:route:1", "retry_after_ms": 1_200}
EXAMPLE_BATCH: dict[str, Any] = {"items": [{"status": 200, "body": EXAMPLE_ANSWER}]}
