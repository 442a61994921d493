"""``python -m tests.bench [--only NAME]``: exit status 1 if a goal is missed."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from tests.bench.catalog import BENCHMARKS
from tests.bench.conditions import say
from tests.bench.registry import Benchmark, run_all


def main(arguments: Sequence[str], benchmarks: Sequence[Benchmark]) -> int:
    """Run the benchmarks that were asked for; return the exit status."""
    names = [benchmark.name for benchmark in benchmarks]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Run the benchmarks; each prints one JSON object on a line of stdout.",
    )
    parser.add_argument(
        "--only", choices=names, metavar="NAME", help=f"run one of {', '.join(names)}"
    )
    only = parser.parse_args(arguments).only
    chosen = [benchmark for benchmark in benchmarks if only in (None, benchmark.name)]
    try:
        return 0 if run_all(chosen, sys.stdout) else 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


if __name__ == "__main__":
    # asyncio.run turns Ctrl-C into an orderly end, unless a shell has switched it off for what
    # runs in the background; let a termination be one as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    sys.exit(main(sys.argv[1:], BENCHMARKS))
