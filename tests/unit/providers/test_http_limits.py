"""Time limits of our HTTP client: whose they are, and what an error says of them."""

from __future__ import annotations

import asyncio
import time

import pytest

from providers.http import HttpClient, Lost, NotConnected
from providers.http_pool import HttpLimits
from tests.harness.http_clients import limited, post
from tests.harness.paths import ROOT
from tests.harness.raw_http import FakeResolver, Talk, answering, response, serving, silent_host


async def test_a_host_that_does_not_connect_is_not_connected_within_the_limit() -> None:
    with silent_host() as port:
        async with limited(HttpLimits(connect_s=0.2)) as client:
            with pytest.raises(NotConnected, match=r"no connection within 0\.2 s"):
                await post(client, f"http://127.0.0.1:{port}")


async def test_a_host_that_is_silent_in_its_tls_handshake_is_not_connected() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with limited(HttpLimits(connect_s=0.2)) as client, serving(talk) as port:
        with pytest.raises(NotConnected, match=r"no connection within 0\.2 s"):
            await post(client, f"https://127.0.0.1:{port}")


async def test_waiting_for_a_free_connection_and_connecting_share_one_limit() -> None:
    resolver = FakeResolver()
    limits = HttpLimits(connections=1, connect_s=1, dns_s=0)
    with silent_host() as silent:
        async with (
            limited(limits, resolver) as client,
            answering(response(), hold=asyncio.Event()) as server,
        ):
            resolver.hosts["host"] = [("127.0.0.1", server.port)]
            first = asyncio.create_task(post(client, "http://host/"))
            await asyncio.sleep(0.02)
            resolver.hosts["host"] = [("127.0.0.1", silent)]
            asyncio.get_running_loop().call_later(0.8, first.cancel)
            begun_s = time.monotonic()
            with pytest.raises(NotConnected, match="no connection within"):
                await post(client, "http://host/")
            assert time.monotonic() - begun_s < 1.6


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


async def beginning(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(response(b"{", length=2))
    await reader.read()
    writer.close()


async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    "talk, limits, text",
    [
        (listening, HttpLimits(first_byte_s=0.1), "no answer within 0.1 s"),
        (beginning, HttpLimits(pause_s=0.1), "nothing more of the answer within 0.1 s"),
        (dripping, HttpLimits(total_s=0.3), "no whole answer within 0.3 s"),
        (listening, HttpLimits(total_s=0.1), "no whole answer within 0.1 s"),
    ],
)
async def test_law_15_a_host_that_takes_too_long_loses_the_call_and_the_limit_is_named(
    talk: Talk,
    limits: HttpLimits,
    text: str,
) -> None:
    async with limited(limits) as client, serving(talk) as port, asyncio.timeout(5):
        with pytest.raises(Lost) as lost:
            await post(client, f"http://127.0.0.1:{port}")

    assert str(lost.value) == text


async def test_a_host_that_is_slow_but_not_silent_is_waited_for() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 6\r\n\r\n", *[b"a"] * 6):
            await asyncio.sleep(0.2)
            writer.write(part)
        writer.close()

    limits = HttpLimits(first_byte_s=3, pause_s=1)
    async with limited(limits) as client, serving(talk) as port:
        assert (await post(client, f"http://127.0.0.1:{port}")).body == b"aaaaaa"


async def test_the_callers_limit_is_the_callers_error_and_closes_the_connection(
    client: HttpClient,
) -> None:
    async with answering(response(), hold=asyncio.Event()) as server:
        task = asyncio.create_task(post(client, server.url))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await post(client, server.url)
    assert server.connections == 2


async def test_a_limit_that_ends_a_call_leaves_its_task_alive() -> None:
    async with limited(HttpLimits(first_byte_s=0.05)) as client, serving(listening) as port:
        async with asyncio.timeout(5):
            for _ in range(2):
                with pytest.raises(Lost):
                    await post(client, f"http://127.0.0.1:{port}")
            await asyncio.sleep(0)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


def test_the_page_on_providers_names_every_limit() -> None:
    page = (ROOT / "docs" / "providers.md").read_text("utf-8")
    _, _, section = page.partition("## Connections and time limits")
    table = [row.split(" | ") for row in section.partition("\n## ")[0].splitlines() if "|" in row]
    limits = HttpLimits()

    said = [row[1] for row in table[2:]]
    for seconds in (limits.connect_s, limits.first_byte_s, limits.pause_s, limits.total_s):
        assert said.pop(0) == f"{seconds:,} s"
    assert "attempt_timeout_ms" in said.pop(0)
    assert "deadline_ms" in said.pop(0)
    assert said.pop(0).startswith(f"{limits.connections:,},")
    assert said == [f"{seconds:,} s" for seconds in (limits.idle_s, limits.age_s, limits.dns_s)]
