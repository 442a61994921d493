"""The processes of a race: started, killed by the test, and started again."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Self

from tests.harness.paths import ROOT
from tests.harness.races.course import Course

_START_WITHIN_S = 60


class Crew:
    """Use it as an async context manager: no process outlives it."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._ready: dict[tuple[str, int], Process] = {}
        self._keepers: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.kills = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)

    def keep_running(self, role: str, number: int) -> asyncio.Task[None]:
        """Start a process, and again whenever it was killed; the task is done when it ends."""
        keeper = asyncio.create_task(self._keep(role, number))
        self._keepers[role, number] = keeper
        return keeper

    async def kill_one(self, role: str, chance: random.Random) -> None:
        """Kill a process of this role, unless all have ended."""
        while any(name == role and not task.done() for (name, _), task in self._keepers.items()):
            ready = [process for (name, _), process in self._ready.items() if name == role]
            if ready:
                process = chance.choice(ready)
                process.kill()
                self.kills += 1
                await process.wait()
                return
            await asyncio.sleep(0.01)

    async def dismiss(self, role: str) -> None:
        """Kill the processes of a role, for good."""
        keepers = [task for (name, _), task in self._keepers.items() if name == role]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def freeze(self, role: str, number: int) -> None:
        """Let a process do no more; ``dismiss`` then kills it where it stands."""
        while (role, number) not in self._ready:  # noqa: ASYNC110 - it may be starting
            await asyncio.sleep(0.01)
        self._ready[role, number].send_signal(signal.SIGSTOP)

    async def _keep(self, role: str, number: int) -> None:
        code = -signal.SIGKILL
        while code == -signal.SIGKILL:
            code = await self._run(role, number)
        if code:
            told = self._errors(role, number).read_text()
            raise AssertionError(f"{role} {number} ended with {code}:\n{told[-4_000:]}")

    async def _run(self, role: str, number: int) -> int:
        with self._errors(role, number).open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(
                    "-m",
                    f"tests.harness.races.{role}",
                    self._course.to_json(),
                    str(number),
                ),
                cwd=ROOT,
                stdin=PIPE,
                stdout=PIPE,
                stderr=errors,
            )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_START_WITHIN_S):
                if await process.stdout.readline() == b"ready\n":
                    self._ready[role, number] = process
            return await process.wait()
        finally:
            self._ready.pop((role, number), None)
            if process.returncode is None:
                process.kill()
            await process.communicate()

    def _errors(self, role: str, number: int) -> Path:
        return Path(self._course.folder) / f"{role}-{number}.stderr"
