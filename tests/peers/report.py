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

_INTRO = """# What people use today, under the same load

```console
$ make bench-peers            # written by it: {calls:,} calls a run, two runs a system
```

One scenario: an account, key or provider has a budget that pays for half of {calls:,} calls, {callers} callers
send them to two processes on one Redis, and one process is killed with SIGKILL once {killed:.0%} of the calls have
ended; nobody starts it again. {faults:.0%} of the calls meet a fault of the provider (500, 429 or 503, at their first
request). A caller whose connection is cut sends the call again to the other process, with the same id where the
system takes one. A token costs one credit, in and out alike, so that tokens, credits and millionths of a dollar
are the same. Retries inside the systems are off, so that a call that meets a fault is a call that failed.

The provider is one mock for all, in a process of its own, that answers after {latency:.0f} ms. It finds the call's id
in the prompt and writes down each request: what was really used is read from that log, and not from what a system
says. Each system runs twice on empty stores, first without the kill. All share two cores with the callers and the
provider.

Measured on {day} with {cores} cores ({cpu}), {system}, Python {python}; the load average was {load} as it began{busy}.
"""
_COLUMNS = """
- **calls a second, CPU a call**: over the first {marked:.0%} of the calls that were answered, while the budget pays;
  CPU is that of both processes and of Redis, user and system.
- **beyond the budget**: tokens that the provider was used for beyond the budget. **Reached nobody**: tokens of its
  answers that no caller received, because the process was killed; a provider bills them all the same.
- **held**: credits counted against the budget that no answer accounts for, three seconds after the last call, and
  {later} s after that. **Left over**: credits that no answer used, though calls were refused.
- **charged twice**: calls with more than one charge. **For failed calls**: credits charged for calls that failed.
  Both take books by call. Where a system has a counter alone, both are in *held*, and *for failed calls* is what is
  held in the run without a kill (marked *): nothing but failed calls can have left it there.
- **cut, ended after**: calls whose connection the kill cut, and seconds from the kill until the last had its end.
"""
_BUDGETED: tuple[tuple[str, Callable[[Columns], Any]], ...] = (
    ("beyond the budget", lambda line: line.spent_beyond),
    ("held", lambda line: line.held),
    ("held later", lambda line: line.held_later),
    ("left over", lambda line: line.left_over),
    ("charged twice", lambda line: line.charged_twice),
)
_BETTER: tuple[tuple[str, Callable[[Columns], float | None], bool], ...] = (
    ("calls a second", lambda line: line.calls_a_second, True),
    ("CPU a call, ms", lambda line: line.cpu_ms, False),
    ("tokens beyond the budget", lambda line: line.spent_beyond, False),
    ("credits held at the end", lambda line: line.held, False),
    ("credits held later", lambda line: line.held_later, False),
    ("credits left over", lambda line: line.left_over, False),
    ("tokens that reached nobody", lambda line: line.not_delivered, False),
    ("seconds until the last cut call had its end", lambda line: line.cut_settled_s, False),
)


def written(runs: Sequence[Run], calls: int, conditions: Mapping[str, Any], busy: str) -> str:
    """Return the page.

    Args:
        busy: what else ran on the machine; empty if nothing did.
    """
    intro = _INTRO.format(
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
    parts = [
        intro,
        "## One process killed\n",
        *_table(runs, lambda run: run.killed, killed=True),
        _COLUMNS.format(marked=MARKED_SHARE, later=LATER_S),
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
