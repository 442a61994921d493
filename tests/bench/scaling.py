"""``scaling_error``: coefficients of executions a second, and how well they foretell other runs.

``python -m tests.bench.scaling`` prints the coefficients, the runs that they come from, and what
they foretell beside what was measured.

An execution takes CPU of its process and CPU of Redis. Either is a part that is always there and a
part for each script call, which executions of an account share: ``ms = own + call x calls``. The
coefficients are fitted to runs of one process on one shard whose callers are spread over more and
more accounts, which makes the calls more and more. Then they foretell runs of one and two processes
on one and three shards, from those runs' calls. Comparing CPU and not time keeps the number of this
machine's cores out of it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.bench.conditions import machine, say
from tests.bench.registry import Measured
from tests.bench.scaling_runs import Run, Shards, fund, measure_run, open_shards
from tests.bench.stage import open_mock_provider

CALLERS = 128
_ROUNDS = 3
_EXECUTIONS = 3_000
_LATENCY_MS = 20
_ACCOUNTS = 48
_FITTED = (1, 6, 12, 48)
"""Accounts of the runs that the coefficients are fitted to."""
_FORETOLD = ((2, 1, 1), (2, 1, 12), (1, 3, 3), (1, 3, 12), (2, 3, 12))
"""Processes, shards and accounts of the runs that are foretold."""
_MOST_CALLS_A_BATCH = 48


@dataclass(frozen=True, slots=True)
class Line:
    """Milliseconds of CPU that an execution takes, by its script calls."""

    own_ms: float
    call_ms: float

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> Line:
        """Return the line with the least squared distance to points of calls and milliseconds."""
        call_ms, own_ms = statistics.linear_regression(*zip(*points, strict=True))
        return cls(round(own_ms, 4), round(call_ms, 4))

    def at(self, calls: float) -> float:
        """Return the milliseconds of an execution with so many script calls."""
        return self.own_ms + self.call_ms * calls


@dataclass(frozen=True, slots=True)
class Model:
    """The coefficients of executions a second."""

    worker: Line
    redis: Line
    route_ms: float
    """What calling the model itself adds to an execution on the direct route."""

    def per_s_of_a_core(self, calls: float) -> float:
        """Return executions a second of a core of workers."""
        return 1_000 / (self.worker.at(calls) + self.route_ms)

    def per_s_of_a_shard(self, calls: float) -> float:
        """Return executions a second of a shard, one thread."""
        return 1_000 / self.redis.at(calls)


def measure() -> Measured:
    """Measure the coefficients; the value is how far they were off at the worst."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    fitted, foretold, route_ms = await _run_all()
    model = Model(
        Line.through([(run.calls, run.worker_ms) for run in fitted]),
        Line.through([(run.calls, run.redis_ms) for run in fitted]),
        route_ms,
    )
    checks = [_check(model, run) for run in foretold]
    full_batches = 2 / _MOST_CALLS_A_BATCH
    return Measured(
        max(max(abs(check["worker_off"]), abs(check["redis_off"])) for check in checks),
        {
            "rounds": _ROUNDS,
            "callers_of_a_process": CALLERS,
            "latency_ms": _LATENCY_MS,
            "coefficients": asdict(model),
            "per_s_of_a_core": {
                calls: round(model.per_s_of_a_core(calls)) for calls in (0.1, 1.0, 2.0)
            },
            "per_s_of_a_shard": {
                calls: round(model.per_s_of_a_shard(calls)) for calls in (0.1, 1.0, 2.0)
            },
            "per_s_of_a_hot_account": round(model.per_s_of_a_shard(full_batches)),
            "fitted": [asdict(run) for run in fitted],
            "foretold": checks,
        },
    )


def _check(model: Model, run: Run) -> dict[str, float]:
    worker_ms, redis_ms = model.worker.at(run.calls), model.redis.at(run.calls)
    return {
        **asdict(run),
        "worker_foretold_ms": round(worker_ms, 4),
        "worker_off": round(worker_ms / run.worker_ms - 1, 3),
        "redis_foretold_ms": round(redis_ms, 4),
        "redis_off": round(redis_ms / run.redis_ms - 1, 3),
    }


async def _run_all() -> tuple[list[Run], list[Run], float]:
    """Return the runs that are fitted, those that are foretold, and the cost of the route."""
    with open_shards(1, _ACCOUNTS) as one, open_shards(3, _ACCOUNTS) as three:
        shards = {1: one, 3: three}
        for each in shards.values():
            await fund(each)
        measured = _Measuring(shards)
        rounds = [await measured.round() for _ in range(_ROUNDS)]
    by_kind = list(zip(*rounds, strict=True))
    runs = [_median(kind) for kind in by_kind]
    with_route, fitted, foretold = runs[0], runs[1 : 1 + len(_FITTED)], runs[1 + len(_FITTED) :]
    return fitted, foretold, round(with_route.worker_ms - fitted[0].worker_ms, 4)


class _Measuring:
    """Runs one after the other, each of people who were never asked about before."""

    def __init__(self, shards: dict[int, Shards]) -> None:
        self._shards = shards
        self._first = 0

    async def round(self) -> list[Run]:
        """Run each kind once: first with the route, then those to fit, then those to foretell."""
        async with open_mock_provider({"--latency-median-ms": _LATENCY_MS}) as url:
            runs = [await self._run(1, 1, 1, url)]
        runs += [await self._run(1, 1, accounts) for accounts in _FITTED]
        return runs + [await self._run(*kind) for kind in _FORETOLD]

    async def _run(self, processes: int, shards: int, accounts: int, url: str = "") -> Run:
        run = await measure_run(
            self._shards[shards],
            processes=processes,
            executions=_EXECUTIONS,
            callers=CALLERS,
            accounts=accounts,
            first=self._first,
            latency_ms=_LATENCY_MS,
            provider_url=url,
        )
        self._first += processes
        say(f"  {run}")
        return run


def _median(runs: Sequence[Run]) -> Run:
    """Return runs of one kind as one, each figure their median."""
    first = asdict(runs[0])
    return Run(**{name: statistics.median(getattr(run, name) for run in runs) for name in first})


def main() -> None:
    """Print the coefficients and the runs."""
    around = machine()
    measured = measure()
    print(json.dumps({"value": measured.value, **measured.conditions, **around}, indent=2))


if __name__ == "__main__":
    main()
