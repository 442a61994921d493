"""The service in a process of its own, which says what calls cost there.

``python -m tests.bench.http_service ROUTE SERVER`` prints a line with its address and a key, and
answers each line of stdin with one of stdout: ``cpu``, ``execute N`` or ``bare N``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from creditgate import load_config
from providers.base import ModelRoute
from runtime.actions.requests import ExecutionRequest, Pending
from runtime.api_keys.keys import Scope
from runtime.config.service import ServiceSection
from runtime.web.app import create_app
from runtime.web.service import Service, open_service
from runtime.web.serving import listen, serving
from tests.bench.bare import LiteLLMCaller
from tests.bench.loads import cost_of, run_calls
from tests.bench.stage import ACCOUNT, open_stage
from tests.bench.workload import Workload
from tests.harness.paths import ROOT

PROMPT_TOKENS = 300
LATENCY_MS = 5.0
ACTION = "reference"
_FIRST_PERSON = 10_000_000  # those before are asked about over HTTP
_START_S, _END_S = 90.0, 20.0


def request_body(workload: Workload, data: dict[str, Any]) -> dict[str, Any]:
    """Return the body of an execution for one person."""
    request = workload.request(data)
    named = dataclasses.asdict(dataclasses.replace(request, action=ACTION))
    return {**named, "source": str(request.source)}


class ServiceProcess:
    """The process, as another one has it."""

    def __init__(self, process: asyncio.subprocess.Process, said: dict[str, Any]) -> None:
        self._process = process
        self.url: str = said["url"]
        self.key: str = said["key"]
        self.mock: str = said["mock"]
        self.redis: str = said["redis"]

    async def ask(self, command: str) -> dict[str, float]:
        """Send a command, and return what it cost."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command.encode() + b"\n")
        found: dict[str, float] = json.loads(await self._process.stdout.readline())
        return found


@asynccontextmanager
async def open_process(route: ModelRoute, server: str = "uvicorn") -> AsyncIterator[ServiceProcess]:
    """Start the process, on a core of its own where there are two.

    Everything else, the caller included, shares the other one.
    """
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    os.sched_setaffinity(0, others or {first})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.bench.http_service", str(route), server, str(first)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
        yield ServiceProcess(process, json.loads(line))
    finally:
        os.sched_setaffinity(0, before)
        process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


class _Calls:
    """Runs the calls that the process is told to."""

    def __init__(self, service: Service, workload: Workload, bare: LiteLLMCaller) -> None:
        self._runtime = service.runtime
        self._workload = workload
        self._people = workload.people()
        self._bare = bare

    async def answer(self, command: str) -> dict[str, float]:
        word, _, count = command.partition(" ")
        if word == "cpu":
            return {"cpu_s": time.process_time()}
        people = list(islice(self._people, int(count)))
        if word == "execute":
            requests = [self._request(data) for data in people]
            return dataclasses.asdict(await cost_of(self._execute, requests))
        prompts = [self._workload.spec.render(data) for data in people]
        return dataclasses.asdict(await cost_of(self._bare.call, prompts))

    def _request(self, data: dict[str, Any]) -> ExecutionRequest:
        return dataclasses.replace(self._workload.request(data), action=ACTION)

    async def _execute(self, request: ExecutionRequest) -> None:
        result = await self._runtime.execute(request)
        if isinstance(result, Pending) or result.status != "model":
            raise RuntimeError(f"the gate did not answer: {result}")

    async def warm_up(self) -> None:
        people = list(islice(self._people, 64))
        await run_calls(self._execute, [self._request(data) for data in people])


async def _main(route: ModelRoute, server: str, core: int) -> None:
    workload = Workload(PROMPT_TOKENS, _FIRST_PERSON)
    spec = workload.spec.model_copy(update={"id": ACTION})
    redis = load_config(ROOT / "config.example.yaml").redis
    changes = {
        # A machine that is busy with other things keeps Redis waiting, too.
        "redis": redis.model_copy(update={"timeout_ms": 10_000}),
        "actions": {ACTION: spec},
        "service": ServiceSection(requests_per_second=None),
    }
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(
            open_stage(latency_ms=LATENCY_MS, route=route, changes=changes)
        )
        service = await stack.enter_async_context(open_service(stage.config))
        _, key = await service.keys.make(
            account_id=ACCOUNT, name="bench", scopes=[Scope.EXECUTE], created_by="bench"
        )
        app = create_app(service)
        opened = serving(app, listen("127.0.0.1", 0)) if server == "uvicorn" else _granian(app)
        url = await stack.enter_async_context(opened)
        calls = _Calls(service, workload, LiteLLMCaller(stage, workload.spec))
        await calls.warm_up()
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), {core})
        mock = stage.endpoint(workload.spec.model).api_base
        _say({"url": url, "key": key, "mock": mock, "redis": stage.redis})
        lines = await _stdin()
        while command := (await lines.readline()).decode().strip():
            _say(await calls.answer(command))


@asynccontextmanager
async def _granian(app: Any) -> AsyncIterator[str]:
    from granian.constants import Interfaces
    from granian.server.embed import Server

    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False
    )
    task = asyncio.create_task(server.serve())
    await asyncio.sleep(1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # Granian's
        await asyncio.wait([task], timeout=5)


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


def _say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(ModelRoute(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
