"""Enqueues or runs tickets on one engine: ``ticket_worker.py ENGINE VERB URL CLUSTER ...``.

It runs in an environment of the engine's own, so it imports nothing of creditgate.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

IDLE_S = 5
CONCURRENCY = 8
QUEUE = "tickets"


async def _run(ticket: str, seconds: float, log: str) -> None:
    if seconds:
        _note(log, f"began {ticket}")
        await asyncio.sleep(seconds)
    _note(log, f"ended {ticket}")


def _note(log: str, what: str) -> None:
    with Path(log).open("a") as file:
        file.write(f"{time.time():.3f} {what} {os.getpid()}\n")


def _streaq(url: str, cluster: bool) -> Any:
    from streaq import Worker

    options: dict[str, Any] = {"redis_url": url}
    if cluster:
        address = urlsplit(url)
        options = {"cluster_nodes": [(address.hostname, address.port)]}
    worker: Any = Worker(
        queue_name=f"{{{QUEUE}}}",
        concurrency=CONCURRENCY,
        prefetch=1,
        idle_timeout=IDLE_S,
        serializer=json.dumps,
        deserializer=json.loads,
        **options,
    )
    worker.task(name="ticket", silent=True, ttl=0, max_tries=None)(_run)
    return worker


async def _streaq_enqueue(
    url: str, cluster: bool, tickets: list[str], seconds: float, log: str
) -> None:
    worker = _streaq(url, cluster)
    registered = worker.registry["ticket"]
    async with worker:
        for first in range(0, len(tickets), 500):
            tasks = []
            for ticket in tickets[first : first + 500]:
                task = registered.enqueue(ticket, seconds, log)
                task.id = ticket
                tasks.append(task)
            await worker.enqueue_many(tasks)


def _taskiq(url: str, cluster: bool) -> tuple[Any, Any]:
    from taskiq_redis import RedisStreamBroker, RedisStreamClusterBroker

    if cluster:
        broker: Any = RedisStreamClusterBroker(url, queue_name=QUEUE, consumer_id="0")
    else:
        broker = RedisStreamBroker(
            url,
            queue_name=QUEUE,
            consumer_id="0",
            idle_timeout=IDLE_S * 1000,
            unacknowledged_lock_timeout=10,
            xread_count=1,
        )
    return broker, broker.register_task(_run, task_name="ticket")


async def _taskiq_enqueue(
    url: str, cluster: bool, tickets: list[str], seconds: float, log: str
) -> None:
    broker, task = _taskiq(url, cluster)
    await broker.startup()
    for first in range(0, len(tickets), 64):
        sends = [
            task.kicker().with_task_id(ticket).kiq(ticket, seconds, log)
            for ticket in tickets[first : first + 64]
        ]
        await asyncio.gather(*sends)
    await broker.shutdown()


async def _taskiq_work(url: str, cluster: bool) -> None:
    from taskiq.api import run_receiver_task

    broker, _ = _taskiq(url, cluster)
    broker.is_worker_process = True
    await run_receiver_task(broker, max_async_tasks=CONCURRENCY, max_prefetch=1, run_startup=True)


def main() -> None:
    """Do what the arguments say."""
    engine, verb, url, kind, *rest = sys.argv[1:]
    cluster = kind == "cluster"
    if verb == "enqueue":
        prefix, count, seconds, log = rest
        tickets = [f"{prefix}#{n}" for n in range(int(count))]
        enqueue = _streaq_enqueue if engine == "streaq" else _taskiq_enqueue
        since_s = time.perf_counter()
        asyncio.run(enqueue(url, cluster, tickets, float(seconds), log))
        print(time.perf_counter() - since_s)
    elif engine == "streaq":
        _streaq(url, cluster).run_sync()
    else:
        asyncio.run(_taskiq_work(url, cluster))


if __name__ == "__main__":
    main()
