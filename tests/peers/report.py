"""The page that the command writes: ``docs/peers.md``."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.peers.accounting import Columns
from tests.peers.runs import LATER_S, Run
from tests.peers.scenario import (
    CALLERS,
    FAULT_RATE,
    KILL_AFTER_SHARE,
    LATENCY_MS,
    MARKED_SHARE,
)

_NOTES = Path(__file__).parent / "notes"
_FOLDER = "../tests/peers/configurations"
_UNKNOWN = "?"
_NONE = "no budget"

_BUDGETED: tuple[tuple[str, Callable[[Columns], Any]], ...] = (
    ("beyond the budget", lambda line: line.spent_beyond),
    ("held", lambda line: line.held),
    ("held later", lambda line: line.held_later),
    ("not counted", lambda line: line.not_counted),
    ("left over", lambda line: line.left_over),
    ("charged twice", lambda line: line.charged_twice),
)
_BETTER: tuple[tuple[str, Callable[[Columns], float | None], bool], ...] = (
    ("calls a second", lambda line: line.calls_a_second, True),
    ("CPU a call, ms", lambda line: line.cpu_ms, False),
    ("tokens beyond the budget", lambda line: line.spent_beyond, False),
    ("credits held at the end", lambda line: line.held, False),
    ("credits held later", lambda line: line.held_later, False),
    ("tokens not counted", lambda line: line.not_counted, False),
    ("credits left over", lambda line: line.left_over, False),
    ("tokens that reached nobody", lambda line: line.not_delivered, False),
    ("seconds until the last cut call had its end", lambda line: line.cut_settled_s, False),
)


def written(runs: Sequence[Run], calls: int, conditions: Mapping[str, Any], busy: str) -> str:
    """Return the page.

    Args:
        busy: what else ran on the machine; empty if nothing did.
    """
    intro = (
        (_NOTES / "page_intro.md")
        .read_text()
        .format(
            calls=calls,
            callers=CALLERS,
            killed=KILL_AFTER_SHARE,
            faults=FAULT_RATE,
            latency=LATENCY_MS,
            day=datetime.datetime.now(datetime.UTC).date(),
            cores=conditions["cores"],
            cpu=conditions["cpu"],
            system=conditions["system"],
            python=conditions["python"],
            load=conditions["load_average"],
            busy=f"; {busy}" if busy else "",
        )
    )
    parts = [
        intro,
        "## One process killed\n",
        *_table(runs, lambda run: run.killed, killed=True),
        (_NOTES / "page_columns.md").read_text().format(marked=MARKED_SHARE, later=LATER_S),
        "## The same without a kill\n",
        *_table(runs, lambda run: run.control, killed=False),
        "\n## Where creditgate is behind\n",
        *_behind(runs),
        "\n## The systems\n",
        *_systems(runs),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _table(
    runs: Sequence[Run], line_of: Callable[[Run], Columns | None], *, killed: bool
) -> Iterator[str]:
    heads = ["system", "calls a second", "CPU a call, ms", "provider's requests", "answered"]
    heads += ["refused", "failed", *(head for head, _ in _BUDGETED), "for failed calls"]
    if killed:
        heads += ["reached nobody", "cut, ended after"]
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join(['---'] * len(heads))} |"
    for run in runs:
        line = line_of(run)
        cells = [run.system.title]
        if line is None:
            yield f"| {run.system.title} | did not start: {run.failed} |{' |' * (len(heads) - 2)}"
            continue
        cells += [f"{line.calls_a_second:g}", f"{line.cpu_ms:g}", f"{line.provider_calls:,}"]
        failed = f"{line.failed:,}" + (f" and {line.broken:,} odd" if line.broken else "")
        cells += [f"{line.answered:,}", f"{line.refused:,}", failed]
        budgeted = run.system.has_budget
        cells += [_cell(value(line)) if budgeted else _NONE for _, value in _BUDGETED]
        cells.append(_failed_cell(run, line) if budgeted else _NONE)
        if killed:
            after = "" if line.cut_settled_s is None else f", {line.cut_settled_s:g} s"
            cells += [f"{line.not_delivered:,}", f"{line.cut:,}{after}"]
        yield f"| {' | '.join(cells)} |"


def _cell(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _failed_cell(run: Run, line: Columns) -> str:
    if line.failed_charged is not None:
        return f"{line.failed_charged:,}"
    held = run.control.held if run.control else None
    return _UNKNOWN if held is None else f"{held:,}*"


def _behind(runs: Sequence[Run]) -> Iterator[str]:
    """Say where another system's figure is better, by the table with a kill."""
    own = next((run.killed for run in runs if run.system.name == "creditgate"), None)
    if own is None:
        yield "creditgate did not run."
        return
    found = False
    for run in runs:
        if run.killed is None or run.system.name == "creditgate":
            continue
        for name, value, more in _BETTER:
            ours, theirs = value(own), value(run.killed)
            if ours is None or theirs is None:
                continue
            if theirs > ours if more else theirs < ours:
                found = True
                yield f"- {run.system.title}, {name}: {theirs:,g}, creditgate {ours:,g}"
    if not found:
        yield "In no column of this run."


def _systems(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        system = run.system
        yield f"### {system.title}\n"
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        files = ", ".join(f"[{name}]({_FOLDER}/{name})" for name in system.configuration)
        yield f"- versions: {versions or 'not installed'}"
        yield f"- configuration: {files}"
        yield f"- the same id again: {system.same_id}"
        yield f"- its books: {system.books}"
        yield (_NOTES / f"{system.name}.md").read_text().rstrip()
        for detail, count in run.odd.items():
            yield f"- odd answers: {count:,} times `{detail[:200]}`"
        yield ""
