"""The benchmarks by name, and the one line of JSON that each of them prints."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, TextIO

from tests.bench.conditions import machine, say


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, and under which conditions it came about."""

    value: float
    conditions: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One figure. With neither ``at_most`` nor ``at_least`` it is reported alone."""

    name: str
    unit: str
    measure: Callable[[], Measured]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def goal(self) -> float | None:
        """The figure to reach."""
        return self.at_least if self.at_most is None else self.at_most

    def reached(self, value: float) -> bool:
        """Return whether the figure is as good as it should be."""
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )


def run_all(benchmarks: Iterable[Benchmark], out: TextIO) -> bool:
    """Run them one after the other, a line each on ``out``; return whether all goals are reached.

    One that breaks has no value and has not reached its goal; the others are run all the same.
    """
    good = True
    for benchmark in benchmarks:
        line = _run(benchmark)
        print(json.dumps(line, ensure_ascii=False), file=out, flush=True)
        good = good and bool(line["ok"])
    return good


def _run(benchmark: Benchmark) -> dict[str, Any]:
    say(f"{benchmark.name} ...")
    around = machine()
    value: float | None = None
    ok = False
    try:
        # Whatever libraries print must not come between the lines.
        with redirect_stdout(sys.stderr):
            measured = benchmark.measure()
    except Exception as error:  # noqa: BLE001 - the others must still be measured
        traceback.print_exc(file=sys.stderr)
        conditions: dict[str, Any] = {"error": f"{type(error).__name__}: {error}", **around}
    else:
        value = round(measured.value, 3)
        ok = benchmark.reached(value)
        conditions = {**measured.conditions, **around}
    return {
        "name": benchmark.name,
        "value": value,
        "unit": benchmark.unit,
        "goal": benchmark.goal,
        "ok": ok,
        "conditions": conditions,
    }
