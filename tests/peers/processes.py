"""Processes of a run: started, killed, measured, and ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from tests.harness.paths import ROOT

_TICKS = os.sysconf("SC_CLK_TCK")
_LINES_KEPT = 100
_START_S, _END_S, _ASK_S = 180.0, 15.0, 0.2


class DidNotStart(Exception):
    """A system, or what it needs, that can't be run here; the message is what the report says."""


class Program:
    """A process with all that it starts, and the CPU that they have used."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log
        self._used_s = 0.0
        self._lines: asyncio.Queue[bytes] = asyncio.Queue(_LINES_KEPT)
        self._reading = asyncio.create_task(self._read())

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._process.returncode is None

    def cpu_s(self) -> float:
        """Return the CPU that it has used, user and system; of a dead one, what it had used."""
        if self.alive:
            with suppress(OSError, IndexError):
                self._used_s = sum(map(_cpu_s, _tree(self._process.pid)))
        return self._used_s

    async def line(self) -> str:
        """Return the next line that it prints."""
        async with asyncio.timeout(_START_S):
            line = await self._lines.get()
        if not line:
            raise DidNotStart(f"it ended: {self.last_words()}")
        return line.decode().strip()

    def kill(self) -> None:
        """Kill it with SIGKILL, together with all that it has started."""
        self.cpu_s()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """End it, gently at first."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        self.kill()
        await self._process.wait()
        self._reading.cancel()

    async def _read(self) -> None:
        """Read all that it prints, so that it never waits; what nobody asks for is dropped."""
        assert self._process.stdout is not None
        line = b"-"
        while line:
            line = await self._process.stdout.readline()
            with suppress(asyncio.QueueFull):
                self._lines.put_nowait(line)

    def last_words(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join(line.strip() for line in lines[-3:] if line.strip())[:600]

    async def answers(self, url: str, accept: tuple[int, ...] = (200,)) -> None:
        """Wait until it answers a GET.

        Raises:
            DidNotStart: it ended, or did not answer in time.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_S), aiohttp.ClientSession() as session:
                while self.alive:
                    with suppress(aiohttp.ClientError):
                        async with session.get(url) as response:
                            if response.status in accept:
                                return
                    await asyncio.sleep(_ASK_S)
        raise DidNotStart(f"no answer at {url}: {self.last_words()}")


@asynccontextmanager
async def program(
    *command: str | Path,
    folder: Path,
    name: str,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """Start a program in a process group of its own, and end it afterwards.

    Args:
        name: of its log in the folder, ``<name>.log``.
        environment: what it has beside this process's.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            cwd=folder,
            env=dict(os.environ) | dict(environment or {}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    started = Program(process, log)
    try:
        yield started
    finally:
        await asyncio.shield(started.end())


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    """Start the mock provider; yield its address and its log."""
    log = folder / "provider.jsonl"
    command = (sys.executable, "-m", "tests.peers.provider", log)
    paths = {"PYTHONPATH": str(ROOT)}
    async with program(*command, folder=folder, name="provider", environment=paths) as started:
        yield await started.line(), log


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[tuple[int, Program]]:
    """Start a Redis on loopback, with an append-only file that is synced each second.

    Raises:
        DidNotStart: there is none on PATH.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise DidNotStart("no redis-server on PATH: apt-get install redis-server")
    port = free_port()
    options = ("--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", "--dir", str(folder))
    command = (found, "--port", str(port), *options)
    async with program(*command, folder=folder, name="redis") as started:
        for _ in range(100):
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield port, started


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        for task in Path(f"/proc/{current}/task").iterdir():
            waiting += [int(child) for child in (task / "children").read_text().split()]
    return found


def _cpu_s(pid: int) -> float:
    # The name in brackets may hold anything, blanks included.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
