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
    """Requests to one path of a server, over as many connections as there are calls at a time.

    Each run has connections of its own: servers close those that idle.

    Args:
        path: what all requests go to.
        headers: what all requests have.
        answered: bytes that each answer has, unless the model did not answer.
    """

    def __init__(self, url: str, path: str, headers: Mapping[str, str], *, answered: bytes) -> None:
        self._answered = answered
        self._address = urlsplit(url)
        fields = {
            "Host": self._address.netloc,
            "Content-Type": "application/json",
            **headers,
        }
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._head = "\r\n".join(lines).encode() + b"\r\nContent-Length: %d\r\n\r\n"

    async def run(self, bodies: Iterable[Mapping[str, Any]]) -> float:
        """Send all bodies; return how many seconds that took.

        Raises:
            RuntimeError: one was not answered 200 and by the model.
        """
        feed = iter([self._request(body) for body in bodies])
        async with self._connected(CONCURRENCY) as connections:
            since_s = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for streams in connections:
                    group.create_task(self._work(streams, feed))
            return time.perf_counter() - since_s

    async def one(self, body: Mapping[str, Any]) -> Any:
        """Send one body; return its answer."""
        async with self._connected(1) as [streams]:
            return json.loads(await _call(streams, self._request(body)))

    async def _work(self, streams: _Streams, feed: Iterator[bytes]) -> None:
        for request in feed:
            answer = await _call(streams, request)
            if self._answered not in answer:
                raise RuntimeError(f"the model did not answer: {answer!r}")

    def _request(self, body: Mapping[str, Any]) -> bytes:
        content = json.dumps(body).encode()
        return self._head % len(content) + content

    @asynccontextmanager
    async def _connected(self, count: int) -> AsyncIterator[list[_Streams]]:
        host, port = self._address.hostname, self._address.port
        connections = [await asyncio.open_connection(host, port) for _ in range(count)]
        try:
            yield connections
        finally:
            for _, writer in connections:
                writer.close()


async def _call(streams: _Streams, request: bytes) -> bytes:
    reader, writer = streams
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, after = head.partition(b"content-length:")
    if not head.startswith(b"http/1.1 200") or not after:
        raise RuntimeError(f"not answered: {head.decode(errors='replace')}")
    return await reader.readexactly(int(after.partition(b"\r\n")[0]))
