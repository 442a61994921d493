"""The JSON of an execution request: one reader for HTTP, the queue and files."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from runtime.actions.requests import ExecutionRequest, InvalidRequest
from runtime.ids import ID_PATTERN, ID_RULE, ID_TEXT_RULE, is_id_text

_MOST_MEMBERS = 100
_MOST_FAULTS = 3
_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"


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


def documented(pattern: str) -> Any:
    """Return the field of a text of 1 to 200 characters, with its pattern for the documentation."""
    return Field(min_length=1, max_length=200, json_schema_extra={"pattern": pattern})


IdText = Annotated[str, documented(_PLAIN), AfterValidator(_id_text)]
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

    def request_for(self, account_id: str) -> ExecutionRequest:
        """Return the request, which this account pays for."""
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


def read_request(raw: bytes, account_id: str) -> ExecutionRequest:
    """Return the request that a JSON text asks for, which this account pays for.

    Raises:
        InvalidRequest: it is not one, or names another account. The message names fields, and
            shows no value.
    """
    try:
        body = ExecutionBody.model_validate_json(raw)
    except ValidationError as exc:
        raise InvalidRequest(_faults(exc)) from None
    if body.account_id not in (None, account_id):
        raise InvalidRequest("account_id: is another account's")
    return body.request_for(account_id)


def _faults(error: ValidationError) -> str:
    """Return what is wrong with which fields; values can be personal data, and are not shown."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    texts = []
    for one in found[:_MOST_FAULTS]:
        where = ".".join(str(part)[:64] for part in one["loc"])
        text = "is not valid JSON" if one["type"] == "json_invalid" else one["msg"]
        texts.append(f"{where}: {text}" if where else text)
    more = len(found) - _MOST_FAULTS
    return "; ".join(texts) + (f" (and {more} more)" if more > 0 else "")
