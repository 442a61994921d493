"""The request queue that a configuration asks for."""

from __future__ import annotations

from runtime.config import Config
from runtime.queue.entries import QueueSettings
from runtime.queue.queue import RequestQueue
from runtime.redis.primaries import Client


def build_queue(config: Config, client: Client) -> RequestQueue:
    """Return the queue in the configured Redis; closing it leaves the client open."""
    redis = config.redis
    return RequestQueue(
        client,
        redis.key_prefix,
        QueueSettings(max_deliveries=config.worker.max_deliveries),
        timeout_ms=redis.timeout_ms,
        replicas=redis.wait_replicas if redis.durability == "replicated" else 0,
    )
