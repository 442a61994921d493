"""Progress of a campaign in the queue: how far it is, what it costs, how long it still takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.credits.results import Switch
from runtime.queue.entries import CampaignState, CampaignStatus


@dataclass(frozen=True, slots=True)
class Progress:
    """A campaign's figures, and what follows from them.

    Args:
        switched_off: what is off and so holds the campaign back, as ``workspace retail``.
    """

    status: CampaignStatus
    switched_off: Sequence[str] = ()

    @property
    def left(self) -> int:
        """The requests that have not ended."""
        return self.status.waiting + self.status.running

    @property
    def total(self) -> int:
        """The requests that ended and that are left."""
        status = self.status
        return self.left + status.ended + status.stopped + status.forgotten

    @property
    def expected_mc(self) -> int | None:
        """The charge at the end, if those that are left cost as much as those that ended.

        ``None`` while none has ended that could say so.
        """
        status = self.status
        answered = status.model + status.mixed + status.fallback
        if not self.left:
            return status.charged_mc
        if not answered:
            return None
        return status.charged_mc + -(-status.charged_mc * self.left // answered)

    @property
    def per_second(self) -> float | None:
        """The executions a second that ended lately; ``None`` if none did."""
        status = self.status
        if not status.ended_lately or not status.lately_ms:
            return None
        return status.ended_lately * 1_000 / status.lately_ms

    @property
    def left_ms(self) -> int | None:
        """The time until all have ended, at the pace of lately; ``None`` if that is not known."""
        if not self.left:
            return 0
        is_held = self.status.state is not CampaignState.RUNNING or self.switched_off
        pace = self.per_second
        return None if is_held or pace is None else round(self.left / pace * 1_000)

    def to_json(self) -> dict[str, Any]:
        """Return all figures in plain JSON types."""
        pace = self.per_second
        return self.status.to_json() | {
            "ended": self.status.ended,
            "left": self.left,
            "total": self.total,
            "expected_mc": self.expected_mc,
            "per_second": None if pace is None else round(pace, 3),
            "left_ms": self.left_ms,
            "switched_off": list(self.switched_off),
        }


def progress_of(status: CampaignStatus, switches: Iterable[Switch]) -> Progress:
    """Return the progress of a campaign, given what is off of its account."""
    own = {"account", f"workspace {status.workspace_id}", f"campaign {status.campaign_id}"}
    own |= {f"action {action_id}" for action_id in status.actions}
    return Progress(status, [each.target for each in switches if each.target in own])
