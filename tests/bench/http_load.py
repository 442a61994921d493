"""Sends requests over connections that stay open, at as little cost as Python allows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.bench.loads import CONCURRENCY

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HttpLoad:
    """As many connections as there are calls at a time.

    Args:
        path: what all requests go to.
        headers: what all requests have.
    """

    def __init__(
        self, streams: list[_Streams], host: str, path: str, headers: Mapping[str, str]
    ) -> None:
        self._streams = streams
        fields = {"Host": host, "Content-Type": "application/json", **headers}
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._head = "\r\n".join(lines).encode() + b"\r\nContent-Length: %d\r\n\r\n"

    async def run(self, bodies: Iterable[Mapping[str, Any]]) -> float:
        """Send all bodies; return how many seconds that took.

        Raises:
            RuntimeError: one was not answered 200.
        """
        contents = [json.dumps(body).encode() for body in bodies]
        feed = iter([self._head % len(content) + content for content in contents])
        since_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for streams in self._streams:
                group.create_task(_work(streams, feed))
        return time.perf_counter() - since_s

    async def one(self, body: Mapping[str, Any]) -> Any:
        """Send one body; return its answer."""
        content = json.dumps(body).encode()
        return json.loads(await _call(self._streams[0], self._head % len(content) + content))


@asynccontextmanager
async def open_load(
    url: str, path: str, headers: Mapping[str, str], connections: int = CONCURRENCY
) -> AsyncIterator[HttpLoad]:
    """Connect to a server."""
    address = urlsplit(url)
    streams = [
        await asyncio.open_connection(address.hostname, address.port) for _ in range(connections)
    ]
    try:
        yield HttpLoad(streams, address.netloc, path, headers)
    finally:
        for _, writer in streams:
            writer.close()


async def _work(streams: _Streams, feed: Iterator[bytes]) -> None:
    for request in feed:
        await _call(streams, request)


async def _call(streams: _Streams, request: bytes) -> bytes:
    reader, writer = streams
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, after = head.partition(b"content-length:")
    if not head.startswith(b"http/1.1 200") or not after:
        raise RuntimeError(f"not answered: {head.decode(errors='replace')}")
    return await reader.readexactly(int(after.partition(b"\r\n")[0]))
