"""A request in JSON: the one form that HTTP takes and that waits in queues."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from runtime.actions.requests import ExecutionRequest
from runtime.ids import ID_PATTERN, ID_RULE, ID_TEXT_RULE, is_id_text

_MOST_MEMBERS = 100


def few_members(value: Any) -> Any:
    """Refuse an object of very many members as a whole: each would be an error of its own."""
    if isinstance(value, dict) and len(value) > _MOST_MEMBERS:
        raise ValueError(f"has {len(value):,} members, at most {_MOST_MEMBERS} are allowed")
    return value


class Body(BaseModel):
    """The base of request bodies: strict, with unknown members refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    _few_members = model_validator(mode="before")(few_members)


def _id_text(value: str) -> str:
    if is_id_text(value) is None:
        raise ValueError(f"must be {ID_TEXT_RULE}")
    return value


_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
IdText = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": _PLAIN}),
    AfterValidator(_id_text),
]
StrictId = Annotated[str, Field(pattern=ID_PATTERN, description=ID_RULE)]

_Data = Annotated[
    dict[Literal["customer", "event", "journey", "campaign", "workspace"], dict[str, Any]],
    BeforeValidator(few_members),
]

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

    def request(self, account_id: str) -> ExecutionRequest:
        """Return the request for this account."""
        return ExecutionRequest(
            execution_id=self.execution_id,
            account_id=account_id,
            workspace_id=self.workspace_id,
            campaign_id=self.campaign_id,
            person_id=self.person_id,
            action=self.action,
            data=cast("dict[str, dict[str, Any]]", self.data),
            source=self.source,
        )


def request_json(request: ExecutionRequest) -> dict[str, Any]:
    """Return a request as ``ExecutionBody`` reads it; its action by its id."""
    action = request.action
    return {
        "execution_id": request.execution_id,
        "account_id": request.account_id,
        "workspace_id": request.workspace_id,
        "campaign_id": request.campaign_id,
        "person_id": request.person_id,
        "action": action if isinstance(action, str) else action.id,
        "data": request.data,
        "source": str(request.source),
    }
