"""Metrics of a worker, and the port that they are served on.

No label holds an account or a campaign; endpoints are the configuration's.
"""

from __future__ import annotations

import asyncio
from collections import Counter as CountOf
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter, Gauge, start_http_server

from runtime.background import Periodic
from runtime.config.worker import WorkerSection
from runtime.executions.action_runtime import ActionRuntime
from runtime.queue.entries import Ended
from runtime.telemetry.metrics import Metrics, Readings
from runtime.worker.worker import CampaignWorker

_READ_EVERY_S = 1.0


class WorkerMetrics:
    """Counts what a worker does, in the registry of its process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        registry = metrics.registry
        self._requests = Counter(
            "creditgate_worker_requests",
            "Requests of the queue that have ended: model, mixed, fallback, or dead.",
            ["outcome"],
            registry=registry,
        )
        self._slices = Gauge(
            "creditgate_worker_slices", "Slices that run in this process.", registry=registry
        )
        self._in_flight = Gauge(
            "creditgate_worker_in_flight",
            "Executions of slices that run in this process.",
            registry=registry,
        )
        self._held = Gauge(
            "creditgate_worker_held",
            "Holds that are on: endpoints by name; accounts' ledgers and the queue together.",
            ["endpoint"],
            registry=registry,
        )

    def count(self, ended: Ended) -> None:
        """Count a request that ended."""
        outcome = "dead" if ended.result is None else str(ended.result.status)
        self._requests.labels(outcome).inc()

    def read(self, worker: CampaignWorker, runtime: ActionRuntime) -> None:
        """Read what is so now."""
        self._slices.set(worker.slices)
        self._in_flight.set(worker.in_flight)
        self._held.clear()
        places = [held.place for held in worker.holds]
        names = CountOf(name if kind == "endpoint" else "" for kind, name in places)
        for name, count in names.items():
            self._held.labels(name).set(count)
        breakers = tuple(runtime.open_breakers())
        # The archive and the spool are told by services, and by `creditgate spool`.
        self._metrics.read(Readings(runtime.counters.reserved, breakers, None, None, None))

    @asynccontextmanager
    async def serving(
        self, section: WorkerSection, worker: CampaignWorker, runtime: ActionRuntime
    ) -> AsyncIterator[None]:
        """Serve the metrics in the block, if the configuration names a port.

        Raises:
            OSError: the port is in use.
        """
        if section.metrics_port is None:
            yield
            return
        server, thread = start_http_server(
            section.metrics_port, section.metrics_host, self._metrics.registry
        )

        async def read() -> None:
            self.read(worker, runtime)

        reading = Periodic("reading metrics", read, _READ_EVERY_S)
        reading.start()
        try:
            yield
        finally:
            await reading.aclose()
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()
