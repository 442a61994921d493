"""``http_ratio`` and ``http_added_cpu``: what HTTP costs beside the execution itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

from providers.base import ModelRoute
from tests.bench.conditions import median, say, spread
from tests.bench.http_load import HttpLoad
from tests.bench.http_service import (
    LATENCY_MS,
    PROMPT_TOKENS,
    ServiceProcess,
    open_process,
    request_body,
)
from tests.bench.loads import CONCURRENCY
from tests.bench.registry import Measured
from tests.bench.workload import Workload

_ROUNDS = 11
_CALLS = 192
_BARE_CALLS = 96
_SETTLING_S = 0.02


def measure_ratio() -> Measured:
    """Measure executions a second over HTTP as a share of those in the process itself."""
    return asyncio.run(_ratio())


def measure_added_cpu() -> Measured:
    """Measure the CPU that HTTP adds to an execution as a share of a bare ``acompletion``."""
    return asyncio.run(_added_cpu())


class Sides:
    """The same executions over HTTP and in the service's process."""

    def __init__(self, process: ServiceProcess, load: HttpLoad) -> None:
        self.process = process
        self._load = load
        self._workload = Workload(PROMPT_TOKENS)
        self._people = self._workload.people()

    async def over_http(self, count: int = _CALLS) -> tuple[float, float]:
        """Return time and CPU of an execution over HTTP, in milliseconds."""
        bodies = [request_body(self._workload, data) for data in islice(self._people, count)]
        before = await self.process.ask("cpu")
        wall_s = await self._load.run(bodies)
        await asyncio.sleep(_SETTLING_S)
        after = await self.process.ask("cpu")
        cpu_s = after["cpu_s"] - before["cpu_s"]
        return wall_s / count * 1000, cpu_s / count * 1000

    async def in_process(self, count: int = _CALLS) -> tuple[float, float]:
        """Return the same of an execution in the process."""
        found = await self.process.ask(f"execute {count}")
        return found["wall_ms"], found["cpu_ms"]

    async def bare_cpu_ms(self) -> float:
        """Return the CPU of a bare call in the process."""
        return (await self.process.ask(f"bare {_BARE_CALLS}"))["cpu_ms"]

    async def check(self) -> None:
        """Make sure that the model answers over HTTP.

        Raises:
            RuntimeError: the answer is another one.
        """
        [data] = islice(self._people, 1)
        found = await self._load.one(request_body(self._workload, data))
        if found["status"] != "model":
            raise RuntimeError(f"the service did not answer: {found}")


def own_load(process: ServiceProcess) -> HttpLoad:
    """Return the load on the service."""
    headers = {"Authorization": f"Bearer {process.key}"}
    return HttpLoad(process.url, "/v1/executions", headers, answered=b'"status":"model"')


@asynccontextmanager
async def open_sides(route: ModelRoute, server: str = "uvicorn") -> AsyncIterator[Sides]:
    """Open both sides, and warm them up."""
    async with open_process(route, server) as process:
        sides = Sides(process, own_load(process))
        await sides.check()
        for _ in range(2):
            await sides.over_http()
            await sides.in_process()
        yield sides


async def _rounds(
    sides: Sides, *, bare: bool
) -> tuple[list[tuple[float, float]], list[tuple[float, float]], list[float]]:
    http, own, bare_ms = [], [], []
    for number in range(_ROUNDS):
        if number % 2:
            own.append(await sides.in_process())
            http.append(await sides.over_http())
        else:
            http.append(await sides.over_http())
            own.append(await sides.in_process())
        if bare:
            bare_ms.append(await sides.bare_cpu_ms())
        say(f"  {number + 1} of {_ROUNDS}: {http[-1][0]:.2f} and {own[-1][0]:.2f} ms")
    return http, own, bare_ms


async def _ratio() -> Measured:
    async with open_sides(ModelRoute.ACOMPLETION) as sides:
        http, own, _ = await _rounds(sides, bare=False)
        ratios = [mine[0] / theirs[0] for theirs, mine in zip(http, own, strict=True)]
        return Measured(median(ratios), _conditions(sides, ratios, http, own))


async def _added_cpu() -> Measured:
    async with open_sides(ModelRoute.AUTO) as sides:
        http, own, bare = await _rounds(sides, bare=True)
        shares = [
            (theirs[1] - mine[1]) / call_ms
            for theirs, mine, call_ms in zip(http, own, bare, strict=True)
        ]
        best = (min(each[1] for each in http) - min(each[1] for each in own)) / min(bare)
        conditions = _conditions(sides, shares, http, own)
        return Measured(
            median(shares),
            {**conditions, "bare_cpu_ms": median(bare), "share_of_best_rounds": round(best, 3)},
        )


def _conditions(
    sides: Sides,
    values: list[float],
    http: list[tuple[float, float]],
    own: list[tuple[float, float]],
) -> dict[str, Any]:
    return {
        **spread(values),
        "executions_a_round": _CALLS,
        "concurrency": CONCURRENCY,
        "prompt_tokens": PROMPT_TOKENS,
        "latency_ms": LATENCY_MS,
        "http_a_second": round(1000 / median([wall for wall, _ in http])),
        "in_process_a_second": round(1000 / median([wall for wall, _ in own])),
        "http_cpu_ms": median([cpu for _, cpu in http]),
        "in_process_cpu_ms": median([cpu for _, cpu in own]),
        "redis_server": sides.process.redis,
    }
