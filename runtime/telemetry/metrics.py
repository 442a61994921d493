"""Prometheus metrics of this process.

No label holds an account, a person, a campaign or a path: what callers choose can't add series.
"""

from __future__ import annotations

import math
import platform
from collections import Counter as CountOf
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from runtime.observing import AttemptEnded, ExecutionEnded, ScriptEnded
from runtime.telemetry.requests import RequestEnded, ServiceObservation

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Metric = TypeVar("_Metric", Counter, Histogram)

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_REFUSED = frozenset({401, 403, 429})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SCRIPT_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


@dataclass(frozen=True, slots=True)
class Readings:
    """Figures that are read at each scrape; ``None`` where one can't be read now."""

    reserved: int
    open_breakers: tuple[str, ...]
    spool_waiting: int | None
    archive_lag_entries: int | None
    archive_lag_seconds: float | None


class Metrics:
    """The metrics, in a registry of their own."""

    def __init__(self) -> None:
        # A second series for each, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own
        self.registry = registry = CollectorRegistry()
        self._executions = _by_labels(
            Counter(
                "creditgate_executions",
                "Executions that have ended, by what they are for, where their values came from, "
                "and the group of the first reason.",
                ["source", "status", "reason_group"],
                registry=registry,
            )
        )
        self._charged = _by_labels(
            Counter(
                "creditgate_charged_millicredits",
                "Millicredits charged.",
                ["source"],
                registry=registry,
            )
        )
        self._execution_seconds = _by_labels(
            Histogram(
                "creditgate_execution_seconds",
                "Time of an execution, its waiting included.",
                ["source"],
                buckets=_SECONDS,
                registry=registry,
            )
        )
        self._attempts = _by_labels(
            Counter(
                "creditgate_provider_attempts",
                "Calls of a provider, retries included.",
                ["endpoint", "outcome"],
                registry=registry,
            )
        )
        self._requests = _by_labels(
            Counter(
                "creditgate_http_requests",
                "HTTP requests by the template of their path.",
                ["method", "route", "status"],
                registry=registry,
            )
        )
        self._request_seconds = _by_labels(
            Histogram(
                "creditgate_http_request_seconds",
                "Time from a request to the end of its answer.",
                ["method", "route"],
                buckets=_SECONDS,
                registry=registry,
            )
        )
        self._key_refusals = _by_labels(
            Counter(
                "creditgate_key_refusals",
                "Requests refused by their key: none in force (401), without the scope (403), too "
                "many (429).",
                ["status"],
                registry=registry,
            )
        )
        self._script_seconds = _by_labels(
            Histogram(
                "creditgate_ledger_script_seconds",
                "Time of a script call of the ledger, which serves up to 128 executions.",
                ["answered"],
                buckets=_SCRIPT_SECONDS,
                registry=registry,
            )
        )
        self._reserved = Gauge(
            "creditgate_reserved_executions",
            "Executions of this process that have a reservation now.",
            registry=registry,
        )
        self._open_breakers = Gauge(
            "creditgate_open_breakers",
            "Breakers of models and keys that stand open.",
            ["endpoint"],
            registry=registry,
        )
        self._spool_waiting = Gauge(
            "creditgate_spool_waiting",
            "Endings that wait in this data folder's spool.",
            registry=registry,
        )
        self._lag_entries = Gauge(
            "creditgate_archive_lag_entries",
            "Journal entries that are not archived.",
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "creditgate_archive_lag_seconds",
            "Age of the oldest journal entry that is not archived.",
            registry=registry,
        )
        build = Gauge(
            "creditgate_build_info",
            "1, with the release and the version of Python.",
            ["version", "python"],
            registry=registry,
        )
        build.labels(release(), platform.python_version()).set(1)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def observe(self, event: ServiceObservation) -> None:
        """Count what happened; an observer."""
        if isinstance(event, ScriptEnded):
            self._script_seconds(str(event.answered).lower()).observe(event.seconds)
        elif isinstance(event, RequestEnded):
            self._count_request(event)
        elif isinstance(event, ExecutionEnded):
            group = "" if event.reason is None else event.reason.group
            self._executions(event.source, event.status, group).inc()
            self._execution_seconds(event.source).observe(event.seconds)
            if event.charged_mc:
                self._charged(event.source).inc(event.charged_mc)
        elif isinstance(event, AttemptEnded):
            self._attempts(event.endpoint, event.outcome).inc()

    def text(self, readings: Readings) -> bytes:
        """Return all metrics in Prometheus' text format."""
        self.read(readings)
        return generate_latest(self.registry)

    def read(self, readings: Readings) -> None:
        """Take what was read over into the metrics."""
        self._reserved.set(readings.reserved)
        self._spool_waiting.set(_number(readings.spool_waiting))
        self._lag_entries.set(_number(readings.archive_lag_entries))
        self._lag_seconds.set(_number(readings.archive_lag_seconds))
        self._open_breakers.clear()
        for endpoint, count in CountOf(readings.open_breakers).items():
            self._open_breakers.labels(endpoint).set(count)

    def _count_request(self, event: RequestEnded) -> None:
        method = event.method if event.method in _METHODS else "other"
        self._requests(method, event.route, str(event.status)).inc()
        self._request_seconds(method, event.route).observe(event.seconds)
        if event.status in _REFUSED:
            self._key_refusals(str(event.status)).inc()


def _by_labels(metric: _Metric) -> Callable[..., _Metric]:
    """Return what finds a metric's series by its labels; ``labels`` itself takes long for that."""
    return lru_cache(maxsize=1_024)(metric.labels)


def release() -> str:
    """Return the installed version of creditgate."""
    try:
        return metadata.version("creditgate")
    except metadata.PackageNotFoundError:
        return "unknown"


def _number(found: float | None) -> float:
    return math.nan if found is None else found
