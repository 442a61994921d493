"""Executions of a load start at their time, and their latencies count from it."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter

from runtime.actions.requests import ExecutionRequest
from runtime.load.generator import UNKNOWN, Generator
from runtime.load.settings import LoadSettings
from runtime.load.tally import Outcome
from runtime.load.workload import Workload

SETTINGS = LoadSettings(rate=100, seconds=1, run_id="unit")


class Caller:
    """Answers once it is let, and tells as soon as so many wait."""

    def __init__(self, *, at_once: bool, wanted: int = 1) -> None:
        self.let, self.come = asyncio.Event(), asyncio.Event()
        self.wanted = wanted
        self.waiting = self.most_waiting = 0
        if at_once:
            self.let.set()

    async def __call__(self, request: ExecutionRequest) -> Outcome:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        if self.waiting >= self.wanted:
            self.come.set()
        try:
            await self.let.wait()
            await asyncio.sleep(0.001)
        finally:
            self.waiting -= 1
        return Outcome("model", 7)


async def test_a_provider_that_stalls_holds_up_no_start_and_no_latency_is_left_out() -> None:
    caller, records = Caller(at_once=False, wanted=20), io.StringIO()
    generator = Generator(caller, Workload(SETTINGS), records)
    begin_s = time.time()
    running = asyncio.create_task(generator.run_at(100, begin_s, begin_s + 0.2, 30))
    await caller.come.wait()
    await asyncio.sleep(max(0.0, begin_s + 0.5 - time.time()))
    caller.let.set()
    await running
    tally = generator.take()
    assert (tally.started, tally.ended) == (20, 20), "all of them, though none had ended before"
    [first] = tally.latencies.percentiles([0.01])
    assert first is not None
    assert first >= 290, "the last one waited from 0.2 s to 0.5 s after the beginning"
    assert tally.charged_mc == 140
    lines = records.getvalue().splitlines()
    assert len(set(lines)) == 20
    assert all(line.endswith("\t7") for line in lines)


async def test_a_start_that_comes_late_counts_from_when_it_was_due() -> None:
    caller = Caller(at_once=True)
    generator = Generator(caller, Workload(SETTINGS), io.StringIO())
    begin_s = time.time() - 2
    await generator.run_at(10, begin_s, begin_s + 0.5, 30)
    tally = generator.take()
    assert tally.started == 5
    [least_delay, least] = [one.percentiles([0.01])[0] for one in (tally.delays, tally.latencies)]
    assert least_delay is not None
    assert least is not None
    assert min(least_delay, least) >= 1_500


async def test_callers_run_one_execution_after_the_other() -> None:
    caller = Caller(at_once=True)
    generator = Generator(caller, Workload(SETTINGS), io.StringIO())
    begin_s = time.time()
    await generator.run_callers(3, begin_s, begin_s + 0.1)
    tally = generator.take()
    assert tally.ended == tally.started >= 3
    assert caller.most_waiting <= 3


async def test_a_load_that_is_stopped_waits_for_what_runs_and_starts_nothing_more() -> None:
    caller = Caller(at_once=False)
    generator = Generator(caller, Workload(SETTINGS), io.StringIO())
    running = asyncio.create_task(generator.run_at(1_000, time.time(), time.time() + 60, 30))
    await caller.come.wait()
    generator.stop()
    await asyncio.sleep(0.05)
    started = caller.waiting
    assert not running.done()
    caller.let.set()
    await running
    assert generator.take().ended == started


async def test_a_load_that_is_cancelled_ends_at_once_and_notes_charges_as_unknown() -> None:
    caller, records = Caller(at_once=False), io.StringIO()
    generator = Generator(caller, Workload(SETTINGS), records)
    running = asyncio.create_task(generator.run_at(1_000, time.time(), time.time() + 60, 30))
    await caller.come.wait()
    generator.cancel()
    await running
    tally = generator.take()
    assert tally.statuses == Counter(failed=tally.started)
    assert {line.split("\t")[2] for line in records.getvalue().splitlines()} == {str(UNKNOWN)}


async def test_an_error_of_a_call_is_an_outcome_and_ends_no_load() -> None:
    async def call(request: ExecutionRequest) -> Outcome:
        raise RuntimeError("a fault")

    generator = Generator(call, Workload(SETTINGS), io.StringIO())
    begin_s = time.time()
    await generator.run_at(100, begin_s, begin_s + 0.05, 30)
    tally = generator.take()
    assert tally.reasons == Counter(RuntimeError=5)
    assert tally.statuses == Counter(failed=5)
