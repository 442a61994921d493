"""Short words for tests of the request queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fallback.policy import Origin
from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionRequest, ExecutionResult
from runtime.queue.entries import Ended, Slice
from runtime.queue.queue import RequestQueue
from runtime.redis.keys import Keys

ACCOUNT, WORKSPACE, CAMPAIGN = "acme", "retail", "welcome"


def request_of(number: int | str, campaign_id: str = CAMPAIGN, **changes: Any) -> ExecutionRequest:
    """A request for a person of its own."""
    fields: dict[str, Any] = {
        "execution_id": f"journey-{number}:route:1",
        "account_id": ACCOUNT,
        "workspace_id": WORKSPACE,
        "campaign_id": campaign_id,
        "person_id": f"p{number}",
        "action": "route",
        "data": {"customer": {"message": f"Where is card {number}?"}},
    }
    return ExecutionRequest(**(fields | changes))


def result_of(
    request: ExecutionRequest,
    reason: FallbackReason | None = None,
    *,
    charged_mc: int = 7,
    kept: bool | None = None,
) -> ExecutionResult:
    """A result of the model, or of a fallback for a reason."""
    origin = Origin("fallback", reason) if reason else Origin("model", None)
    return ExecutionResult(
        execution_id=request.execution_id,
        kept=reason is None if kept is None else kept,
        status="fallback" if reason else "model",
        values={"reply": f"for {request.person_id}"},
        attributes={"journey": {"reply": f"for {request.person_id}"}, "customer": {}},
        origins={"reply": origin},
        charged_mc=0 if reason else charged_mc,
        reserved_mc=0 if reason else 10,
        available_after_mc=1_000,
        usage=None,
        attempts=(),
        timings_ms={"total": 1},
        action_version="v1",
        rate_card_version="2026-01",
    )


@dataclass
class Bench:
    """A queue, its client, and its keys."""

    queue: RequestQueue
    client: Any
    prefix: str

    @property
    def keys(self) -> Keys:
        return Keys(self.prefix)

    async def add(self, *numbers: int, campaign_id: str = CAMPAIGN, **more: Any) -> int:
        requests = [request_of(number, campaign_id) for number in numbers]
        added = await self.queue.add(ACCOUNT, WORKSPACE, campaign_id, requests, **more)
        return added.accepted

    async def take(self, count: int = 32, idle_ms: int = 60_000) -> Slice:
        taken = await self.queue.take(ACCOUNT, "worker", count, idle_ms)
        assert taken is not None
        return taken

    async def finish(self, taken: Slice, reason: FallbackReason | None = None) -> int:
        ended = [Ended(each, result_of(each.request, reason)) for each in taken.entries]
        return await self.queue.finish(taken, ended)


def people_of(taken: Slice | None) -> list[str]:
    """The people of a slice, in order."""
    return [] if taken is None else [each.request.person_id for each in taken.entries]
