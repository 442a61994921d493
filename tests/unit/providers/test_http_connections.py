"""Connections of our HTTP client: which are used again, how many there are, and where they go."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from providers.http import HttpClient, Lost, NotConnected
from providers.http_pool import Call, HttpLimits
from tests.harness.http_clients import limited, post
from tests.harness.raw_http import FakeResolver, answering, response, serving, silent_host

TCP_TABLE = Path("/proc/net/tcp")
ESTABLISHED = "01"
PROBING = "02"
"""The timer of a connection that is waiting to probe its host."""


# Connections that are used again


async def test_one_request_after_the_other_takes_the_same_connection(client: HttpClient) -> None:
    async with answering(response()) as server:
        for _ in range(3):
            await post(client, server.url)

    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_connection_is_used_again_after_an_answer_of_any_status_and_no_body(
    client: HttpClient,
) -> None:
    answers = (response(status=b"500 X"), b"HTTP/1.1 204 X\r\n\r\n", response(b""))
    for answer in answers:
        async with answering(answer) as server:
            for _ in range(2):
                await post(client, server.url)
        assert server.connections == 1


async def test_law_16_a_connection_that_the_host_closed_is_noticed_before_a_request_is_sent_on_it(
    client: HttpClient,
) -> None:
    async with answering(response()) as server:
        await post(client, server.url)
        server.hang_up()
        await post(client, server.url)

    assert (len(server.requests), server.connections) == (2, 2)


async def test_law_16_a_tls_connection_that_the_host_closed_is_noticed_too(
    client: HttpClient, own_tls: tuple[ssl.SSLContext, str]
) -> None:
    tls, ca_file = own_tls
    async with answering(response(), tls=tls) as server:
        url = server.url.replace("http:", "https:")
        await client.send("POST", url, [], b"{}", ca_file=ca_file)
        await client.send("POST", url, [], b"{}", ca_file=ca_file)
        assert server.connections == 1
        server.hang_up()
        await client.send("POST", url, [], b"{}", ca_file=ca_file)

    assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("has_turn", [True, False])
async def test_law_14_an_answer_that_came_unasked_is_not_that_of_the_next_request(
    client: HttpClient, has_turn: bool
) -> None:
    async with answering(response(b"asked")) as server:
        for _ in range(3):
            assert (await post(client, server.url)).body == b"asked"
            [writer] = server.writers
            writer.write(response(b"unasked"))
            if has_turn:
                await asyncio.sleep(0.02)

    assert server.connections == 3


async def test_of_many_closed_connections_none_is_used(client: HttpClient) -> None:
    async with answering(response()) as server:
        await asyncio.gather(*(post(client, server.url) for _ in range(10)))
        server.hang_up()
        await post(client, server.url)

    assert len(server.requests) == 11


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("body", [b"{}", b""])
async def test_law_16_a_request_on_a_connection_that_breaks_is_not_sent_again(
    client: HttpClient, method: str, body: bytes
) -> None:
    async with answering(response(b""), once=True) as server:
        await client.send(method, server.url, [], body)
        with pytest.raises(Lost):
            await client.send(method, server.url, [], body)

    assert len(server.requests) == 2


async def test_a_connection_that_closes_just_before_the_request_has_nothing_sent_on_it() -> None:
    async with answering(response()) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.transport.abort()
        call = Call(b"{}", now_s=0)
        with pytest.raises(ConnectionResetError):
            await call.write(cast("AbstractStreamWriter", writer))

    assert not call.is_sent


async def test_an_unused_connection_is_closed_after_its_time() -> None:
    async with limited(HttpLimits(idle_s=0.1)) as client, answering(response()) as server:
        await post(client, server.url)
        async with asyncio.timeout(5):
            await server.all_closed.wait()
        await post(client, server.url)

    assert server.connections == 2


@pytest.mark.parametrize(
    "kept_s",
    [
        pytest.param(5, id="uvicorn, with vLLM and LiteLLM's proxy behind it"),
        pytest.param(5, id="Node.js"),
        pytest.param(60, id="AWS's load balancers"),
        pytest.param(75, id="nginx"),
    ],
)
def test_an_unused_connection_is_closed_before_a_common_server_does(kept_s: int) -> None:
    assert HttpLimits().idle_s < kept_s


async def test_a_busy_connection_is_replaced_when_it_is_old() -> None:
    async with limited(HttpLimits(age_s=0.5)) as client, answering(response()) as server:
        for _ in range(3):
            await post(client, server.url)
        assert server.connections == 1
        await asyncio.sleep(0.6)
        await post(client, server.url)

    assert server.connections == 2


@pytest.mark.skipif(not TCP_TABLE.exists(), reason="only Linux has a table of connections")
async def test_a_silent_host_is_probed_while_its_model_thinks(client: HttpClient) -> None:
    timers: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)  # until the request is acknowledged
        to_here = f":{writer.get_extra_info('sockname')[1]:04X}"
        rows = [row.split() for row in TCP_TABLE.read_text().splitlines()]
        timers.extend(row[5] for row in rows if row[2].endswith(to_here) and row[3] == ESTABLISHED)
        writer.write(response())
        writer.close()

    async with serving(talk) as port:
        await post(client, f"http://127.0.0.1:{port}")

    assert [timer.partition(":")[0] for timer in timers] == [PROBING]


# How many


async def test_law_15_calls_beyond_the_bound_of_a_host_wait_for_a_connection() -> None:
    limits = HttpLimits(connections=2)
    async with limited(limits) as client, answering(response()) as server:
        await asyncio.gather(*(post(client, server.url) for _ in range(20)))

    assert (len(server.requests), server.most_at_once) == (20, 2)


async def test_law_15_who_gets_no_connection_in_time_is_told_so_and_has_sent_nothing() -> None:
    hold = asyncio.Event()
    limits = HttpLimits(connections=2, connect_s=0.5)
    async with (
        limited(limits) as client,
        answering(response(), hold=hold) as full,
        answering(response()) as other,
    ):
        first = [asyncio.create_task(post(client, full.url)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(NotConnected) as error:
            await post(client, full.url)
        assert str(error.value).startswith("no connection was free within 0.5 s: 2 are in use")
        await post(client, other.url)
        hold.set()
        await asyncio.gather(*first)
        await post(client, full.url)

    assert len(full.requests) == 3


async def test_a_call_that_is_given_up_leaves_its_connection_to_others() -> None:
    async with (
        limited(HttpLimits(connections=1)) as client,
        answering(response(), hold=asyncio.Event()) as silent,
    ):
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await post(client, silent.url)

    assert len(silent.requests) == 3


# Through a proxy


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect to the host that CONNECT names, and hand on what either side says."""
    line = (await reader.readuntil(b"\r\n\r\n")).decode().split()[1]
    host, _, port = line.partition(":")
    theirs, to_them = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")

    async def hand_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while part := await source.read(65_536):
            sink.write(part)
        sink.close()

    try:
        with suppress(ConnectionError):
            await asyncio.gather(hand_on(reader, to_them), hand_on(theirs, writer))
    finally:
        to_them.transport.abort()
        writer.close()


