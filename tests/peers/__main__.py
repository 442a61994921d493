"""``python -m tests.peers [--only NAME] [--calls N] [--report PATH]``: one line a system."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.conditions import machine, say
from tests.peers.catalog import SYSTEMS
from tests.peers.report import written
from tests.peers.runs import run_system


def main(arguments: Sequence[str]) -> int:
    """Run the systems that were asked for; write the report if all were."""
    names = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("--only", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--calls", type=int, default=1_000, help="the calls of each run")
    parser.add_argument("--report", type=Path, help="the page to write")
    parser.add_argument("--busy", default="", help="what else runs on the machine, for the page")
    asked = parser.parse_args(arguments)
    conditions = machine()
    runs = []
    for system in SYSTEMS:
        if asked.only in (None, system.name):
            run = asyncio.run(run_system(system, asked.calls))
            runs.append(run)
            line = {
                "system": system.name,
                "versions": dict(run.versions),
                "failed": run.failed or None,
                "control": run.control and run.control.as_json(),
                "killed": run.killed and run.killed.as_json(),
            }
            print(json.dumps(line), flush=True)
    if asked.report and not asked.only:
        asked.report.write_text(written(runs, asked.calls, conditions, asked.busy))
        say(f"written to {asked.report}")
    return 0


if __name__ == "__main__":
    # A termination is an orderly end, too, also where a shell has switched Ctrl-C off for what
    # runs in the background: nothing that was started outlives it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
