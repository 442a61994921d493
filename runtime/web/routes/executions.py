"""Executions: one, or many side by side, and their receipts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic_core import to_json

from runtime.actions.request_body import EXAMPLE_REQUEST, ExecutionBody
from runtime.archive.receipts import Receipts
from runtime.credits.results import Existing
from runtime.executions.stored_outcome import decode
from runtime.formats.receipt import receipt_json
from runtime.ids import ID_PATTERN, ID_TEXT_RULE, is_id_text
from runtime.web.access import Executing, account_of
from runtime.web.bodies import problems
from runtime.web.executing import execute, execute_batch, request_of
from runtime.web.execution_bodies import (
    EXAMPLE_ANSWER,
    EXAMPLE_BATCH,
    EXAMPLE_PENDING,
    EXAMPLE_RECEIPT,
    MOST_IN_A_BATCH,
    BatchAnswer,
    BatchBody,
    ExecutionAnswer,
    PendingAnswer,
    ReceiptAnswer,
)
from runtime.web.problems import Problem, invalid, shown
from runtime.web.request_bounds import parsed_json
from runtime.web.service import ServiceOf

router = APIRouter(prefix="/v1", tags=["executions"])

QUICK_PATH = "/v1/executions"
_JSON = "application/json"


def _body(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """Return what the document says of a body that is read by hand, which is quicker."""
    content = {_JSON: {"schema": schema, "examples": {"usual": {"value": example}}}}
    return {"requestBody": {"required": True, "content": content}}


def _batch_schema() -> dict[str, Any]:
    schema = BatchBody.model_json_schema()
    schema["properties"]["executions"]["items"] = schema.pop("$defs")[ExecutionBody.__name__]
    return schema


def _example(example: dict[str, Any]) -> dict[str, Any]:
    return {"content": {_JSON: {"example": example}}}


@router.post(
    "/executions",
    operation_id="run_execution",
    openapi_extra=_body(ExecutionBody.model_json_schema(), EXAMPLE_REQUEST),
    response_class=Response,
    responses={
        200: {
            "model": ExecutionAnswer,
            "description": "It has ended, perhaps with fallback values.",
            **_example(EXAMPLE_ANSWER),
        },
        202: {
            "model": PendingAnswer,
            "description": "The same id runs elsewhere: ask again after Retry-After seconds.",
            "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
            **_example(EXAMPLE_PENDING),
        },
        **problems(401, 403, 404, 409, 422, 429, 503),
    },
)
async def run_execution(request: Request, key: Executing, service: ServiceOf) -> Response:
    """Run an action for a person, and answer a value for every output.

    The answer is 200 whenever the execution has ended, even if every value is a fallback: no
    credits, a model that fails, a deadline are in `origins`. Asking again with the same
    `execution_id` gives the first kept outcome, without a call or a charge. A client that
    disconnects cancels nothing: the outcome is there when it asks again.
    """
    answer = await execute(service, request_of(parsed_json(request), key))
    headers = None if answer.retry_after_s is None else {"Retry-After": str(answer.retry_after_s)}
    return Response(to_json(answer.body), answer.status, headers, _JSON)


@router.post(
    "/executions:batch",
    operation_id="run_executions",
    openapi_extra=_body(_batch_schema(), {"executions": [EXAMPLE_REQUEST]}),
    response_class=Response,
    responses={
        200: {
            "model": BatchAnswer,
            "description": "The answers, in the order of the executions.",
            **_example(EXAMPLE_BATCH),
        },
        **problems(401, 403, 422, 429, 503),
    },
)
async def run_executions(request: Request, key: Executing, service: ServiceOf) -> Response:
    """Run up to 1,000 executions side by side, each as it would be alone.

    The answers come in the order of the executions, each with the status and the body that it
    would have alone, within the longest deadline of their actions. A client that disconnects
    cancels none.
    """
    bodies = _executions(parsed_json(request))
    answers = await execute_batch(service, key, bodies)
    items = b",".join([answer.as_item() for answer in answers])
    return Response(b'{"items":[%b]}' % items, media_type=_JSON)


@router.get(
    "/executions/{execution_id:path}",
    response_model=ReceiptAnswer,
    responses={
        200: {"description": "All that is known of it.", **_example(EXAMPLE_RECEIPT)},
        **problems(401, 403, 404, 422, 429, 503),
    },
)
async def get_execution(
    execution_id: Annotated[str, Path(description="Its id, percent-encoded.", examples=["j-17:1"])],
    key: Executing,
    service: ServiceOf,
    account_id: Annotated[
        str | None,
        Query(
            pattern=ID_PATTERN,
            description="The account that it is of. A key of an account may leave it out.",
            examples=["acme"],
        ),
    ] = None,
) -> dict[str, Any]:
    """Return an execution's receipt: what it cost, who paid, what its values are and why.

    Its values and their origins are there as long as the outcome is kept; what it cost is there
    for good.
    """
    if is_id_text(execution_id) is None:
        raise invalid("path.execution_id", f"must be {ID_TEXT_RULE}", execution_id)
    account = account_of(key, account_id)
    database = await service.store.database()
    receipts = Receipts(service.ledger, database, service.installation)
    receipt = await receipts.find(account, execution_id)
    if receipt is None:
        raise Problem(
            404,
            "execution_not_found",
            "No such execution",
            f"There is no execution {shown(execution_id)} that this key may see.",
        )
    outcome = receipt.outcome
    result = decode(execution_id, outcome) if isinstance(outcome, Existing) else None
    return receipt_json(receipt, service.config, result)


def _executions(body: Any) -> list[Any]:
    """Return the bodies in a batch, each to be checked by itself."""
    if not isinstance(body, dict):
        raise invalid("body", "must be an object", body)
    if others := sorted(body.keys() - {"executions"}):
        raise invalid(others[0], "is not a member of a batch")
    bodies = body.get("executions")
    if not isinstance(bodies, list) or not 1 <= len(bodies) <= MOST_IN_A_BATCH:
        rule = f"must be a list of 1 to {MOST_IN_A_BATCH:,} executions"
        raise invalid("executions", rule, bodies)
    return bodies
