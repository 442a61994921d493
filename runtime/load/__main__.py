"""A process of a load. It reads its orders from standard input, and reports on standard output."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TextIO

from runtime.load.callers import Caller, open_runtime_caller, open_service_caller
from runtime.load.generator import Generator
from runtime.load.settings import LoadSettings
from runtime.load.tally import Tally
from runtime.load.workload import Workload

_GRACE_S = 60.0


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()


async def _report_seconds(generator: Generator, begin_s: float) -> None:
    """Report the counts of each second as it ends, until it is cancelled."""
    second = 0
    while True:
        await asyncio.sleep(max(0.0, begin_s + second + 1 - time.time()))
        _tell_tally(second, generator.take())
        second = max(second + 1, int(time.time() - begin_s))


def _tell_tally(second: int, tally: Tally) -> None:
    _tell({"second": second, "tally": tally.to_json()})


def _caller(order: dict[str, Any]) -> AbstractAsyncContextManager[Caller]:
    if order["url"] is not None:
        return open_service_caller(order["url"], order["key"])
    redis_config = order["redis_config"]
    return open_runtime_caller(
        Path(order["config"]),
        None if redis_config is None else Path(redis_config),
        order["key_prefix"],
    )


async def _run(
    order: dict[str, Any], records: TextIO, listen: Callable[[Callable[[str], None]], None]
) -> None:
    settings = LoadSettings.of_json(order["settings"])
    process = order["process"]
    attributes = None if order["attributes"] is None else tuple(order["attributes"])
    workload = Workload(settings, process, attributes)
    loop = asyncio.get_running_loop()
    begins: asyncio.Future[float | None] = loop.create_future()
    async with _caller(order) as caller:
        generator = Generator(caller, workload, records)

        def obey(line: str) -> None:
            said: dict[str, Any] = json.loads(line) if line else {"stop": "now"}
            if "begin_s" in said:
                if not begins.done():
                    begins.set_result(said["begin_s"])
                return
            if said["stop"] == "now":
                generator.cancel()
            else:
                generator.stop()
            if not begins.done():
                begins.set_result(None)

        listen(lambda line: _threadsafe(loop, obey, line))
        _tell({"ready": True})
        begin_s = await begins
        elapsed_s = 0.0
        if begin_s is not None:
            reporting = asyncio.create_task(_report_seconds(generator, begin_s))
            await _generate(generator, settings, process, begin_s)
            elapsed_s = max(0.0, time.time() - begin_s)
            reporting.cancel()
            _tell_tally(int(elapsed_s), generator.take())
    _tell({"ended": True, "elapsed_s": elapsed_s, "unstarted": generator.unstarted})


async def _generate(
    generator: Generator, settings: LoadSettings, process: int, begin_s: float
) -> None:
    processes, end_s = settings.processes, begin_s + settings.seconds
    if settings.rate is None:
        callers = _share(settings.concurrency or 1, process, processes)
        await generator.run_callers(callers, begin_s, end_s)
        return
    # The processes take turns, so that all of them together start evenly.
    first_s = begin_s + process / settings.rate
    await generator.run_at(settings.rate / processes, first_s, end_s, _GRACE_S)


def _threadsafe(loop: asyncio.AbstractEventLoop, obey: Callable[[str], None], line: str) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(obey, line)


def _share(whole: int, number: int, parts: int) -> int:
    return whole // parts + (number < whole % parts)


def _lines() -> Iterator[str]:
    """Yield the lines of standard input, and an empty one at its end."""
    # Not through sys.stdin: the thread would still hold its lock as the interpreter ends.
    buffer = b""
    while chunk := os.read(0, 65_536):
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from (line.decode() for line in lines)
    yield ""


def _run_mock(options: dict[str, Any]) -> None:
    from providers.mock.server import MockOptions, main_loop

    main_loop(MockOptions(**options), lambda url: _tell({"url": url}))


def _run_share(order: dict[str, Any], lines: Iterator[str]) -> None:
    def listen(obey: Callable[[str], None]) -> None:
        def read() -> None:
            for line in lines:
                obey(line)

        threading.Thread(target=read, daemon=True).start()

    try:
        import uvloop
    except ImportError:
        factory: Any = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with (
        Path(order["records"]).open("w", encoding="utf-8") as records,
        asyncio.Runner(loop_factory=factory) as runner,
    ):
        runner.run(_run(order, records, listen))


def main() -> None:
    """Run what the first line of standard input orders: the mock provider, or a share of a load."""
    lines = _lines()
    order = json.loads(next(lines))
    if "mock" not in order:
        _run_share(order, lines)
        return

    def end_with_stdin() -> None:
        deque(lines, maxlen=0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_stdin, daemon=True).start()
    _run_mock(order["mock"])


if __name__ == "__main__":
    main()
