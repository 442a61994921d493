"""Values of the request queue: what is put in, taken out, and told about a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fallback.reasons import FallbackReason, ReasonGroup
from runtime.actions.requests import ExecutionRequest, ExecutionResult

MOST_AT_ONCE = 500
"""The requests that are added, or ended, in one script."""

MOST_REQUEST_BYTES = 256 * 1024
"""The largest request, as JSON."""

MOST_BYTES_AT_ONCE = 2 * 1024 * 1024
"""The bytes of requests that one script takes in or gives out, and at least one request."""

_DAY_MS = 86_400_000


class CampaignState(StrEnum):
    """The states of a campaign in the queue."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class DeadReason(StrEnum):
    """The reasons for which a request is a dead letter."""

    INVALID_REQUEST = "invalid_request"
    TOO_LARGE = "too_large"
    UNKNOWN_ACTION = "unknown_action"
    TOO_MANY_DELIVERIES = "too_many_deliveries"
    BODY_MISSING = "body_missing"
    EXECUTION_CONFLICT = "execution_conflict"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Bounds and retentions of the queue.

    Args:
        max_deliveries: how often a request is taken before it is a dead letter.
        most_waiting: of one campaign.
        missed_ms: how long requests that fell back are kept; ``dead_ms`` and ``results_ms``
            likewise.
        results_most: results kept of one account, the newest; Redis rounds it up by up to a node of
            the stream.
    """

    max_deliveries: int = 5
    most_waiting: int = 20_000_000
    missed_ms: int = 7 * _DAY_MS
    dead_ms: int = 7 * _DAY_MS
    results_ms: int = 1 * _DAY_MS
    results_most: int = 100_000

    @property
    def least_ms(self) -> int:
        """The shortest retention."""
        return min(self.missed_ms, self.dead_ms, self.results_ms)


@dataclass(frozen=True, slots=True)
class Added:
    """The end of an addition.

    Args:
        accepted: requests that were added; 0 where the import was past them already.
        position: rows of the import that are done with; 0 without an import.
    """

    accepted: int
    position: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A request that was taken from the queue.

    Args:
        deliveries: how often it was taken, this time included.
    """

    entry_id: str
    request: ExecutionRequest
    deliveries: int

    @property
    def enqueued_at_ms(self) -> int:
        """The instant at which it was put into the queue, by the server's clock."""
        return int(self.entry_id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Slice:
    """Requests of one campaign that were taken together.

    Args:
        more: true if there is more to take at once, of this campaign or another of the account.
        token: names this taking.
    """

    account_id: str
    campaign_id: str
    entries: tuple[Entry, ...]
    more: bool
    token: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an entry: a result, or the reason for which it is a dead letter.

    Args:
        detail: one line about a dead letter, without personal data.
    """

    entry: Entry
    result: ExecutionResult | None = None
    dead: DeadReason | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if (self.result is None) == (self.dead is None):
            raise ValueError("an entry ends with a result or as a dead letter, with one of them")


@dataclass(frozen=True, slots=True)
class CampaignStatus:
    """The figures of a campaign in the queue.

    ``added + rerun = waiting + running + model + mixed + fallback + dead + stopped + forgotten``.

    Args:
        waiting: requests that nobody has taken.
        running: requests that were taken and have not ended.
        stopped: requests that were moved to the missed ones when the campaign was stopped.
        fallbacks: executions that fell back, by group of reasons.
        missed: requests that fell back or were stopped and were not put back, by group.
        missed_gone: those of them that are not kept any more: they can't be put back.
        charged_mc: of all executions that ended.
        last_ms: when the last execution ended; 0 if none has.
        imports: rows that each import is done with.
        actions: requests that wait or run, by action.
        ended_lately: executions that ended within the last ``lately_ms``, one to two minutes.
    """

    campaign_id: str
    workspace_id: str
    state: CampaignState
    created_ms: int
    last_ms: int
    added: int
    rerun: int
    waiting: int
    running: int
    model: int
    mixed: int
    fallback: int
    dead: int
    stopped: int
    forgotten: int
    charged_mc: int
    fallbacks: Mapping[ReasonGroup, int] = field(default_factory=dict)
    missed: Mapping[ReasonGroup, int] = field(default_factory=dict)
    missed_gone: int = 0
    imports: Mapping[str, int] = field(default_factory=dict)
    actions: Mapping[str, int] = field(default_factory=dict)
    ended_lately: int = 0
    lately_ms: int = 0

    @property
    def ended(self) -> int:
        """The executions that ended with a result, or as a dead letter."""
        return self.model + self.mixed + self.fallback + self.dead

    def to_json(self) -> dict[str, Any]:
        """Return every figure in plain JSON types."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["state"] = str(self.state)
        for name in ("fallbacks", "missed"):
            plain[name] = {str(group): number for group, number in plain[name].items()}
        plain["imports"], plain["actions"] = dict(self.imports), dict(self.actions)
        return plain


def missed_reason(result: ExecutionResult) -> FallbackReason | None:
    """Return why a request is a missed one: all of its values fell back; ``None`` if it is not."""
    if result.status != "fallback":
        return None
    reasons = (origin.reason for origin in result.origins.values())
    return next((one for one in reasons if one is not None), FallbackReason.OUTCOME_LOST)
