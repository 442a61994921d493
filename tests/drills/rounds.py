"""Runs a round of a drill in a folder of its own."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.drills.drill import Drill, Round
from tests.drills.journals import DrillFailed
from tests.drills.progress import Done, Progress


def run_round(drill: Drill, number: int, strikes: int, progress: Progress) -> Done:
    """Run one round and say what was found. Its folder is kept if something did not hold."""
    rounds = len(drill.rounds(progress.scale))
    say(f"{drill.name}, round {number + 1} of {rounds}: {strikes} times ...")
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    seed = random.Random(f"{progress.seed}/{drill.name}/{number}").getrandbits(32)
    began_s = time.monotonic()
    counts, notes = {"strikes": strikes}, list[str]()
    try:
        found = asyncio.run(drill.run(Round(folder, seed, strikes)))
        counts |= found.counts
        wrong, notes = found.wrong, found.notes
    except (DrillFailed, AssertionError) as error:
        wrong = [f"{type(error).__name__}: {error}"]
    seconds = round(time.monotonic() - began_s, 1)
    told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    say(f"  {seconds} s: {told}")
    if wrong:
        wrong = [f"round {number + 1}, seed {seed}: {text}" for text in wrong]
        say(f"  {len(wrong)} FAULTS, first: {wrong[0]}\n  everything of it is in {folder}")
    else:
        shutil.rmtree(folder)
    ended_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Done(ended_at, seconds, counts, notes, wrong)


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for the terminal
