"""Requests and their ends as the arguments of scripts: ``add.lua`` and ``finish.lua``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic_core import PydanticSerializationError, to_json

from runtime.actions.requests import ExecutionRequest, InvalidRequest
from runtime.queue.entries import (
    MOST_AT_ONCE,
    MOST_BYTES_AT_ONCE,
    MOST_REQUEST_BYTES,
    DeadReason,
    Ended,
    missed_reason,
)
from runtime.queue.errors import RequestTooLarge

Packed = tuple[str | bytes | int, ...]


def packed_request(
    request: ExecutionRequest, account_id: str, workspace_id: str, campaign_id: str
) -> Packed:
    """Return a request as ``add.lua`` takes it.

    Raises:
        ValueError: it is of another account, workspace or campaign, or its action is no id.
        InvalidRequest: its data has no JSON.
        RequestTooLarge: it has too many bytes.
    """
    own = (request.account_id, request.workspace_id, request.campaign_id)
    if own != (account_id, workspace_id, campaign_id):
        raise ValueError("requests: one is of another account, workspace or campaign")
    if not isinstance(request.action, str):
        raise ValueError("requests: one has an action instead of an action's id")
    body = body_of(request)
    if len(body) > MOST_REQUEST_BYTES:
        raise RequestTooLarge(
            f"a request has {len(body):,} bytes, at most {MOST_REQUEST_BYTES:,} are allowed"
        )
    return body, request.person_id, request.action


def body_of(request: ExecutionRequest) -> bytes:
    """Return a request as JSON, as ``POST /v1/executions`` takes it.

    Raises:
        InvalidRequest: its data has no JSON.
    """
    plain = {
        "execution_id": request.execution_id,
        "account_id": request.account_id,
        "workspace_id": request.workspace_id,
        "campaign_id": request.campaign_id,
        "person_id": request.person_id,
        "action": request.action,
        "data": request.data,
        "source": str(request.source),
    }
    try:
        return to_json(plain, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError) as exc:
        raise InvalidRequest(f"data has no JSON: {type(exc).__name__}") from exc


def packed_end(ended: Ended) -> Packed:
    """Return the end of an entry as ``finish.lua`` takes it."""
    entry, result = ended.entry, ended.result
    if result is None:
        return packed_dead(entry.entry_id, ended.dead or DeadReason.FAILED, ended.detail)
    reason = missed_reason(result)
    return (
        *(entry.entry_id, "r", str(entry.request.action), result.status),
        *((reason.value, reason.group.value) if reason else ("", "")),
        *(int(result.kept), result.charged_mc, result.execution_id, entry.request.person_id),
        to_json(result.to_json(), inf_nan_mode="constants"),
    )


def packed_dead(entry_id: str, reason: DeadReason, detail: str = "") -> Packed:
    """Return a dead letter as ``finish.lua`` takes it."""
    return (entry_id, "d", "", reason.value, detail[:500], "", "0", "0", "", "", "")


def in_bounds(packed: Sequence[Packed]) -> Iterator[Packed]:
    """Yield what is packed in groups that one script takes."""
    group: list[str | bytes | int] = []
    number = size = 0
    for one in packed:
        own = sum(len(value) for value in one if isinstance(value, str | bytes))
        if number and (number == MOST_AT_ONCE or size + own > MOST_BYTES_AT_ONCE):
            yield tuple(group)
            group, number, size = [], 0, 0
        group += one
        number, size = number + 1, size + own
    if number:
        yield tuple(group)
