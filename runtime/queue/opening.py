"""The request queue that a configuration asks for."""

from __future__ import annotations

from runtime.config import Config
from runtime.queue.entries import QueueSettings
from runtime.queue.queue import RequestQueue
from runtime.redis.primaries import Client

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


def build_queue(config: Config, client: Client) -> RequestQueue:
    """Return the queue in the configured Redis; closing it leaves the client open."""
    redis, section = config.redis, config.queue
    return RequestQueue(
        client,
        redis.key_prefix,
        QueueSettings(
            max_deliveries=config.worker.max_deliveries,
            most_waiting=section.most_waiting,
            missed_ms=section.missed_days * _DAY_MS,
            dead_ms=section.dead_days * _DAY_MS,
            results_ms=section.results_hours * _HOUR_MS,
            results_most=section.most_results,
        ),
        timeout_ms=redis.timeout_ms,
        replicas=redis.wait_replicas if redis.durability == "replicated" else 0,
    )
