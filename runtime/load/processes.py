"""Processes of a load: its shares and the mock provider, which end with the one that leads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runtime.load.settings import LoadRefused, LoadSettings

_START_S = 120.0
_END_S = 10.0
_LONGEST_LINE_BYTES = 4 * 1024 * 1024
_LOG_LINES_SHOWN = 8
_MODULE = __package__


class LoadProcess:
    """A process that reports line by line, in JSON."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, log: Path) -> None:
        self._process = process
        self._log = log
        self.name = name

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def tell(self, message: dict[str, Any]) -> None:
        """Send the process a line, unless it has ended."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def line(self) -> dict[str, Any] | None:
        """Return what it reports next; ``None`` once it has ended."""
        line = b"" if self._process.stdout is None else await self._process.stdout.readline()
        found: dict[str, Any] | None = json.loads(line) if line else None
        return found

    async def first_line(self) -> dict[str, Any]:
        """Return what it reports once it is ready.

        Raises:
            LoadRefused: it ended before, or took too long; the message has the end of its log.
        """
        try:
            async with asyncio.timeout(_START_S):
                if (found := await self.line()) is not None:
                    return found
            why = "ended before it was ready"
        except TimeoutError:
            why = f"was not ready within {_START_S:g} s"
        raise LoadRefused(f"{self.name} {why}{self.log_end()}")

    def log_end(self) -> str:
        """Return the last lines that the process logged, to stand after a message."""
        try:
            lines = self._log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES_SHOWN:]
        except OSError:
            lines = []
        return "".join(f"\n  {line}" for line in lines)

    async def end(self) -> None:
        """End the process, and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def _start(name: str, order: dict[str, Any], folder: Path) -> LoadProcess:
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _MODULE),
            cwd=Path(__file__).parents[_MODULE.count(".") + 1],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stream,
            limit=_LONGEST_LINE_BYTES,
            # A terminal's Ctrl-C is for the process that leads: the others end what they run.
            start_new_session=True,
        )
    started = LoadProcess(process, name, log)
    started.tell(order)
    return started


@asynccontextmanager
async def mock_provider(
    settings: LoadSettings, folder: Path, port: int = 0
) -> AsyncIterator[tuple[LoadProcess, str]]:
    """Run a mock provider on this machine; yield it and its URL.

    Raises:
        LoadRefused: it does not start, because something else listens on the port.
    """
    options = {
        "port": port,
        "seed": settings.seed,
        "latency_median_ms": settings.latency_ms,
        "latency_sigma": settings.latency_sigma,
        "error_rate": settings.error_rate,
        "malformed_rate": settings.malformed_rate,
        "refusal_rate": settings.refusal_rate,
        "usage_missing_rate": settings.usage_missing_rate,
    }
    process = await _start("mock provider", {"mock": options}, folder)
    try:
        found = await process.first_line()
        yield process, str(found["url"])
    finally:
        await asyncio.shield(process.end())


@dataclass(frozen=True, slots=True)
class Target:
    """The place that executions run at.

    Args:
        config: the load's own config.
        redis_config: the config whose ``redis`` section counts instead of the load's own.
        url, key: of a service, in place of a runtime in each process.
        attributes: those that the service's action reads.
    """

    config: Path
    key_prefix: str
    redis_config: Path | None = None
    url: str | None = None
    key: str | None = None
    attributes: tuple[str, ...] | None = None


@asynccontextmanager
async def share_processes(
    settings: LoadSettings, target: Target, folder: Path
) -> AsyncIterator[list[LoadProcess]]:
    """Run the processes of a load; yield them once all are ready to begin.

    Raises:
        LoadRefused: one does not get ready.
    """
    processes: list[LoadProcess] = []
    try:
        for number in range(settings.processes):
            order = {
                "settings": settings.to_json(),
                "process": number,
                "records": str(records_file(folder, number)),
                "config": str(target.config.absolute()),
                "redis_config": None
                if target.redis_config is None
                else str(target.redis_config.absolute()),
                "key_prefix": target.key_prefix,
                "url": target.url,
                "key": target.key,
                "attributes": target.attributes,
            }
            processes.append(await _start(f"process {number + 1}", order, folder))
        await asyncio.gather(*(process.first_line() for process in processes))
        yield processes
    finally:
        await asyncio.shield(asyncio.gather(*(process.end() for process in processes)))


def records_file(folder: Path, number: int) -> Path:
    """Return the file in which a process notes its executions."""
    return folder / f"executions-{number}.tsv"


class Usage(NamedTuple):
    """Used by a process: CPU in seconds since its start, and memory in bytes now."""

    cpu_s: float
    memory_bytes: int


def usage_of(pid: int) -> Usage | None:
    """Return what a process uses; ``None`` where the system does not tell, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    # The name, in parentheses, may hold anything.
    columns = stat.rpartition(")")[2].split()
    ticks = int(columns[11]) + int(columns[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))
