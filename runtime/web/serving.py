"""Runs an app on a socket, and ends gently: what runs is answered first."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

_log = logging.getLogger("creditgate.serve")

ANSWER_WITHIN_S = 120.0
"""The longest that requests are waited for at the end, unless ``serving`` is told otherwise."""

_CANCELLED_WITHIN_S = 5.0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the command line."""
        yield

    def cancel_requests(self) -> None:
        """Cancel what runs, and wait for no connection."""
        self.force_exit = True
        for task in list(self.server_state.tasks):
            task.cancel()


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
    longer than ``answer_within_s`` are cancelled. If the caller is cancelled meanwhile, all are.
    """
    server = _Server(uvicorn.Config(app, lifespan="off", access_log=False, log_config=None))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    host, port = listener.getsockname()[:2]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await _end(server, task, answer_within_s)


async def _end(server: _Server, task: asyncio.Task[None], answer_within_s: float) -> None:
    try:
        _, left = await asyncio.wait([task], timeout=answer_within_s)
        if left:
            _log.warning("requests took more than %g s and are cancelled", answer_within_s)
    finally:
        if not task.done():
            requests = list(server.server_state.tasks)
            server.cancel_requests()
            await asyncio.wait([task, *requests], timeout=_CANCELLED_WITHIN_S)
    if task.done():
        task.result()
