"""The worker processes of a drill: started, killed, started again, and ended in order."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.process import BaseProcess
from typing import Self

from tests.drills import worker
from tests.drills.plan import Plan

_END_WITHIN_S = 60.0

# Each worker is forked from a process that has imported everything, so that a start takes
# milliseconds: hundreds of deaths would otherwise be hours of imports.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.drills.worker"])


class Workers:
    """Use it as a context manager: no process outlives it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._running: dict[int, BaseProcess] = {}
        self.kills = 0

    def __enter__(self) -> Self:
        for number in range(self._plan.workers):
            self._start(number)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
            process.join(_END_WITHIN_S)

    def kill_one(self, chance: random.Random) -> None:
        """Kill a worker wherever it stands, and start its successor."""
        number = chance.randrange(self._plan.workers)
        process = self._running[number]
        assert process.is_alive(), self._told(number)
        process.kill()
        process.join(_END_WITHIN_S)
        self.kills += 1
        self._start(number)

    def wait_until_executing(self) -> None:
        """Wait until the ledger has answered each worker."""
        self._wait_for_more(dict.fromkeys(self._running, 0))

    def wait_until_going_on(self) -> None:
        """Wait until the ledger has answered each worker more than it has now."""
        self._wait_for_more({number: self._size(number) for number in self._running})

    def end(self) -> None:
        """Let all workers finish what is under way, and wait for them."""
        for process in self._running.values():
            process.terminate()
        for number, process in self._running.items():
            process.join(_END_WITHIN_S)
            assert process.exitcode == 0, self._told(number)

    def _start(self, number: int) -> None:
        process = _context.Process(target=worker.run, args=(self._plan.to_json(), number))
        process.start()
        self._running[number] = process

    def _wait_for_more(self, sizes: dict[int, int]) -> None:
        give_up_at_s = time.monotonic() + _END_WITHIN_S
        while any(self._size(number) <= size for number, size in sizes.items()):
            for number, process in self._running.items():
                assert process.is_alive(), self._told(number)
            assert time.monotonic() < give_up_at_s, f"nobody executes: {self._told(0)}"
            time.sleep(0.02)

    def _size(self, number: int) -> int:
        path = self._plan.told(number)
        return path.stat().st_size if path.exists() else 0

    def _told(self, number: int) -> str:
        path = self._plan.errors(number)
        text = path.read_text(errors="replace") if path.exists() else "nothing was written"
        return f"worker {number}: {text[-3_000:]}"
