"""Runs many calls at a fixed concurrency, and tells what they cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

CONCURRENCY = 32

_SETTLING_S = 0.02

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Cost:
    """The mean cost of a call: CPU of the process, all its threads included, and time."""

    cpu_ms: float
    wall_ms: float


async def run_calls(
    call: Callable[[_T], Awaitable[object]], items: Iterable[_T], concurrency: int = CONCURRENCY
) -> None:
    """Make one call an item, so many of them at a time."""
    feed = iter(items)

    async def work() -> None:
        for item in feed:
            await call(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


async def cost_of(call: Callable[[_T], Awaitable[object]], items: Sequence[_T]) -> Cost:
    """Return what a call costs, over all the items."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    await run_calls(call, items)
    wall_s = time.perf_counter() - wall_s
    # What a call leaves to be done in the background belongs to it.
    await asyncio.sleep(_SETTLING_S)
    cpu_s = time.process_time() - cpu_s
    return Cost(cpu_s / len(items) * 1000, wall_s / len(items) * 1000)
