"""Answers of the mock provider that break HTTP or JSON, or never end."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from providers.mock.options import Transport

_DRIP_INTERVAL_S = 0.05
_HUGE_BYTES = 50_000_000
_CHUNK_BYTES = 65_536


async def break_transport(
    kind: Transport, request: web.Request, body: dict[str, Any], closing: asyncio.Event
) -> web.StreamResponse:
    """Answer a request in a broken way.

    An endless answer ends when the client disconnects or the server closes.

    Args:
        body: the body that an intact answer would have.
    """
    if kind is Transport.NOT_JSON:
        return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")
    if kind is Transport.HUGE:
        return await _answer_at_length(request, body, closing)
    if kind is Transport.SLOW_HEADERS:
        await _drip_headers(request, closing)
    elif kind is Transport.DRIP:
        response = await _begin(request)
        # JSON may begin with any number of spaces, so each byte is valid to the client.
        await _drip(lambda: response.write(b" "), closing)
    elif kind is Transport.HANG:
        await closing.wait()
    return reset(request)


def reset(request: web.Request) -> web.StreamResponse:
    """Close the connection at once with a TCP reset."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.StreamResponse()


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    return response


async def _drip(write: Callable[[], Awaitable[None]], closing: asyncio.Event) -> None:
    while not closing.is_set():
        await write()
        await asyncio.sleep(_DRIP_INTERVAL_S)


async def _drip_headers(request: web.Request, closing: asyncio.Event) -> None:
    """Begin an answer whose first header never ends."""
    connection = request.transport

    async def write(content: bytes = b".") -> None:
        if connection is not None:
            connection.write(content)

    await write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await _drip(write, closing)


async def _answer_at_length(
    request: web.Request, body: dict[str, Any], closing: asyncio.Event
) -> web.StreamResponse:
    """Send 50 MB of spaces before the answer, while the client reads."""
    response = await _begin(request)
    spaces = b" " * _CHUNK_BYTES
    for _ in range(_HUGE_BYTES // _CHUNK_BYTES):
        if closing.is_set():
            return reset(request)
        await response.write(spaces)
    await response.write(json.dumps(body).encode())
    await response.write_eof()
    return response
