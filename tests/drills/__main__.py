"""``python -m tests.drills [--only NAME]``: exit status 1 if something did not hold."""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.drills import report
from tests.drills.catalog import DRILLS
from tests.drills.progress import Progress, name_of
from tests.drills.rounds import run_round, say
from tests.harness.servers import NEWER, program


def main(arguments: Sequence[str]) -> int:
    """Run the drills that were asked for; return the exit status."""
    asked = _parse(arguments)
    progress = _begin(asked)
    _keep(asked, progress)
    drills = [drill for drill in DRILLS if asked.only in (None, drill.name)]
    try:
        for drill, number, strikes in progress.left(drills):
            if why := drill.needs():
                progress.skipped[drill.name] = why
                say(f"{drill.name} is left out: {why}")
            else:
                progress.skipped.pop(drill.name, None)
                progress.rounds[name_of(drill, number)] = run_round(
                    drill, number, strikes, progress
                )
            _keep(asked, progress)
    except KeyboardInterrupt:
        say("interrupted" + (f"; go on with --resume {asked.resume}" if asked.resume else ""))
        return 130
    _keep(asked, progress)
    wrong = [text for drill in drills for done in progress.of(drill) for text in done.wrong]
    for text in wrong:
        say(f"FAULT: {text}")
    return 1 if wrong else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = [drill.name for drill in DRILLS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.drills",
        description="Kill servers and processes under load, and check the books.",
    )
    parser.add_argument("--only", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--scale", type=int, metavar="PER_CENT", help="1 to 100; 100 by default")
    parser.add_argument("--seed", type=int, help="what is drawn; another one each time by default")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="keeps what is done, and is gone on from"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="writes a page about the run, as Markdown"
    )
    asked = parser.parse_args(arguments)
    if asked.scale is not None and not 1 <= asked.scale <= 100:
        parser.error("--scale: found a number that is not one of 1 to 100")
    return asked


def _begin(asked: argparse.Namespace) -> Progress:
    if asked.resume is not None and asked.resume.exists():
        progress = Progress.read(asked.resume)
        for name in ("seed", "scale"):
            if getattr(asked, name) not in (None, getattr(progress, name)):
                raise SystemExit(
                    f"{asked.resume} has a run with {name} {getattr(progress, name)}: go on with "
                    "that, or name another file"
                )
        done = len(progress.rounds)
        say(f"{asked.resume}: {done} rounds are done, seed {progress.seed}")
        return progress
    seed = random.SystemRandom().getrandbits(32) if asked.seed is None else asked.seed
    say(f"seed {seed}")
    return Progress(seed, asked.scale or 100, _conditions())


def _keep(asked: argparse.Namespace, progress: Progress) -> None:
    if asked.resume is not None:
        progress.write(asked.resume)
    if asked.report is not None:
        report.write(asked.report, progress, DRILLS)


def _conditions() -> dict[str, str]:
    server = subprocess.run(
        [program(NEWER), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return {
        "begun": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "creditgate": version("creditgate"),
        "server": " ".join(server.split()[:3]),
        "redis-py": version("redis"),
        "Python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Not asyncio's way, which waits for the next await: a drill spends its time asleep.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main(sys.argv[1:]))
