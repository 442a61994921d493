"""``processes_cpu_ratio``: the CPU of an execution of a run in two processes, against one process."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from creditgate import ActionSpec
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people import PeopleFile
from runtime.campaigns.run import CampaignRun, Runner
from runtime.cli.views.results import ResultsFile
from runtime.event_loop import new_event_loop
from runtime.process_pool.pool import ProcessPool, open_pool
from tests.bench.conditions import median, say, spread
from tests.bench.registry import Measured
from tests.bench.stage import ACCOUNT, Stage, open_stage
from tests.harness.paths import ROOT

_PEOPLE = ROOT / "runtime" / "demo_data" / "banking77" / "people.csv"
_ACTION = "route_message"
_ROUNDS = 7
_PEOPLE_A_ROUND = 1_500
_CONCURRENCY = 128
_LATENCY_MS = 20
_TICKS = os.sysconf("SC_CLK_TCK")


def measure() -> Measured:
    """Measure whole runs, as `run` makes them once everything is open."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_measure())


async def _measure() -> Measured:
    async with (
        open_stage(latency_ms=_LATENCY_MS) as stage,
        open_pool(stage.config, 2) as pool,
    ):
        spec = stage.config.actions[_ACTION]
        await _run_ms(stage, stage.runtime, [], spec, "warm-up-one")
        await _run_ms(stage, pool, pool.pids, spec, "warm-up-two")
        rounds: list[tuple[float, float]] = []
        rates: list[tuple[float, float]] = []
        for number in range(_ROUNDS):
            of_two = await _run_ms(stage, pool, pool.pids, spec, f"two{number}")
            of_one = await _run_ms(stage, stage.runtime, [], spec, f"one{number}")
            rounds.append((of_two[0], of_one[0]))
            rates.append((of_two[1], of_one[1]))
            say(f"  {number + 1} of {_ROUNDS}: {of_two[0]:.3f} ms and {of_one[0]:.3f} ms")
    ratios = [two / one for two, one in rounds]
    return Measured(
        median(ratios),
        {
            **spread(ratios),
            "cpu_ms_with_two": median([two for two, _ in rounds]),
            "cpu_ms_with_one": median([one for _, one in rounds]),
            "people_per_s_with_two": median([two for two, _ in rates]),
            "people_per_s_with_one": median([one for _, one in rates]),
            "people_a_round": _PEOPLE_A_ROUND,
            "concurrency": _CONCURRENCY,
            "latency_median_ms": _LATENCY_MS,
            "redis_server": stage.redis,
        },
    )


async def _run_ms(
    stage: Stage, runner: Runner | ProcessPool, pids: list[int], spec: ActionSpec, name: str
) -> tuple[float, float]:
    """Run a campaign of new people; return the CPU of each in ms, and how many a second."""
    campaign = Campaign(ACCOUNT, "bench", name, spec)
    people = PeopleFile(_PEOPLE)
    with ResultsFile(stage.folder / f"{name}.jsonl") as results:
        run = CampaignRun(runner, campaign, concurrency=_CONCURRENCY, on_result=results.write)
        since_s, cpu_s = time.perf_counter(), _cpu_s(pids)
        tally = await run.run(people.read(limit=_PEOPLE_A_ROUND))
        cpu_s, seconds = _cpu_s(pids) - cpu_s, time.perf_counter() - since_s
    if tally.model != _PEOPLE_A_ROUND:
        raise RuntimeError(f"not everybody was answered: {tally}")
    return cpu_s / _PEOPLE_A_ROUND * 1000, _PEOPLE_A_ROUND / seconds


def _cpu_s(pids: list[int]) -> float:
    """Return the CPU time of this process and others, in user and system mode."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / _TICKS
