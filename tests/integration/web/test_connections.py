"""Connections: clients that are slow, idle or many harm no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from runtime.web import connections, request_bounds
from runtime.web.request_bounds import RequestBounds
from runtime.web.serving import listen, serving
from tests.harness.bounds import peak_bytes
from tests.harness.raw_requests import answer, connected, head

JSON = {"Content-Type": "application/json"}


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    if request.url.path == "/large":
        await Response(b"x" * 20_000_000)(scope, receive, send)
    elif request.url.path == "/slow":
        await asyncio.sleep(1)
        await JSONResponse({})(scope, receive, send)
    else:
        await JSONResponse({"bytes": len(await request.body())})(scope, receive, send)


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    async with serving(RequestBounds(_app), listen("127.0.0.1", 0)) as url:
        yield url


async def works(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).text == '{"bytes":0}'


async def test_law_15_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    async with served() as url:
        for sent in (b"", b"POST / HT", b"GET / HTTP/1.1\r\nHost: te", b"\r\n"):
            async with connected(url) as (reader, writer):
                writer.write(sent)
                assert await asyncio.wait_for(reader.read(), 5) == b""
        async with connected(url) as (reader, writer):
            writer.write(head("GET", "/", {}))
            assert (await answer(reader))[0] == 200
            writer.write(b"GET / HT")
            assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_law_15_a_request_that_takes_its_time_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    async with served() as url, connected(url) as (reader, writer):
        writer.write(head("GET", "/slow", {}))
        assert (await answer(reader))[0] == 200


async def test_law_15_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.web.serving.IDLE_S", 0.1)
    async with served() as url, connected(url) as (reader, writer):
        writer.write(head("GET", "/", {}))
        assert (await answer(reader))[0] == 200
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_law_15_a_body_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_bounds, "BODY_S", 0.3)
    async with served() as url, connected(url) as (reader, writer):
        writer.write(head("POST", "/", {**JSON, "Content-Length": "1000"}))
        for _ in range(3):
            writer.write(b" ")
            await asyncio.sleep(0.05)
        status, headers, body = await asyncio.wait_for(answer(reader), 5)
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["type"] == "urn:creditgate:problem:body_too_slow"
        assert await reader.read() == b""


async def test_law_15_an_answer_that_is_not_read_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.2)
    async with served() as url, connected(url) as (reader, writer):
        writer.write(head("GET", "/large", {}))
        await asyncio.sleep(1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(answer(reader), 20)
        assert await works(url)


async def test_law_15_ten_megabytes_are_refused_before_they_come() -> None:
    async with served() as url, connected(url) as (reader, writer):
        writer.write(head("POST", "/", {**JSON, "Content-Length": "10000000"}))
        status, _, body = await asyncio.wait_for(answer(reader), 5)
        assert (status, json.loads(body)["type"]) == (
            413,
            "urn:creditgate:problem:body_too_large",
        )
        for _ in range(10):
            writer.write(b" " * 1_000_000)
            await writer.drain()
        writer.write(head("GET", "/", {}))
        assert (await asyncio.wait_for(answer(reader), 5))[0] == 200, "and the connection goes on"
        assert await works(url)


async def test_law_15_a_body_without_an_end_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    async with served() as url, connected(url) as (_, writer):
        writer.write(head("POST", "/", {**JSON, "Transfer-Encoding": "chunked"}))

        async def go_on() -> None:
            for _ in range(1_000):
                writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await go_on()
        assert await works(url)


async def test_law_15_a_head_without_an_end_is_refused() -> None:
    async with served() as url, connected(url) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n")
        for number in range(200):
            writer.write(b"X-%d: %b\r\n" % (number, b"v" * 1_000))
        status, _, body = await asyncio.wait_for(answer(reader), 5)
        assert (status, json.loads(body)["status"]) == (431, 431)


async def test_what_is_not_http_gets_a_problem() -> None:
    async with served() as url, connected(url) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        status, headers, body = await asyncio.wait_for(answer(reader), 5)
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        assert json.loads(body)["type"] == "urn:creditgate:problem:not_http"


async def test_law_15_a_thousand_idle_connections_do_no_harm() -> None:
    async with served() as url, AsyncExitStack() as stack:
        for _ in range(1_000):
            await stack.enter_async_context(connected(url))
        assert await works(url)
        reader, writer = await stack.enter_async_context(connected(url))
        writer.write(head("GET", "/", {}))
        assert (await answer(reader))[0] == 200


async def test_law_15_beyond_the_most_connections_the_longest_idle_one_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.web.serving.most_connections", lambda: 3)
    async with served() as url, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(url)) for _ in range(3)]
        for reader, writer in streams:
            writer.write(head("GET", "/", {}))
            assert (await answer(reader))[0] == 200
        streams[0][1].write(head("GET", "/slow", {}))
        await asyncio.sleep(0.1)
        assert await works(url)
        assert await asyncio.wait_for(streams[1][0].read(), 5) == b"", "idle for longest"
        assert (await answer(streams[0][0]))[0] == 200, "was busy"
        streams[2][1].write(head("GET", "/", {}))
        assert (await answer(streams[2][0]))[0] == 200, "was idle for less"


async def test_law_15_when_all_connections_are_busy_a_new_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runtime.web.serving.most_connections", lambda: 2)
    async with served() as url, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(url)) for _ in range(2)]
        for _, writer in streams:
            writer.write(head("GET", "/slow", {}))
        await asyncio.sleep(0.1)
        refused, _ = await stack.enter_async_context(connected(url))
        status, _, body = await asyncio.wait_for(answer(refused), 5)
        assert status == 503
        assert json.loads(body)["type"] == "urn:creditgate:problem:too_many_connections"
        for reader, _ in streams:
            assert (await answer(reader))[0] == 200
        assert await works(url)


def test_law_15_a_connection_that_idles_takes_less_than_40_kb() -> None:
    async def idle() -> None:
        async with served() as url, AsyncExitStack() as stack:
            for _ in range(100):
                await stack.enter_async_context(connected(url))
            assert await works(url)

    assert peak_bytes(lambda: asyncio.run(idle())) < 100 * 40_000
