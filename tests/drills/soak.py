"""Half an hour of load with faults: what runs all the while keeps its memory and its open files.

The provider fails all the time, Redis is ended or killed once a minute, and so is a worker. The
other workers and the archiver run through all of it, and are looked at every second.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import defaultdict
from collections.abc import Mapping

from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.plan import Plan
from tests.drills.steadiness import Sample, Trend, look
from tests.drills.workers import Workers
from tests.harness.servers import NEWER, Server, program

_STRIKE_S = 60.0
_LOOK_EVERY_S = 1.0
_STEADY = 2
"""Workers that nobody kills."""


async def _run(this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = Server(program(NEWER), this.folder / "redis")
    server.start()
    try:
        plan = Plan(
            str(this.folder),
            server.url,
            _STEADY + 1,
            own_accounts=False,
            at_once=1,
            faults=0.1,
            timeout_ms=500,
        )
        await open_accounts(plan)
        samples: dict[str, list[Sample]] = defaultdict(list)
        with Workers(plan) as workers, Archivers(plan, 1) as archivers:
            workers.wait_until_executing()
            watched = {f"worker {number}": workers.running[number].pid for number in range(_STEADY)}
            watched["archiver"] = archivers.running[0].pid
            for number in range(this.strikes):
                moments_s = sorted(chance.uniform(0.1, 0.8) * _STRIKE_S for _ in range(2))
                began_s = time.monotonic()
                await _watch(watched, samples, began_s + moments_s[0])
                server.stop(signal.SIGKILL if number % 2 else signal.SIGTERM)
                await _watch(watched, samples, time.monotonic() + chance.random())
                server.start()
                await _watch(watched, samples, began_s + moments_s[1])
                workers.kill(_STEADY)
                await _watch(watched, samples, began_s + _STRIKE_S)
            workers.wait_until_going_on()
            workers.end()
            archivers.end()
        found = await check(plan)
        found.counts["workers killed"] = workers.kills
        found.counts["servers ended"] = this.strikes
        _judge(found, samples)
        return found
    finally:
        server.stop()


async def _watch(
    watched: Mapping[str, int | None], samples: dict[str, list[Sample]], until_s: float
) -> None:
    """Look at the processes until it is time."""
    while (left_s := until_s - time.monotonic()) > 0:
        for name, pid in watched.items():
            if pid is not None and (sample := look(pid)) is not None:
                samples[name].append(sample)
        await asyncio.sleep(min(left_s, _LOOK_EVERY_S))


def _judge(found: Findings, samples: Mapping[str, list[Sample]]) -> None:
    """Report the slopes, and what grows."""
    for name, seen in samples.items():
        trend = Trend.of(seen)
        found.counts[f"{name} KB"] = round(trend.memory_kb)
        found.counts[f"{name} KB a minute"] = round(trend.memory_kb_a_minute)
        a_thousand_minutes = 1_000 * trend.descriptors_a_minute
        found.counts[f"{name} open files per 1,000 minutes"] = round(a_thousand_minutes)
        found.wrong += [f"{name}: {text}" for text in trend.growth()]


SOAK = Drill(
    "soak",
    "minutes of load in which the provider fails, Redis is ended and a worker is killed; memory "
    "and open files of what runs all the while stay",
    strikes=30,
    each=30,
    run=_run,
)