async def test_a_tunnel_through_a_proxy_is_used_again_and_noticed_when_it_closes(
    client: HttpClient, own_tls: tuple[ssl.SSLContext, str]
) -> None:
    tls, ca_file = own_tls
    async with answering(response(), tls=tls) as server, serving(tunnel) as port:
        url = server.url.replace("http:", "https:")
        proxy = f"http://127.0.0.1:{port}"

        async def ask() -> None:
            await client.send("POST", url, [], b"{}", proxy=proxy, ca_file=ca_file)

        for _ in range(3):
            await ask()
        assert (len(server.requests), server.connections) == (3, 1)
        server.hang_up()
        await asyncio.sleep(0.2)  # the proxy hands it on
        await ask()

    assert (len(server.requests), server.connections) == (4, 2)


async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(response(status=b"407 X"))
    writer.close()


async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_a_proxy_that_refuses_to_connect_or_is_silent_is_not_connected() -> None:
    async with limited(HttpLimits(connect_s=0.2)) as client:
        for talk in (refusing, listening):
            async with serving(talk) as port:
                with pytest.raises(NotConnected):
                    await client.send(
                        "POST", "https://host/", [], b"{}", proxy=f"http://127.0.0.1:{port}"
                    )


# Where a host is


async def test_addresses_of_a_host_are_believed_for_a_time() -> None:
    resolver = FakeResolver()
    async with limited(HttpLimits(), resolver) as client, answering(response()) as server:
        resolver.hosts["api.test"] = [("127.0.0.1", server.port)]
        await asyncio.gather(*(post(client, "http://api.test/") for _ in range(5)))

    assert (server.connections, resolver.lookups) == (5, 1)


async def test_a_host_that_moved_is_found_again() -> None:
    resolver = FakeResolver()
    limits = HttpLimits(dns_s=0, age_s=0.5)
    async with (
        limited(limits, resolver) as client,
        answering(response()) as old,
        answering(response()) as new,
    ):
        resolver.hosts["api.test"] = [("127.0.0.1", old.port)]
        await post(client, "http://api.test/")
        resolver.hosts["api.test"] = [("127.0.0.1", new.port)]
        await post(client, "http://api.test/")
        assert len(new.requests) == 0, "a connection that is young is used"
        await asyncio.sleep(0.6)
        await post(client, "http://api.test/")

    assert (len(old.requests), len(new.requests)) == (2, 1)


async def test_a_host_that_has_no_address_is_not_connected_and_looked_for_again() -> None:
    resolver = FakeResolver()
    async with limited(HttpLimits(), resolver) as client, answering(response()) as server:
        with pytest.raises(NotConnected, match="ClientConnectorDNSError"):
            await post(client, "http://api.test/")
        resolver.hosts["api.test"] = [("127.0.0.1", server.port)]
        await post(client, "http://api.test/")


async def test_of_several_addresses_one_that_refuses_does_not_matter() -> None:
    resolver = FakeResolver()
    async with limited(HttpLimits(), resolver) as client, answering(response()) as server:
        resolver.hosts["api.test"] = [("127.0.0.1", 1), ("127.0.0.1", server.port)]
        await post(client, "http://api.test/")


async def test_of_several_addresses_one_that_is_silent_costs_a_quarter_of_a_second() -> None:
    resolver = FakeResolver()
    with silent_host() as silent:
        async with limited(HttpLimits(), resolver) as client, answering(response()) as server:
            resolver.hosts["api.test"] = [("127.0.0.1", silent), ("127.0.0.1", server.port)]
            begun_s = time.monotonic()
            await post(client, "http://api.test/")
            assert 0.2 < time.monotonic() - begun_s < 2
