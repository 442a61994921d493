"""Short words for tests of the request queue."""

from __future__ import annotations

from typing import Any

from fallback.policy import Origin
from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionRequest, ExecutionResult
from runtime.queue.entries import CampaignStatus, Ended, QueueSettings, Slice
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


SETTINGS = QueueSettings(
    max_deliveries=3, missed_ms=7_000, dead_ms=7_000, results_ms=2_000, results_most=1_000
)


class Bench:
    """A queue on a server whose clock the test can put forward."""

    def __init__(self, client: Any, prefix: str, settings: QueueSettings = SETTINGS) -> None:
        self.client, self.prefix, self.settings = client, prefix, settings
        self.ahead_ms = self._ahead_of_made = 0
        self._made: list[RequestQueue] = []

    async def aclose(self) -> None:
        """Close what was made."""
        for queue in self._made:
            await queue.aclose()

    @property
    def keys(self) -> Keys:
        return Keys(self.prefix)

    @property
    def queue(self) -> RequestQueue:
        """The queue, by a clock that is ``ahead_ms`` ahead of the server's."""
        clock = f"""
            local function server_ms()
              local time = redis.call('TIME')
              return time[1] * 1000 + math.floor(time[2] / 1000) + {self.ahead_ms}
            end"""
        if not self._made or self._ahead_of_made != self.ahead_ms:
            queue = RequestQueue(
                self.client,
                self.prefix,
                self.settings,
                timeout_ms=5_000,
                clock=clock if self.ahead_ms else None,
            )
            self._made.append(queue)
            self._ahead_of_made = self.ahead_ms
        return self._made[-1]

    def key(self, part: str, campaign_id: str = CAMPAIGN) -> str:
        """One of the campaign's keys."""
        return self.keys.of_campaign(ACCOUNT, part, campaign_id)

    async def status(self, campaign_id: str = CAMPAIGN) -> CampaignStatus:
        """The campaign's figures, which must add up."""
        found = await self.queue.status(ACCOUNT, campaign_id)
        ended = found.model + found.mixed + found.fallback + found.dead
        left = found.waiting + found.running + found.stopped + found.forgotten
        assert found.added + found.rerun == ended + left
        return found

    async def put(self, body: bytes | None, campaign_id: str = CAMPAIGN) -> str:
        """Put something into a campaign's stream that nobody checked, and return its id."""
        fields: dict[Any, Any] = {"x": "1"} if body is None else {"b": body}
        await self.client.zadd(self.keys.part(ACCOUNT, "queues"), {campaign_id: 0})
        await self.client.hincrby(self.key("campaign", campaign_id), "added", 1)
        found: bytes = await self.client.xadd(self.key("queue", campaign_id), fields)
        return found.decode()

    async def switch(self, field: str, *, off: bool) -> None:
        """Switch something off or on, as the ledger keeps it."""
        limits = self.keys.part(ACCOUNT, "limits")
        if off:
            await self.client.hset(limits, field, "1\t1\toperator\tr1")
        else:
            await self.client.hdel(limits, field)

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
