"""The course of one request of a slice: it waits for its place, runs, and ends or is given back."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionRequest, ExecutionResult, InvalidRequest, Pending
from runtime.actions.source import ActionSourceUnavailable, UnknownAction
from runtime.campaigns.run import MOST_OWN_TROUBLES
from runtime.credits.results import ExecutionConflict
from runtime.executions.action_runtime import ActionRuntime
from runtime.queue.entries import DeadReason, Ended, Entry
from runtime.worker.gates import Gates
from runtime.worker.holds import Holds, Leave, Passing, Place

_log = logging.getLogger("creditgate.worker")

_MOST_REMEMBERED = 100_000
_LONGEST_PAUSE_S = 5.0
_ASK_AGAIN_S = 1.0
_UNKNOWN_ACTION_S = 5.0


@dataclass(frozen=True, slots=True)
class GivenBack:
    """A request that is left to be taken again.

    Args:
        after_s: not before so long.
        counts: it counts as a delivery, of which there are only so many.
        reason: the reason for which it is a dead letter after the last delivery.
        is_held: it waits for a hold to end.
    """

    after_s: float = 0.0
    counts: bool = False
    reason: DeadReason | None = None
    is_held: bool = False


@dataclass(slots=True)
class _Own:
    """A person's own troubles: fallbacks while others got answers since the one before."""

    number: int
    place: Place
    start: int


class Courses:
    """Runs requests, each within the bounds of its endpoint and account, and by the holds.

    Args:
        patience_s: how long a hold lasts; 0 keeps every fallback as it comes.
    """

    def __init__(
        self,
        runtime: ActionRuntime,
        gates: Gates,
        holds: Holds,
        *,
        patience_s: float,
    ) -> None:
        self._runtime = runtime
        self._gates = gates
        self._holds = holds
        self._patience_s = patience_s
        self._own: OrderedDict[tuple[str, str], _Own] = OrderedDict()

    async def run(self, entry: Entry, begun: Callable[[], object]) -> Ended | GivenBack:
        """Run one request.

        Args:
            begun: called when its execution begins; until then nothing is lost by a cancellation.
        """
        request = entry.request
        try:
            endpoint = await self._endpoint(request)
            gate = self._gates.of(endpoint)
            await gate.enter(request.account_id)
            try:
                return await self._run(entry, endpoint, begun)
            finally:
                gate.leave(request.account_id)
        except UnknownAction:
            # Another worker may have a newer configuration.
            return GivenBack(_UNKNOWN_ACTION_S, counts=True, reason=DeadReason.UNKNOWN_ACTION)
        except ActionSourceUnavailable:
            return GivenBack(_ASK_AGAIN_S)
        except InvalidRequest:
            return Ended(entry, dead=DeadReason.INVALID_REQUEST)
        except ExecutionConflict:
            return Ended(entry, dead=DeadReason.EXECUTION_CONFLICT)
        except Exception:  # noqa: BLE001 - one request that fails must not end the others
            _log.exception("a request of campaign %s failed", request.campaign_id)
            return GivenBack(_ASK_AGAIN_S, counts=True, reason=DeadReason.FAILED)

    async def _endpoint(self, request: ExecutionRequest) -> str:
        action = request.action
        if isinstance(action, str):
            action = await self._runtime.actions.get(request.account_id, action)
        return self._runtime.endpoint_of(action) or ""

    async def _run(
        self, entry: Entry, endpoint: str, begun: Callable[[], object]
    ) -> Ended | GivenBack:
        request = entry.request
        leave = self._holds.start(endpoint, request.account_id)
        if leave is None:
            return GivenBack(self._pause_s(endpoint, request.account_id), is_held=True)
        try:
            begun()
            result = await self._runtime.execute(request)
            return await self._ended(entry, leave, result)
        finally:
            self._holds.unused(leave)

    async def _ended(
        self, entry: Entry, leave: Leave, result: ExecutionResult | Pending
    ) -> Ended | GivenBack:
        passing = self._holds.ended(leave, result, await self._resumes_in_s(entry.request, result))
        if isinstance(result, Pending):
            return GivenBack(result.retry_after_ms / 1000)
        if _is_switched_off(result):
            return GivenBack(_ASK_AGAIN_S)
        keeps = passing is None or self._holds.keeps_fallbacks(passing.place)
        if passing is None or keeps or not self._patience_s:
            self._own.pop(_id_of(entry), None)
            return Ended(entry, result)
        if self._holds.is_held(passing.place):
            return GivenBack(self._pause_s(leave.endpoint[1], leave.ledger[1]), is_held=True)
        if self._is_own(entry, passing):
            return Ended(entry, result)
        return GivenBack(_ASK_AGAIN_S)

    def _is_own(self, entry: Entry, passing: Passing) -> bool:
        """Return whether a person fell back so often, while others got answers, that it stays."""
        own = self._own.pop(_id_of(entry), None)
        if own is None or own.place != passing.place:
            own = _Own(0, passing.place, passing.start)
        elif self._holds.has_answered_since(own.place, own.start):
            own = _Own(own.number + 1, own.place, passing.start)
        if own.number >= MOST_OWN_TROUBLES:
            return True
        self._own[_id_of(entry)] = own
        if len(self._own) > _MOST_REMEMBERED:
            self._own.popitem(last=False)
        return False

    def _pause_s(self, endpoint: str, account_id: str) -> float:
        return min(self._holds.wait_s(endpoint, account_id), _LONGEST_PAUSE_S)

    async def _resumes_in_s(
        self, request: ExecutionRequest, result: ExecutionResult | Pending
    ) -> float:
        if isinstance(result, Pending) or result.status != "fallback":
            return 0.0
        action = request.action
        if isinstance(action, str):
            action = await self._runtime.actions.get(request.account_id, action)
        return self._runtime.resumes_in_ms(action) / 1000


def _id_of(entry: Entry) -> tuple[str, str]:
    return entry.request.account_id, entry.request.execution_id


def _is_switched_off(result: ExecutionResult) -> bool:
    reasons = {origin.reason for origin in result.origins.values()}
    return not result.kept and reasons == {FallbackReason.SWITCHED_OFF}
