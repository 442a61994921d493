"""Opens a worker's parts from a configuration."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from runtime.archive.archiving import Archiving
from runtime.archive.opening import open_archive
from runtime.background import Periodic
from runtime.bootstrap import open_runtime
from runtime.campaigns.run import Then
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.executions.action_runtime import ActionRuntime
from runtime.ledger_opening import at_end, connected
from runtime.library.opening import open_library
from runtime.queue.entries import Ended
from runtime.queue.opening import build_queue
from runtime.redis.primaries import Client
from runtime.store.reopening import Store
from runtime.telemetry.opening import Telemetry, open_telemetry
from runtime.worker.course import Courses
from runtime.worker.engine import TicketEngine
from runtime.worker.gates import Gates, Shares
from runtime.worker.holds import Holds
from runtime.worker.metrics import WorkerMetrics
from runtime.worker.result_sending import ResultSending, result_sending
from runtime.worker.slices import Slices
from runtime.worker.worker import CampaignWorker, WorkerTally

_SHORTEST_LEASE_MS = 10_000
_MARGIN_MS = 5_000
_TRIM_EVERY_S = 30.0
_NO_ENDPOINT = 64
"""Executions in flight that call no model, as theirs has retired."""


@dataclass(slots=True)
class OpenWorker:
    """A worker that is ready to run, and the parts around it."""

    name: str
    config: Config
    client: Client
    runtime: ActionRuntime
    telemetry: Telemetry
    worker: CampaignWorker
    engine: TicketEngine
    gates: Gates
    tally: WorkerTally = field(default_factory=WorkerTally)

    async def reload(self, config: Config) -> None:
        """Run by another configuration from now on; errors as ``ActionRuntime.reload``."""
        await self.runtime.reload(config)
        self.gates.reload(_limit_of(config))
        self.config = config

    async def run(self) -> None:
        """Run until the worker is stopped, gives up, or has drained the queue."""
        await self.worker.run(self.engine)


@asynccontextmanager
async def open_worker(
    config: Config,
    *,
    patience_s: float | None = None,
    then: Then | None = None,
    drains: bool = False,
    on_end: Callable[[Ended], object] = lambda ended: None,
) -> AsyncIterator[OpenWorker]:
    """Open a worker, and close its parts afterwards in the opposite order.

    Args:
        patience_s: instead of the configuration's ``worker.patience_ms``; so with ``then``.
        drains: it ends when nothing waits any more.
        on_end: hears of each request that ended.

    Raises:
        LedgerError, LedgerUnavailable, ConfigError: as ``open_runtime``.
    """
    section = config.worker
    patience_s = section.patience_ms / 1000 if patience_s is None else patience_s
    then = Then(section.then) if then is None else then
    tally = WorkerTally()
    sending: ResultSending | None = None

    def note(ended: Ended) -> None:
        tally.add(ended)
        metrics.count(ended)
        on_end(ended)
        if sending is not None and ended.result is not None:
            sending.note(ended.entry.request.account_id)

    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(open_telemetry(config))
        metrics = WorkerMetrics(telemetry.metrics)
        client = await stack.enter_async_context(connected(config, None))
        key_check = identity_of(config).check_value()
        store = Store(lambda: open_archive(config, key_check))
        at_end(stack, "closing the database", store.aclose)
        archiving = Archiving(config, key_check, client)
        at_end(stack, "archiving", archiving.aclose)
        actions = await stack.enter_async_context(
            open_library(config, client, store, lambda: opened.config)
        )
        runtime = await stack.enter_async_context(
            open_runtime(config, redis=client, actions=actions.actions, observer=telemetry.observer)
        )
        queue = build_queue(config, client)
        at_end(stack, "closing the queue", queue.aclose)
        sending = result_sending(config, queue)
        if sending is not None:
            at_end(stack, "sending results", sending.aclose)
            sending.start()
        trimming = Periodic("trimming what the queue keeps", queue.trim, _TRIM_EVERY_S, spread=0.2)
        at_end(stack, "trimming", trimming.aclose)
        trimming.start(after_s=_TRIM_EVERY_S)
        gates = Gates(_limit_of(config), section.slice_size)
        holds = Holds(patience_s=patience_s, then=then, enough=section.slice_size)
        name = f"{socket.gethostname()[:64]}-{os.getpid()}-{secrets.token_hex(3)}"
        slices = Slices(
            queue,
            Courses(runtime, gates, holds, patience_s=patience_s),
            consumer=name,
            lease_ms=lease_ms(config),
            on_end=note,
        )
        worker = CampaignWorker(
            queue,
            slices,
            holds,
            Shares(section.slices),
            size=section.slice_size,
            then=then,
            grace_s=section.grace_ms / 1000,
            drains=drains,
        )
        engine = TicketEngine(config.redis, config.redis.url, section.slices, worker.on_ticket)
        opened = OpenWorker(name, config, client, runtime, telemetry, worker, engine, gates, tally)
        await stack.enter_async_context(metrics.serving(section, worker, runtime))
        archiving.start(after_s=1)
        yield opened


def lease_ms(config: Config) -> int:
    """Return how long a request that was taken is left to who took it, unless it is kept.

    It is longer than the longest deadline, so that nobody takes one whose execution may still run.
    """
    deadlines = [action.limits.deadline_ms for action in config.actions.values()]
    longest_ms = max(deadlines, default=_SHORTEST_LEASE_MS)
    return max(_SHORTEST_LEASE_MS, longest_ms + _MARGIN_MS + config.redis.timeout_ms)


def _limit_of(config: Config) -> Callable[[str], int]:
    def limit_of(endpoint: str) -> int:
        section = config.endpoints.get(endpoint)
        return _NO_ENDPOINT if section is None else section.max_concurrency

    return limit_of
