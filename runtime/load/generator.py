"""Starts executions at their time, or as others end, and counts what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TextIO

from runtime.actions.requests import ExecutionRequest
from runtime.load.callers import Caller
from runtime.load.tally import Outcome, Tally
from runtime.load.workload import Workload

MOST_IN_FLIGHT = 20_000
"""Executions that one process runs at once. Beyond them the next ones wait, and their latency
counts from their time all the same."""

_OTHERS_TURN = 16

UNKNOWN = -1
"""A charge that its caller was not told."""


class Generator:
    """One process's share of a load.

    Latencies begin when an execution was to start, not when it did: one that waits, because those
    before it take long, is not left out of the figures (no coordinated omission).

    Args:
        records: gets a line for each execution that began: account, execution, charge.
    """

    def __init__(self, caller: Caller, workload: Workload, records: TextIO) -> None:
        self._caller = caller
        self._workload = workload
        self._records = records
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._room = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._fresh = Tally()
        self.unstarted = 0

    def take(self) -> Tally:
        """Return the counts since the last call."""
        fresh, self._fresh = self._fresh, Tally()
        return fresh

    def stop(self) -> None:
        """Start no more executions."""
        self._stopping.set()

    def cancel(self) -> None:
        """End what runs; credits that are set aside are given back."""
        self._stopping.set()
        for task in self._running:
            task.cancel()

    async def run_at(self, rate: float, begin_s: float, end_s: float, grace_s: float) -> None:
        """Start executions at a rate, and wait for all of them.

        Args:
            begin_s, end_s: instants of ``time.time``.
            grace_s: how long after the end those that wait may still be started.
        """
        number = 0
        while not self._stopping.is_set():
            intended_s = begin_s + number / rate
            if intended_s >= end_s:
                break
            if not await self._has_room(intended_s, end_s + grace_s):
                self.unstarted = int((end_s - intended_s) * rate)
                break
            if self._stopping.is_set():  # while it was waited
                break
            number += 1
            self._start(intended_s)
            if number % _OTHERS_TURN == 0:
                await asyncio.sleep(0)
        await self._drain()

    async def run_callers(self, callers: int, begin_s: float, end_s: float) -> None:
        """Let so many callers run executions one after the other, and wait for all of them."""

        async def call() -> None:
            await self._pause_until(begin_s)
            while not self._stopping.is_set() and (now_s := time.time()) < end_s:
                await self._run(self._workload.next(), now_s)

        for _ in range(callers):
            self._keep(asyncio.create_task(call()))
        await self._drain()

    def _start(self, intended_s: float) -> None:
        async def run() -> None:
            try:
                await self._run(self._workload.next(), intended_s)
            finally:
                self._room.release()

        self._keep(asyncio.create_task(run()))

    async def _has_room(self, intended_s: float, latest_s: float) -> bool:
        await self._pause_until(intended_s)
        try:
            async with asyncio.timeout(max(0.0, latest_s - time.time())):
                await self._room.acquire()
        except TimeoutError:
            return False
        return True

    async def _run(self, request: ExecutionRequest, intended_s: float) -> None:
        self._fresh.start((time.time() - intended_s) * 1000)
        outcome = Outcome("failed", None, frozenset({"cancelled"}))
        try:
            outcome = await self._caller(request)
        except Exception as error:  # noqa: BLE001 - a fault is a finding of the load, not its end
            outcome = Outcome("failed", None, frozenset({type(error).__name__}))
        finally:
            self._fresh.end(outcome, (time.time() - intended_s) * 1000)
            charged_mc = UNKNOWN if outcome.charged_mc is None else outcome.charged_mc
            self._records.write(f"{request.account_id}\t{request.execution_id}\t{charged_mc}\n")

    async def _pause_until(self, instant_s: float) -> None:
        delay_s = instant_s - time.time()
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _drain(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
