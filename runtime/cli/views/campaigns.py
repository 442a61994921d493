"""Campaigns of the queue on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fallback.reasons import ReasonGroup
from runtime.cli.views.table import table
from runtime.wording.amounts import credits_text
from runtime.wording.campaigns import GROUPS, STATES, WITHOUT_REQUEST, time_text

if TYPE_CHECKING:
    from runtime.campaigns.progress import Progress


def progress_lines(found: Progress) -> Iterator[str]:
    """Yield how far a campaign is."""
    status = found.status
    yield (
        f"Campaign {status.campaign_id} in workspace {status.workspace_id}: " + STATES[status.state]
    )
    for target in found.switched_off:
        yield f"It waits: {target} is switched off."
    rows = [
        (f"{status.ended:,}", "done"),
        (f"{status.waiting:,}", "waiting"),
        (f"{status.running:,}", "running"),
        (f"{status.model:,}", "answered by the model"),
        (f"{status.mixed:,}", "answered in part"),
        (f"{status.fallback:,}", "got fallback values"),
    ]
    rows += [
        (f"{count:,}", text)
        for count, text in (
            (status.dead, "are dead letters: they can't be run"),
            (status.stopped, "were waiting when the campaign was stopped"),
            (status.forgotten, "were erased"),
        )
        if count
    ]
    yield from table(rows, right=(0,))
    if status.fallbacks:
        yield "Fallbacks (executions, because of ...)"
        yield from _by_group(status.fallbacks)
    if status.missed:
        yield "Not put back since (people, because of ...)"
        yield from _by_group(status.missed)
        if status.missed_gone:
            yield f"  {status.missed_gone:,} of them are {WITHOUT_REQUEST}."
    yield f"Credits used: {credits_text(status.charged_mc)}" + _expected(found)
    if found.left:
        yield f"Time left: {_time_left(found)}"


def progress_line(found: Progress) -> str:
    """Return how far a campaign is, in one line."""
    status = found.status
    return (
        f"{status.ended:,} done, {status.waiting:,} waiting, {status.running:,} running, "
        f"fallbacks {status.fallback:,}, credits used {credits_text(status.charged_mc)}"
        f"{_expected(found)}, time left {_time_left(found)}"
    )


def campaigns_lines(found: Sequence[Progress]) -> Iterator[str]:
    """Yield a table of campaigns."""
    if not found:
        yield "The account has no campaigns in its queue."
        return
    head = ("campaign", "workspace", "state", "done", "waiting", "fallbacks", "credits")
    rows = [
        (
            each.status.campaign_id,
            each.status.workspace_id,
            str(each.status.state),
            f"{each.status.ended:,}",
            f"{each.left:,}",
            f"{each.status.fallback:,}",
            credits_text(each.status.charged_mc),
        )
        for each in found
    ]
    yield from table([head, *rows], right=(3, 4, 5, 6))


def _by_group(found: Mapping[ReasonGroup, int]) -> Iterator[str]:
    rows = [(f"{count:,}", str(group), GROUPS[group]) for group, count in found.items()]
    yield from table(rows, right=(0,))


def _expected(found: Progress) -> str:
    if not found.left:
        return ""
    expected = found.expected_mc
    return f", {'not known yet' if expected is None else credits_text(expected)} expected"


def _time_left(found: Progress) -> str:
    left_ms = found.left_ms
    pace = found.per_second
    if left_ms is None:
        return "not known: nothing ended lately" if pace is None else "not known while it is held"
    if pace is None:
        return time_text(left_ms)
    return f"{time_text(left_ms)}, at {pace:,.1f} a second lately"
