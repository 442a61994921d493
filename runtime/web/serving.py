"""Runs an app on a socket, and ends gently: what runs is answered first."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from runtime.background import TaskSet
from runtime.web.connections import IDLE_S, Connections, most_connections, protocol_of

_log = logging.getLogger("creditgate.serve")

ANSWER_WITHIN_S = 120.0
"""The longest that requests are waited for at the end, unless ``serving`` is told otherwise."""

_CANCELLED_WITHIN_S = 5.0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the command line."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one.

    Raises:
        OSError: the address is in use, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2_048)


@asynccontextmanager
async def serving(
    app: ASGIApp, listener: socket.socket, *, answer_within_s: float = ANSWER_WITHIN_S
) -> AsyncIterator[str]:
    """Serve the app in the background; yield its address, and end gently afterwards.

    At the end no connection is taken any more, and requests that run are answered. Those that take
    longer than ``answer_within_s`` are cancelled; all are at once if the caller is cancelled.
    """
    connections = Connections(most_connections())
    config = uvicorn.Config(
        app,
        http=protocol_of(connections),  # type: ignore[arg-type]  # a subclass of uvicorn's own
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_keep_alive=IDLE_S,
        server_header=False,
        date_header=True,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    host, port = listener.getsockname()[:2]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    except asyncio.CancelledError:
        answer_within_s = 0
        raise
    finally:
        server.should_exit = True
        await _end(server, task, answer_within_s)


async def _end(server: _Server, task: asyncio.Task[None], answer_within_s: float) -> None:
    try:
        await asyncio.wait([task], timeout=answer_within_s)
    finally:
        if not task.done():
            requests = list(server.server_state.tasks)
            _log.warning("%d requests are cancelled", len(requests))
            server.force_exit = True
            for request in requests:
                request.cancel()
            await asyncio.wait([task, *requests], timeout=_CANCELLED_WITHIN_S)
    if task.done():
        task.result()


@asynccontextmanager
async def ending_with(
    running: TaskSet, *, within_s: float = ANSWER_WITHIN_S
) -> AsyncIterator[None]:
    """Let executions end after the block, also those whose clients have gone.

    They are cancelled after ``within_s``, or at once if the caller is cancelled; then nothing of
    theirs stays reserved.
    """
    try:
        yield
        await _drained(running, within_s)
    finally:
        if count := len(running):
            _log.warning("%d executions are cancelled", count)
            await running.cancel()


async def _drained(running: TaskSet, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await running.drain()
    except TimeoutError:
        return
