"""The report of a load, as JSON: totals, the verdict, and what changed over time."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from runtime.load.histogram import Histogram
from runtime.load.running import Measured
from runtime.load.sampling import Sample
from runtime.load.tally import Tally

FORMAT = 1
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
_STATUSES = ("model", "mixed", "fallback", "pending", "failed")


def report_of(measured: Measured, where: str) -> dict[str, Any]:
    """Return the report in JSON types; amounts are millicredits, memory is in bytes.

    Args:
        where: the place that the load ran at, in words.
    """
    total, verdict = measured.total, measured.verdict
    last = next((one.credits for one in reversed(measured.samples) if one.credits), None)
    return {
        "format": FORMAT,
        "run_id": measured.settings.run_id,
        "where": where,
        "began_at": measured.began_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "elapsed_s": round(measured.elapsed_s, 1),
        "interrupted": measured.interrupted,
        "problems": measured.problems,
        "system": {
            "creditgate": _version(),
            "python": platform.python_version(),
            "redis": measured.redis_version,
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        },
        "settings": measured.settings.to_json(),
        "verdict": verdict.to_json(),
        "executions": {
            "planned": measured.settings.planned,
            "unstarted": measured.unstarted,
            "started": total.started,
            "ended": total.ended,
            **{name: total.statuses.get(name, 0) for name in _STATUSES},
            "per_second": round(total.ended / measured.elapsed_s, 1) if measured.elapsed_s else 0.0,
        },
        "latency_ms": _percentiles(total.latencies),
        "start_delay_ms": _percentiles(total.delays),
        "reasons": dict(total.reasons.most_common()),
        "credits": {
            **({} if last is None else {**last.to_json()}),
            "told_mc": total.charged_mc,
            "top_ups": measured.top_ups,
        },
        "provider": {
            "requests": measured.calls.requests,
            "answers": measured.calls.answers,
            "runs": measured.calls.runs,
            "outcomes": {name: count for name, count in measured.outcomes.items() if count},
        },
        "cpu_ms_per_execution": _cpu_ms(measured.samples, total.ended),
        "interval_s": measured.interval_s,
        "intervals": _intervals(measured),
        "samples": _samples(measured.samples, measured.interval_s),
    }


def _version() -> str:
    try:
        return metadata.version("creditgate")
    except metadata.PackageNotFoundError:
        return "unknown"


def _percentiles(latencies: Histogram) -> dict[str, float | None]:
    found = latencies.percentiles(list(_PERCENTILES.values()))
    return {
        name: None if value is None else round(value, 2)
        for name, value in zip(_PERCENTILES, found, strict=True)
    }


def _intervals(measured: Measured) -> list[dict[str, Any]]:
    """Return the counts of each interval from the first to the last, those without any too."""
    numbers = range(max(measured.intervals, default=-1) + 1)
    return [
        _interval(number * measured.interval_s, measured.intervals.get(number, Tally()))
        for number in numbers
    ]


def _interval(at_s: int, tally: Tally) -> dict[str, Any]:
    return {
        "at_s": at_s,
        "started": tally.started,
        "ended": tally.ended,
        **{name: tally.statuses.get(name, 0) for name in _STATUSES},
        "latency_ms": _percentiles(tally.latencies),
        "reasons": dict(tally.reasons),
        "told_mc": tally.charged_mc,
    }


def _samples(samples: list[Sample], interval_s: int) -> list[dict[str, Any]]:
    """Return credits, and the cores that were busy since the sample before."""
    kept = [*samples[:-1:interval_s], samples[-1]] if samples else []
    found = []
    for before, sample in itertools.pairwise(kept):
        span_s = sample.at_s - before.at_s
        if span_s <= 0:
            continue
        found.append(
            {
                "at_s": round(sample.at_s, 1),
                "credits": None if sample.credits is None else sample.credits.to_json(),
                "cores": {
                    name: round((cpu_s - before_s) / span_s, 3)
                    for name, (before_s, cpu_s) in _cpu_of_both(before, sample).items()
                },
                "memory_bytes": _memory(sample),
            }
        )
    return found


def _cpu_of_both(before: Sample, after: Sample) -> dict[str, tuple[float, float]]:
    first, last = _cpu(before), _cpu(after)
    return {name: (first[name], last[name]) for name in last if name in first}


def _cpu(sample: Sample) -> Mapping[str, float]:
    redis = {} if sample.redis_cpu_s is None else {"Redis": sample.redis_cpu_s}
    return {**redis, **sample.cpu_s}


def _memory(sample: Sample) -> dict[str, int]:
    redis = {} if sample.redis_memory_bytes is None else {"Redis": sample.redis_memory_bytes}
    return {**redis, **sample.memory_bytes}


def _cpu_ms(samples: list[Sample], executions: int) -> dict[str, float]:
    """Return what one execution took, by what used it, between the first sample and the last."""
    if len(samples) < 2 or not executions:
        return {}
    ends: dict[str, tuple[float, float]] = {}
    for sample in samples:
        for name, cpu_s in _cpu(sample).items():
            first, _ = ends.get(name, (cpu_s, cpu_s))
            ends[name] = (first, cpu_s)
    return {
        name: round((last - first) / executions * 1000, 3) for name, (first, last) in ends.items()
    }
