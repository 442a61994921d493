from __future__ import annotations

import asyncio
import socket

import pytest

from tests.harness.network_guard import RealNetworkForbidden

# Addresses set aside for documentation: no real host is behind them.
FOREIGN = "192.0.2.1"
FOREIGN_V6 = "2001:db8::1"


def test_a_host_name_is_not_looked_up(refused_connections: list[str]) -> None:
    with pytest.raises(RealNetworkForbidden, match=r"api\.example\.com"):
        socket.getaddrinfo("api.example.com", 443)
    assert refused_connections == ["api.example.com"]
    refused_connections.clear()


@pytest.mark.parametrize("host", [FOREIGN, FOREIGN_V6])
async def test_asyncio_can_not_reach_another_host(
    host: str, refused_connections: list[str]
) -> None:
    with pytest.raises(RealNetworkForbidden):
        await asyncio.open_connection(host, 443)
    assert refused_connections == [host]
    refused_connections.clear()


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_a_plain_socket_can_not_reach_another_host(
    method: str, refused_connections: list[str]
) -> None:
    with socket.socket() as client, pytest.raises(RealNetworkForbidden):
        getattr(client, method)((FOREIGN, 443))
    refused_connections.clear()


def test_a_datagram_can_not_be_sent_to_another_host(refused_connections: list[str]) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client, pytest.raises(RealNetworkForbidden):
        client.sendto(b"x", (FOREIGN, 53))
    refused_connections.clear()


async def test_loopback_is_reached_by_name_and_by_address() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            reader, writer = await asyncio.open_connection(host, port)
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()
