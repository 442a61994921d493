"""An HTTP server on loopback that answers with the very bytes that it is given."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class RawServer:
    """What a server has received, and where it is. Header names are in lower case."""

    port: int = 0
    connections: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self.port}"


def response(
    body: bytes = b"{}", *headers: bytes, status: bytes = b"200 OK", length: int | None = None
) -> bytes:
    """Return an answer as it goes over the wire."""
    size = len(body) if length is None else length
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % size, *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@asynccontextmanager
async def answering(
    answer: bytes, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Serve this answer to every request; an empty one closes the connection instead."""
    server = RawServer()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.rstrip().split("\r\n")
                pairs = (entry.partition(": ") for entry in lines)
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                server.requests.append((line, headers, body))
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


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

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield RawServer(listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
