"""Responses of the mock provider that take more than they look like, or lead elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from functools import cache
from typing import Any

from aiohttp import web

ELSEWHERE_PATH = "/elsewhere"
_MEGABYTE = b" " * 1_000_000
_MEGABYTES = 1_000
_GZIP = 31
_CHUNK_BYTES = 65_536


async def respond(
    kind: str, request: web.Request, body: dict[str, Any], closing: asyncio.Event
) -> web.StreamResponse:
    """Send a hostile body; ``kind`` is a value of ``body=``.

    Args:
        body: the answer as it would be.
        closing: set when the server ends, as an endless body does then.
    """
    if kind == "endless":
        return await _endless(request, closing)
    if kind == "bomb":
        return _packed(_bomb(), "gzip")
    if kind == "gzip3":
        return _packed(gzip.compress(gzip.compress(_bomb())), "gzip, gzip, gzip")
    content = json.dumps(body).encode()
    headers = {"X-Region": "K\u00f6ln"} if kind == "header" else None
    return web.Response(body=content, headers=headers, content_type="application/json")


def redirect(request: web.Request, status: int) -> web.Response:
    """Send the client to another name of this server, where its requests are counted."""
    port = request.url.port
    host = "127.0.0.1" if request.url.host == "localhost" else "localhost"
    location = f"http://{host}:{port}{ELSEWHERE_PATH}{request.path}"
    return web.Response(status=status, headers={"Location": location})


def _packed(content: bytes, encoding: str) -> web.Response:
    headers = {"Content-Encoding": encoding}
    return web.Response(body=content, headers=headers, content_type="application/json")


@cache
def _bomb() -> bytes:
    """Return 1 GB of spaces, packed: one megabyte, and the same bytes again and again."""
    packing = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    first, again = (
        packing.compress(_MEGABYTE) + packing.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
    )
    return first + again * (_MEGABYTES - 1)


async def _endless(request: web.Request, closing: asyncio.Event) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    spaces = b" " * _CHUNK_BYTES
    while not closing.is_set():
        await response.write(spaces)
    return response
