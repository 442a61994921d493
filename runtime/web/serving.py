"""Runs the app on a socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from runtime.background import TaskSet
from runtime.web.connections import IDLE_S, Connections, most_connections, protocol_of


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
async def serving(app: FastAPI, listener: socket.socket) -> AsyncIterator[str]:
    """Serve the app in the background; yield its address, and end gently afterwards."""
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
    tasks = TaskSet()
    tasks.start(server.serve(sockets=[listener]))
    host, port = listener.getsockname()[:2]
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await tasks.drain()
