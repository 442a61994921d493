"""The estimate of a rerun on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runtime.cli.views.table import table
from runtime.wording.amounts import credits_text
from runtime.wording.campaigns import GROUPS, WITHOUT_REQUEST
from runtime.wording.estimates import reach_text

if TYPE_CHECKING:
    from runtime.campaigns.launch_check import LaunchCheck
    from runtime.campaigns.rerun import RerunEstimate
    from runtime.queue.retained import Rerun


def rerun_lines(found: RerunEstimate) -> Iterator[str]:
    """Yield who may be put back, and what it costs."""
    missed = found.missed
    if not missed.people:
        yield f"Nobody of campaign {missed.campaign_id} can be put back for these reasons."
    else:
        yield f"Campaign {missed.campaign_id}: {missed.people:,} people can be put back"
        rows = [
            (f"{count.kept:,}", str(group), GROUPS[group])
            for group, count in missed.counts.items()
            if count.kept
        ]
        yield from table(rows, right=(0,))
    if missed.gone:
        yield f"{missed.gone:,} people are {WITHOUT_REQUEST}."
    for action_id in found.unknown_actions:
        yield f"There is no action {action_id!r} now: its people can't be run."
    if found.check is not None:
        yield from _cost_lines(found.check)


def rerun_json(found: RerunEstimate, ended: Rerun | None) -> dict[str, Any]:
    """Return the estimate and the end of a rerun in plain JSON types."""
    return found.to_json() | {
        "put_back": 0 if ended is None else ended.put_back,
        "not_put_back": 0 if ended is None else ended.left,
    }


def _cost_lines(check: LaunchCheck) -> Iterator[str]:
    cost = check.cost
    yield "Credits, if all of them get a new answer"
    yield from table(
        [
            ("expected", credits_text(cost.expected_mc)),
            ("likely from", credits_text(cost.low_mc)),
            ("to", credits_text(cost.high_mc)),
            ("at most", credits_text(cost.worst_mc)),
        ],
        right=(1,),
    )
    yield reach_text(check.reach, check.people)
    for warned in check.warnings:
        yield f"warning: {warned.text}"
