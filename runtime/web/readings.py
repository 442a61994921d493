"""Readings for the metrics: what is looked up when somebody scrapes."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

from runtime.archive.lag import Lag, lag_of
from runtime.archive.streams import Streams
from runtime.config import Config
from runtime.executions.action_runtime import ActionRuntime
from runtime.executions.spool import Spool
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.telemetry.metrics import Metrics, Readings

_log = logging.getLogger("creditgate.metrics")

_LAG_REMEMBERED_S = 10.0
_LAG_WITHIN_S = 2.0


class ScrapedMetrics:
    """The metrics with what is read at each scrape; the archive's lag is up to 10 s old."""

    def __init__(
        self, config: Config, client: Client, runtime: ActionRuntime, metrics: Metrics
    ) -> None:
        self._metrics = metrics
        self._runtime = runtime
        self._client = client
        self._streams = Streams(client, Keys(config.redis.key_prefix), config.redis.timeout_ms)
        self._spool = Spool(config.data_dir / "spool", 0)
        self._lag: Lag | None = None
        self._lag_until_s = 0.0
        self._reading = asyncio.Lock()

    async def text(self) -> bytes:
        """Return all metrics in Prometheus' text format. What can't be read is ``NaN``."""
        lag = await self._read_lag()
        return self._metrics.text(
            Readings(
                reserved=self._runtime.counters.reserved,
                open_breakers=tuple(self._runtime.open_breakers()),
                spool_waiting=await self._waiting(),
                archive_lag_entries=None if lag is None else lag.entries,
                archive_lag_seconds=None if lag is None else lag.seconds,
            )
        )

    async def _waiting(self) -> int | None:
        try:
            return await asyncio.to_thread(self._spool.waiting)
        except OSError:
            return None

    async def _read_lag(self) -> Lag | None:
        async with self._reading:
            if monotonic() >= self._lag_until_s:
                self._lag = None
                try:
                    async with asyncio.timeout(_LAG_WITHIN_S):
                        self._lag = await lag_of(self._client, self._streams)
                except Exception as error:  # noqa: BLE001 - redis-py raises more than its own errors
                    _log.debug("the archive's lag can't be read: %s", type(error).__name__)
                self._lag_until_s = monotonic() + _LAG_REMEMBERED_S
            return self._lag
