"""Processes of a drill: started, killed, started again, and ended in order."""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

from tests.drills.plan import Plan

END_WITHIN_S = 60.0

# Each is forked from a process that has imported everything, so that a start takes milliseconds:
# hundreds of deaths would otherwise be hours of imports.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.drills.worker", "tests.drills.archiver"])


class Processes:
    """Some processes that do the same. Use it as a context manager: none outlives it.

    Args:
        run: called in each process with the plan, as JSON, and the number of the process.
        errors: returns the file of what a process writes to stderr.
    """

    def __init__(
        self,
        plan: Plan,
        count: int,
        run: Callable[[str, int], None],
        errors: Callable[[int], Path],
    ) -> None:
        self._plan = plan
        self._count = count
        self._run = run
        self._errors = errors
        self.running: dict[int, BaseProcess] = {}
        self.kills = 0

    def __enter__(self) -> Self:
        for number in range(self._count):
            self.start(number)
        return self

    def __exit__(self, *_: object) -> None:
        # All of this drill: an interruption may come before one that was started is noted.
        for process in multiprocessing.active_children():
            process.kill()
            process.join(END_WITHIN_S)

    def start(self, number: int) -> BaseProcess:
        """Start the process of a number."""
        process = _context.Process(target=self._run, args=(self._plan.to_json(), number))
        process.start()
        self.running[number] = process
        return process

    def kill_one(self, chance: random.Random) -> None:
        """Kill a process wherever it stands, and start its successor."""
        self.kill(chance.randrange(self._count))

    def kill(self, number: int) -> None:
        """Kill the process of a number wherever it stands, and start its successor."""
        process = self.running[number]
        assert process.is_alive(), self.told(number)
        process.kill()
        process.join(END_WITHIN_S)
        self.kills += 1
        self.start(number)

    def end(self) -> None:
        """Let all processes finish what is under way, and wait for them."""
        for process in self.running.values():
            process.terminate()
        for number, process in self.running.items():
            process.join(END_WITHIN_S)
            # One that had only just been started may not have got as far as to listen.
            assert process.exitcode in (0, -signal.SIGTERM), self.told(number)

    def told(self, number: int) -> str:
        """Return the last that a process wrote to stderr."""
        path = self._errors(number)
        text = path.read_text(errors="replace") if path.exists() else "nothing was written"
        return f"{path.name}: {text[-3_000:]}"
