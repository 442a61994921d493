"""Connections of clients: how many, and how long each may take for what.

uvicorn itself has no bound for a request's head, nor for a client that does not read its answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from runtime.web.problems import MEDIA_TYPE, Problem

HEAD_S = 10.0
"""The longest that a request's head may take to arrive, from its connection or its first byte."""

IDLE_S = 75
"""The longest that a connection is kept between two requests: longer than load balancers keep it,
so that they never write to one that closes."""

UNREAD_S = 30.0
"""The longest that an answer may wait for its client to read on."""

MAX_UNFINISHED_HEAD_BYTES = 64 * 1024
"""The bytes of a head that is not complete, of which ``request_bounds`` allows a part."""

MAX_CONNECTIONS = 10_000
"""Open connections of one process; fewer where the system allows fewer open files."""

_FILES_OF_OURS = 256
_log = logging.getLogger("creditgate.web")


class Connections:
    """The open connections of a server, those without a request in the order of their last one.

    A new connection beyond the limit takes the place of the one that was idle for longest.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open = 0
        self._idle: dict[Connection, None] = {}

    def __len__(self) -> int:
        return self._open

    def opened(self, connection: Connection) -> bool:
        """Take a new connection in; return whether there is room for it."""
        self._open += 1
        if self._open > self.limit:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            del self._idle[oldest]
            oldest.abort()
        self._idle[connection] = None
        return True

    def closed(self, connection: Connection) -> None:
        """Note that a connection has ended."""
        self._open -= 1
        self._idle.pop(connection, None)

    def busy(self, connection: Connection) -> None:
        """Note that a request has begun."""
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """Note that no request is under way."""
        self._idle[connection] = None


class Connection(HttpToolsProtocol):
    """One connection, which is closed when its client takes too long."""

    connections_of_server: Connections

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take a connection in, if there is room."""
        super().connection_made(transport)
        if self.connections_of_server.opened(self):
            self._await_head()
        else:
            detail = f"This process has {self.connections_of_server.limit:,} open connections."
            self._refuse(Problem(503, "too_many_connections", "Too many connections", detail))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self.connections_of_server.closed(self)
        self._end_timers()

    def data_received(self, data: bytes) -> None:
        """Read on; a head that is not complete, and a body after its answer, have their time."""
        of_body = self._in_body
        super().data_received(data)
        if self._is_idle() and not self.transport.is_closing():
            self._head_bytes += 0 if of_body else len(data)
            if self._head_bytes > MAX_UNFINISHED_HEAD_BYTES:
                detail = f"A head may have {MAX_UNFINISHED_HEAD_BYTES:,} bytes at the very most."
                self._refuse(Problem(431, "headers_too_large", "The headers are too large", detail))
            elif self._head_timer is None:
                self._await_head()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._head_bytes = 0
        self._in_body = True
        self.connections_of_server.busy(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the body has come."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End a request."""
        super().on_response_complete()
        if self._is_idle() and not self.transport.is_closing():
            self.connections_of_server.idle(self)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(UNREAD_S, self.abort)

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP as every other error is answered."""
        self._refuse(Problem(400, "not_http", "The request is not HTTP", msg))

    def abort(self) -> None:
        """Close at once, whatever is still to be written."""
        self.transport.abort()

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, which uvicorn's types leave out
        return cycle is None or cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._head_too_slow)

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer without a request, and close."""
        body = json.dumps(problem.body).encode()
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        status = STATUS_LINE[problem.status]
        self.transport.write(status + head % (MEDIA_TYPE.encode(), len(body)) + body)
        self.transport.close()

    def _end_timers(self) -> None:
        for timer in (self._head_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._unread_timer = None


def protocol_of(connections: Connections) -> Callable[..., Connection]:
    """Return the class of connections that count as these."""
    return type("CountedConnection", (Connection,), {"connections_of_server": connections})


def most_connections() -> int:
    """Allow this process as many open files as it may have; return the connections they leave.

    Each connection is an open file, and a process begins with 1,024 of them on most systems.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _FILES_OF_OURS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MAX_CONNECTIONS
    left = max(_FILES_OF_OURS, soft - _FILES_OF_OURS)
    _log.warning("%d open files allow %d connections", soft, left)
    return left
