"""The life of a service: it listens, is ready, drains and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.config_file import load
from runtime.cli.interruption import Interruption
from runtime.cli.ledger import print_json, run_async
from runtime.cli.options import BadInput
from runtime.cli.reloading import ConfigReload, has_terminal
from runtime.cli.service_logs import begin_logs
from runtime.config import Config
from runtime.web.app import create_app, create_metrics_app
from runtime.web.service import Service, open_service
from runtime.web.serving import ending_with, listen, serving

_log = logging.getLogger("creditgate.serve")

OnReady = Callable[[Service, str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets of a service: the API's, and the metrics' if they have one of their own."""

    api: socket.socket
    metrics: socket.socket | None


def serve(config_path: Path, host: str | None, port: int | None, *, as_json: bool) -> None:
    """Serve by a config file until a signal.

    Raises:
        BadInput: the config asks for the embedded server, or the address can't be listened on.
        KeyboardInterrupt: a second signal ended it at once, or a first one before it was ready.
    """
    config = load(config_path)
    if config.redis.is_embedded:
        raise BadInput(
            "redis.url is embedded, which serves one process and no other one. Set it to the "
            "address of a Redis, or try the service with --demo"
        )
    listeners = listeners_of(config, host, port)
    begin_logs()
    run_async(_serve(config, listeners, config_path, as_json=as_json))


def listeners_of(config: Config, host: str | None, port: int | None) -> Listeners:
    """Listen where the config or the command line says.

    Raises:
        BadInput: an address is in use, or not of this machine.
    """
    section = config.service
    host = section.host if host is None else host
    api = _listen(host, section.port if port is None else port)
    metrics = None if section.metrics_port is None else _listen(host, section.metrics_port)
    return Listeners(api, metrics)


async def run_service(
    config: Config, listeners: Listeners, reload: ConfigReload | None, on_ready: OnReady
) -> None:
    """Serve until a signal, and end gently.

    Args:
        on_ready: called with the service and its address once it listens.
    """
    # Whatever runs has ended by then: deadlines are shorter than reservations last.
    within_s = config.executions.reservation_ttl_ms / 1000
    stopped = asyncio.Event()
    async with AsyncExitStack() as stack:
        hang_up = None if reload is None or has_terminal() else reload.ask
        interruption = stack.enter_context(Interruption(hang_up))
        service = await stack.enter_async_context(open_service(config))
        if reload is not None:
            await stack.enter_async_context(reload.serving(service))
        if listeners.metrics is not None:
            app = create_metrics_app(service)
            url = await stack.enter_async_context(serving(app, listeners.metrics))
            _log.info("metrics", extra={"url": f"{url}/metrics"})
        await stack.enter_async_context(ending_with(service.running, within_s=within_s))
        app = create_app(service)
        await asyncio.to_thread(app.openapi)  # now, for it would hold up requests
        url = await stack.enter_async_context(serving(app, listeners.api, answer_within_s=within_s))
        interruption.steps = [stopped.set, *interruption.steps]
        await on_ready(service, url)
        await stopped.wait()
        service.readiness.drain()
        _log.info("ending: answering what runs; a second signal ends it at once")
        await asyncio.sleep(config.service.drain_delay_ms / 1000)
    _log.info("ended")


async def _serve(config: Config, listeners: Listeners, config_path: Path, *, as_json: bool) -> None:
    async def tell(_: Service, url: str) -> None:
        _log.info("listening", extra={"url": url, "docs": f"{url}/docs", "pid": os.getpid()})
        if as_json:
            print_json({"url": url, "pid": os.getpid()})

    await run_service(config, listeners, ConfigReload(config_path), tell)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise BadInput(f"can't listen on {host}:{port}: {reason}") from None
