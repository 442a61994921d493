"""One end of the socket pair between the parent and a process of the pool."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

from runtime.process_pool.messages import Frames


class Link(asyncio.Protocol):
    """Takes messages, and sends those of one round of the event loop together.

    Args:
        take: called with each message.
        lost: called once, when the other end is gone or this one was closed.
    """

    def __init__(self, take: Callable[[Any], object], lost: Callable[[], object]) -> None:
        self._frames = Frames(take)
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()

    def send(self, data: bytes) -> None:
        """Send a frame; nothing happens once the other end is gone."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def send_soon(self, data: bytes) -> None:
        """Send a frame from any thread."""
        self._loop.call_soon_threadsafe(self.send, data)

    async def aclose(self) -> None:
        """Send what waits, and close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
            await self._gone.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Not asked with isinstance: uvloop's transports have classes of their own.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._frames.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._transport = None
        self._gone.set()
        self._lost()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and self._transport is not None:
            self._transport.write(b"".join(waiting))


async def open_link(link: Link, sock: socket.socket) -> None:
    """Connect a link to its end of a socket pair."""
    sock.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=sock)
