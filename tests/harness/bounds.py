"""What work costs the thread that does it: CPU, peak memory, and how they grow with the input.

No wall-clock time: other processes on the machine change it, and it proves nothing.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from _pytest.mark import ParameterSet

T = TypeVar("T")

RUNS = 5
MOST_GROWTH = 2.5
"""The most that doubling an input may multiply the CPU by. Quadratic work multiplies it by four."""
ROUNDS = 3
"""Rounds of measuring before growth counts as too steep: neighbours on the machine disturb it."""
LEAST_S = 0.001
"""Shorter work is measured as if it took this long: the noise is larger than its growth."""

Work = Callable[[], object]


def cpu_s(work: Work) -> float:
    """Return the CPU seconds of this thread that ``work`` takes, the median of five runs.

    The garbage collector is off meanwhile: what it does depends on all that other tests have left.
    """
    work()  # imports, caches and compiled patterns
    return statistics.median(_once_s(work) for _ in range(RUNS))


def assert_cpu(work: Work, most_s: float) -> None:
    """Assert that ``work`` takes at most ``most_s`` of CPU.

    The least of some runs counts: neighbours on the machine only ever add to it.
    """
    taken_s = []
    for _ in range(RUNS * ROUNDS):
        taken_s.append(_once_s(work))
        if taken_s[-1] <= most_s:
            return
    assert min(taken_s) <= most_s, f"took {min(taken_s) * 1000:.1f} ms at the least"


def _once_s(work: Work) -> float:
    was_on = gc.isenabled()
    gc.disable()
    try:
        start_s = time.thread_time()
        work()
        return time.thread_time() - start_s
    finally:
        if was_on:
            gc.enable()


async def loop_holds_s(work: Coroutine[Any, Any, T]) -> tuple[T, list[float]]:
    """Return the result of work, and the CPU seconds of each step of the event loop meanwhile.

    A step is what runs between two looks at sockets and timers: a task until it next waits, or a
    callback. The work is a task of its own, so that its first step counts as well.
    """
    holds_s: list[float] = []
    run: Callable[[asyncio.Handle], None] = vars(asyncio.Handle)["_run"]

    def measured(handle: asyncio.Handle) -> None:
        holds_s.append(_once_s(lambda: run(handle)))

    with patch.object(asyncio.Handle, "_run", measured):
        result = await asyncio.create_task(work)
    return result, holds_s


def peak_bytes(work: Work) -> int:
    """Return the most bytes that ``work`` held at once, beside what was there before.

    Python's own allocations are counted. Work runs several times slower meanwhile, so that CPU has
    to be measured apart from memory.
    """
    work()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        _, peak = tracemalloc.get_traced_memory()
        return peak - before
    finally:
        tracemalloc.stop()


def assert_linear(make_input: Callable[[int], T], work: Callable[[T], object], size: int) -> None:
    """Assert that doubling the input multiplies the CPU by at most 2.5, the median of five pairs.

    Args:
        make_input: makes an input of a size; it is not measured.
        size: the smaller of the two sizes. The work should take a millisecond at least.

    Example:
        >>> assert_linear(lambda n: "[" * n, parse_quietly, 16_000)
    """
    small, large = make_input(size), make_input(2 * size)
    growths: list[float] = []
    for _ in range(ROUNDS):
        pairs = [(_once_s(lambda: work(small)), _once_s(lambda: work(large))) for _ in range(RUNS)]
        growths.append(statistics.median(double / max(once, LEAST_S) for once, double in pairs))
        if growths[-1] <= MOST_GROWTH:
            return
    shown = ", ".join(f"{growth:.1f}" for growth in growths)
    raise AssertionError(f"twice the size of {size:,} multiplied the CPU by {shown}")


def mostly_long(values: Iterable[Any], short: int = 2) -> list[ParameterSet]:
    """Return parameters of a test, of which all but the first few run with the long tests."""
    return [
        pytest.param(value, marks=pytest.mark.long if number >= short else [])
        for number, value in enumerate(values)
    ]
