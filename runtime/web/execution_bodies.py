"""Bodies of executions and their answers, as the OpenAPI document has them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from runtime.actions.request_body import ExecutionBody
from runtime.web.answers import ByRateCard, Payment, Tokens
from runtime.web.bodies import Body
from runtime.web.problems import ProblemDetails

MOST_IN_A_BATCH = 1_000

_Millicredits = Annotated[int, Field(description="Millicredits: 1 credit is 1,000.")]


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


class KeptOutcome(BaseModel):
    """The end of an execution, as long as it is kept."""

    status: Literal["model", "mixed", "fallback"]
    values: dict[str, Any]
    attributes: dict[str, dict[str, Any]]
    origins: dict[str, ValueOrigin]


class ReceiptEntry(BaseModel):
    """One entry of the journal about the execution."""

    seq: int = Field(description="Its number in the account's statement.")
    at: datetime
    kind: str
    text: str
    charged_mc: int
    overage_mc: int
    exposure_mc: int
    free_mc: int


class ReceiptAnswer(BaseModel):
    """Everything about one execution's cost and origin."""

    execution_id: str
    account_id: str
    state: str = Field(
        description="`running`, or what it ended with: `settled`, `refused`, `released`, "
        "`expired` (it never ended), `exposure` (a call that nobody was charged for)."
    )
    charged_mc: _Millicredits
    reserved_mc: _Millicredits
    overage_mc: int = Field(description="The part of the cost that nothing was left to pay for.")
    exposure_mc: int = Field(description="What the operator may owe without having charged it.")
    free_mc: int = Field(description="What it would have cost if it were not free.")
    paid_by: list[Payment] = Field(description="The grants that paid, in order.")
    workspace: str | None
    campaign: str | None
    action: str | None
    action_version: str | None
    model: str | None
    source: str | None
    rate_card: str | None
    tokens: Tokens | None
    by_rate_card: ByRateCard | None
    reserved_at: datetime | None
    reason: str | None = Field(description="Why values fell back; null if none did.")
    flags: list[str]
    outcome: KeptOutcome | None = Field(description="Null once it is kept no longer.")
    entries: list[ReceiptEntry]


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
EXAMPLE_RECEIPT: dict[str, Any] = {
    "execution_id": "journey-17:route:1",
    "account_id": "acme",
    "state": "settled",
    "charged_mc": 871,
    "reserved_mc": 1_905,
    "overage_mc": 0,
    "exposure_mc": 0,
    "free_mc": 0,
    "paid_by": [
        {"grant_id": "g1", "kind": "introductory", "reference": "offer:intro", "amount_mc": 871}
    ],
    "workspace": "retail",
    "campaign": "welcome",
    "action": "route",
    "action_version": "0f6a2b9c41d7",
    "model": "writer",
    "source": "live",
    "rate_card": "2026-01",
    "tokens": {
        "input_tokens": 471,
        "cached_input_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": 40,
        "reasoning_tokens": 0,
    },
    "by_rate_card": {
        "cost_mc": 871,
        "per_request_mc": 0,
        "classes": [
            {"class": "input", "tokens": 471, "rate_mc": 1_000_000},
            {"class": "output", "tokens": 40, "rate_mc": 10_000_000},
        ],
    },
    "reserved_at": "2026-07-08T09:00:00.000Z",
    "reason": None,
    "flags": [],
    "outcome": {
        name: EXAMPLE_ANSWER[name] for name in ("status", "values", "attributes", "origins")
    },
    "entries": [
        {
            "seq": 42,
            "at": "2026-07-08T09:00:00.415Z",
            "kind": "settled",
            "text": "execution of route in welcome",
            "charged_mc": 871,
            "overage_mc": 0,
            "exposure_mc": 0,
            "free_mc": 0,
        }
    ],
}
