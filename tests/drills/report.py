"""Writes the page about a run: its conditions, and what was seen in each drill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.drills.drill import Drill
from tests.drills.progress import Done, Progress

_NAMED = 8
_ALWAYS = ("entries lost", "entries lost by the audit", "charges received and lost")
_COLUMNS = {
    "results received": "results",
    "charges received": "charged",
    "entries": "journal entries",
    "entries lost": "entries lost",
    "charges received and lost": "charges lost",
}

_RESULTS = "## The last run\n"


def write(path: Path, progress: Progress, drills: Sequence[Drill]) -> None:
    """Write the results behind what people wrote in the page."""
    about, _, _ = path.read_text().partition(_RESULTS) if path.exists() else ("", "", "")
    parts = [about + _RESULTS, _conditions(progress), _table(progress, drills)]
    parts += [_section(progress, drill) for drill in drills]
    path.write_text("\n".join(parts))


def _conditions(progress: Progress) -> str:
    ended = [done.ended_at for done in progress.rounds.values()]
    facts = {
        "seed": str(progress.seed),
        "scale": f"{progress.scale} per cent",
        **progress.conditions,
        "last round ended": max(ended, default="none did"),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n"


def _table(progress: Progress, drills: Sequence[Drill]) -> str:
    lines = [
        "| drill | times | " + " | ".join(_COLUMNS.values()) + " | minutes | books |",
        "| --- |" + " ---: |" * (len(_COLUMNS) + 2) + " --- |",
    ]
    for drill in drills:
        rounds = progress.of(drill)
        counts = _sum(rounds)
        cells = [f"{counts['strikes']:,} of {drill.strikes:,}"]
        cells += [f"{counts[name]:,}" for name in _COLUMNS]
        cells += [f"{sum(done.seconds for done in rounds) / 60:.1f}", _verdict(progress, drill)]
        lines.append(f"| [{drill.name}](#{drill.name}) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _verdict(progress: Progress, drill: Drill) -> str:
    rounds = progress.of(drill)
    if not rounds:
        return "not run"
    wrong = sum(len(done.wrong) for done in rounds)
    return f"{wrong} faults" if wrong else "hold"


def _section(progress: Progress, drill: Drill) -> str:
    rounds = progress.of(drill)
    text = [f"### {drill.name}\n", f"{drill.about}\n"]
    if why := progress.skipped.get(drill.name):
        text.append(f"Not run: {why}.\n")
    elif not rounds:
        text.append("Not run.\n")
    else:
        counts = _sum(rounds)
        told = ", ".join(
            f"{name} {value:,}"
            for name, value in counts.items()
            if name in _ALWAYS or (value and name != "strikes")
        )
        text.append(f"In {len(rounds)} rounds: {told}.\n")
    names = [note for done in rounds for note in done.notes]
    if names:
        more = f" and {len(names) - _NAMED} more ranges" if len(names) > _NAMED else ""
        text.append(f"Lost, by account and sequence: {', '.join(names[:_NAMED])}{more}.\n")
    text += [f"- FAULT: {wrong}" for done in rounds for wrong in done.wrong]
    return "\n".join(text) + ("\n" if text[-1].startswith("-") else "")


def _sum(rounds: Sequence[Done]) -> Counter[str]:
    total: Counter[str] = Counter()
    for done in rounds:
        for name, count in done.counts.items():
            total[name] += count  # unlike update, keeps the order and the zeros
    return total
