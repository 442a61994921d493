"""Conditions that figures depend on: the machine, and how far they spread."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("litellm", "openai", "aiohttp", "redis", "asyncpg", "click")


def say(text: str) -> None:
    """Tell on stderr how far the benchmarks are."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Return what ran, on what, and how busy that was with other things just before."""
    return {
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return how far the rounds lie apart; the quartiles hold half of them."""
    lower, _, upper = statistics.quantiles(values, n=4)
    return {
        "rounds": len(values),
        "min": round(min(values), 3),
        "quartiles": [round(lower, 3), round(upper, 3)],
        "max": round(max(values), 3),
    }


def median(values: Sequence[float]) -> float:
    """Return the median, to three decimals."""
    return round(statistics.median(values), 3)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many per cent of the values do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


@cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"
