"""Opens the metrics and, where the configuration asks for them, the traces of a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from runtime.background import finish
from runtime.config import Config, ConfigError, Mistake
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.request_log import log_request
from runtime.telemetry.requests import ServiceObserver, note_execution, told_to_all


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The metrics, and the observer that feeds them, the request log and the traces."""

    metrics: Metrics
    observer: ServiceObserver


@asynccontextmanager
async def open_telemetry(config: Config) -> AsyncIterator[Telemetry]:
    """Open them; traces that wait are sent at the end.

    Raises:
        ConfigError: traces are asked for, and their packages are not installed.
    """
    metrics = Metrics()
    observers = [note_execution, metrics.observe]
    endpoint = config.tracing.otlp_endpoint
    if endpoint is None:
        yield Telemetry(metrics, told_to_all(*observers, log_request))
        return
    try:
        from runtime.telemetry.tracing import Tracing, otlp_exporter
    except ImportError:
        text = 'traces take more packages: pip install "creditgate[otel]"'
        raise ConfigError([Mistake("", None, None, "tracing.otlp_endpoint", text)]) from None
    tracing = Tracing(otlp_exporter(endpoint), float(config.tracing.sample_ratio))
    try:
        yield Telemetry(metrics, told_to_all(*observers, tracing.observe, log_request))
    finally:
        await finish("sending traces", asyncio.to_thread(tracing.close))
