"""Sentences about campaigns in the queue."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fallback.reasons import ReasonGroup

STATES: Mapping[str, str] = MappingProxyType(
    {
        "running": "running",
        "paused": "paused: what waits stays in the queue",
        "stopped": "stopped: what waited can be put back once it is resumed",
    }
)
"""The states of a campaign, to stand after its name."""

CHANGED: Mapping[str, str] = MappingProxyType(
    {
        "pause": "The campaign is paused. What runs ends, and what waits stays in the queue.",
        "resume": "The campaign goes on.",
        "stop": "The campaign is stopped. What runs ends; workers move what waits to the missed "
        "requests, from where `creditgate campaign rerun` puts it back after a resume.",
    }
)
"""The end of a change, by the change."""

GROUPS: Mapping[ReasonGroup, str] = MappingProxyType(
    {
        ReasonGroup.CREDITS: "the account's credits did not pay for it",
        ReasonGroup.LIMITS: "a cap, a switch, a stop or a time limit",
        ReasonGroup.PROMPT: "the prompt could not be made for the person",
        ReasonGroup.MODEL: "the model or its provider gave no usable answer",
        ReasonGroup.SERVICE: "the service's own ledger could not be reached",
    }
)
"""The groups of reasons, to stand after a number of people."""

WITHOUT_REQUEST = (
    "without a retained request: it was kept for too long, or erased; enqueue them again"
)
"""People who can't be put back, to stand after their number."""


def enqueued_lines(
    campaign_id: str,
    people: int,
    accepted: int,
    position: int,
    *,
    dry_run: bool,
    interrupted: bool,
) -> list[str]:
    """Return the end of an import.

    Args:
        people: of the file.
        accepted: those that were added now.
        position: those of the import that are in the queue.
    """
    left = max(0, people - position)
    if dry_run:
        known = f", {position:,} of them are there already" if position else ""
        first = f"{people:,} people for campaign {campaign_id}{known}."
        return [first, f"Without --dry-run, {left:,} would be added."]
    lines = [f"{accepted:,} people were added to campaign {campaign_id}."]
    if earlier := position - accepted:
        lines.append(f"{earlier:,} of the same import were there already.")
    if interrupted:
        lines.append(
            f"{left:,} of {people:,} are not in the queue yet: run the same command again for them."
        )
    return lines


def put_back_lines(put_back: int, left: int) -> list[str]:
    """Return the end of a rerun; ``left`` people could not be put back."""
    lines = [f"{put_back:,} people were put back into the queue."]
    if left:
        lines.append(
            f"{left:,} could not be: they were put back too often, or their request broke."
        )
    return lines


def time_text(duration_ms: int) -> str:
    """Return a duration down to the second where it is short.

    >>> time_text(95_000)
    '1 min 35 s'
    """
    seconds = -(-duration_ms // 1_000)
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    found = [(count, unit) for count, unit in parts if count]
    if not found:
        return "0 s"
    first = parts.index(found[0])
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)
