"""An HTTP server on loopback that answers with the very bytes that it is given."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """What a server has received, and where it is. Header names are in lower case."""

    port: int = 0
    connections: int = 0
    most_at_once: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    """Those of the connections that are open."""
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def hang_up(self) -> None:
        """Close all connections at once, before an event loop has a turn to notice it."""
        for writer in self.writers:
            number = os.dup(writer.get_extra_info("socket").fileno())
            with socket.socket(fileno=number) as same:
                same.shutdown(socket.SHUT_RDWR)


class FakeResolver(AbstractResolver):
    """Finds hosts by a table that tests change: name to addresses with ports."""

    def __init__(self, **hosts: list[tuple[str, int]]) -> None:
        self.hosts = hosts
        self.lookups = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        self.lookups += 1
        if host not in self.hosts:
            raise OSError(socket.EAI_NONAME, "unknown host")
        return [
            ResolveResult(
                hostname=host, host=address, port=at, family=socket.AF_INET, proto=0, flags=0
            )
            for address, at in self.hosts[host]
        ]

    async def close(self) -> None:
        """Close nothing."""


def response(
    body: bytes = b"{}", *headers: bytes, status: bytes = b"200 OK", length: int | None = None
) -> bytes:
    """Return an answer as it goes over the wire."""
    size = len(body) if length is None else length
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % size, *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@asynccontextmanager
async def answering(
    answer: bytes,
    *,
    tls: ssl.SSLContext | None = None,
    once: bool = False,
    hold: asyncio.Event | None = None,
) -> AsyncIterator[RawServer]:
    """Serve this answer to every request; an empty one closes the connection instead.

    Args:
        once: answer the first request of a connection; the next one closes it.
        hold: answer when this is set.
    """
    server = RawServer()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.writers.add(writer)
        server.all_closed.clear()
        server.most_at_once = max(server.most_at_once, len(server.writers))
        try:
            for number in range(1_000_000):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.rstrip().split("\r\n")
                pairs = (entry.partition(": ") for entry in lines)
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                server.requests.append((line, headers, body))
                if hold is not None:
                    await hold.wait()
                if not answer or (once and number):
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            server.writers.discard(writer)
            writer.close()
            if not server.writers:
                server.all_closed.set()

    async with serving(talk, tls=tls) as server.port:
        yield server


@asynccontextmanager
async def serving(talk: Talk, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve each connection by a coroutine function, which closes it; yields the port.

    At the end, what still talks is cancelled.
    """
    talking: set[asyncio.Task[None] | None] = set()

    async def talk_until_the_end(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        talking.add(task)
        try:
            await talk(reader, writer)
        except asyncio.CancelledError:
            # Not raised again: asyncio would log it.
            writer.transport.abort()
        finally:
            talking.discard(task)

    listening = await asyncio.start_server(talk_until_the_end, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        tasks = [task for task in talking if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


@asynccontextmanager
async def answering_once(answer: bytes) -> AsyncIterator[RawServer]:
    """Serve this answer, whole or not, and close the connection: nothing waits for the rest."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with serving(talk) as port:
        yield RawServer(port)


@contextmanager
def silent_host() -> Iterator[int]:
    """Give a port to which a connection is never made, nor refused: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
