"""Builds the queue of a configuration."""

from __future__ import annotations

from runtime.config import Config
from runtime.queue.entries import QueueSettings
from runtime.queue.queue import RequestQueue
from runtime.redis.primaries import Client


def build_queue(config: Config, client: Client) -> RequestQueue:
    """Return the queue on a client that stays the caller's to close."""
    section = config.redis
    replicas = section.wait_replicas if section.durability == "replicated" else 0
    return RequestQueue(
        client,
        section.key_prefix,
        QueueSettings(),
        timeout_ms=section.timeout_ms,
        replicas=replicas,
    )
