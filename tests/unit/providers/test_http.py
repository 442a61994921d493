"""Our HTTP client: where a request goes, what goes with it, and what is read of the answer."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.http import (
    MAX_ANSWER_BYTES,
    BadEncoding,
    HttpAnswer,
    HttpClient,
    Lost,
    NotAnswered,
    NotConnected,
    TooLarge,
    _unpack,
)
from tests.harness.bounds import assert_linear, cpu_s, peak_bytes
from tests.harness.raw_http import answering, answering_once, response

MOST_S = 0.05
KEY = (b"Authorization", b"Bearer sk-1")


async def ask(client: HttpClient, answer: bytes, **options: Any) -> HttpAnswer:
    async with answering(answer) as server:
        return await client.send("POST", f"{server.url}/v1", [KEY], b"{}", **options)


# What is sent


async def test_law_16_a_request_is_sent_once_with_just_what_it_was_given(
    client: HttpClient,
) -> None:
    async with answering(response(b'{"a": 1}', b"X-Id: 7")) as server:
        answer = await client.send("POST", f"{server.url}/v1/a%2Fb?c=d", [KEY], b"{}")

    [(line, headers, body)] = server.requests
    assert (line, body) == ("POST /v1/a%2Fb?c=d HTTP/1.1", b"{}")
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "authorization": "Bearer sk-1",
        "accept-encoding": "gzip, deflate",
        "content-length": "2",
    }
    assert (answer.status, answer.body, answer.header("x-id")) == (200, b'{"a": 1}', "7")


@pytest.mark.parametrize(
    "header",
    [b"Host: b", b"Content-Length: 9", b"Transfer-Encoding: chunked", b"Expect: 100-continue"],
)
async def test_how_a_request_is_framed_is_the_clients_alone(
    client: HttpClient, header: bytes
) -> None:
    name, _, value = header.partition(b": ")
    async with answering(response()) as server:
        await client.send("POST", server.url, [(name, value)], b"{}")

    [(_, headers, body)] = server.requests
    assert body == b"{}"
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "gzip, deflate",
        "content-length": "2",
    }


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_law_16_a_redirect_is_an_answer_and_nothing_is_sent_on(
    client: HttpClient, status: int
) -> None:
    async with answering(response()) as elsewhere:
        location = b"Location: " + elsewhere.url.encode()
        answer = await ask(client, response(b"", location, status=b"%d X" % status))

    assert answer.status == status
    assert elsewhere.requests == []


async def test_law_16_no_cookie_of_an_answer_goes_with_the_next_request(
    client: HttpClient,
) -> None:
    async with answering(response(b"{}", b"Set-Cookie: a=b; Path=/")) as server:
        for _ in range(2):
            await client.send("POST", server.url, [], b"{}")

    assert all("cookie" not in headers for _, headers, _ in server.requests)


async def test_law_16_proxies_of_the_environment_get_nothing(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(response()) as proxy, answering(response()) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        await client.send("POST", server.url, [KEY], b"{}")

    assert (len(server.requests), proxy.requests) == (1, [])


async def test_a_request_goes_through_the_proxy_that_it_is_given(client: HttpClient) -> None:
    async with answering(response()) as proxy:
        address = proxy.url.replace("http://", "http://me:secret@")
        await client.send("POST", "http://127.0.0.1:9/v1", [KEY], b"{}", proxy=address)

    [(line, headers, _)] = proxy.requests
    assert line == "POST http://127.0.0.1:9/v1 HTTP/1.1"
    assert headers["proxy-authorization"].startswith("Basic ")


async def test_one_request_after_the_other_takes_the_same_connection(client: HttpClient) -> None:
    async with answering(response()) as server:
        for _ in range(3):
            await client.send("POST", server.url, [], b"{}")

    assert (len(server.requests), server.connections) == (3, 1)


async def test_certificates_are_those_of_the_config_and_never_of_the_environment(
    client: HttpClient, own_tls: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, ca_file = own_tls
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, ca_file)
    monkeypatch.setenv("SSL_VERIFY", "False")
    keys = Path(ca_file).with_name("keys")
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))

    async with answering(response(), tls=tls) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(NotConnected):
            await client.send("POST", url, [KEY], b"{}")
        assert server.requests == []
        await client.send("POST", url, [KEY], b"{}", ca_file=ca_file)
        with pytest.raises(NotConnected):
            await client.send("POST", url, [KEY], b"{}")

    assert len(server.requests) == 1
    assert not keys.exists()


# What is certain without an answer


async def test_a_refused_connection_is_not_connected(client: HttpClient) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(NotConnected):
            await client.send("POST", f"http://127.0.0.1:{closed.getsockname()[1]}", [], b"")


@pytest.mark.parametrize("url", ["http://", "http://[::1", "nonsense", "ftp://127.0.0.1/"])
async def test_an_address_that_is_none_is_not_connected(client: HttpClient, url: str) -> None:
    with pytest.raises(NotConnected):
        await client.send("POST", url, [], b"")


async def test_a_host_that_speaks_no_tls_is_not_connected(client: HttpClient) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(response(status=b"400 X"))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotConnected):
            await client.send("POST", f"https://127.0.0.1:{port}", [KEY], b"{}")


async def test_a_missing_file_of_certificates_is_not_connected(client: HttpClient) -> None:
    with pytest.raises(NotConnected):
        await client.send("POST", "https://127.0.0.1:9", [], b"", ca_file="/no/such/file")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed"),
        pytest.param(b"\x00\x01 no HTTP\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", id="long header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 100_000 + b"\r\n", id="many headers"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"
        ),
    ],
)
async def test_an_answer_that_is_none_is_lost(client: HttpClient, answer: bytes) -> None:
    with pytest.raises(Lost):
        await ask(client, answer)


# What is read


@pytest.mark.parametrize("byte", [b"\xe9", b"\xff\xfe", "é".encode(), b"\x80"])
async def test_a_header_of_any_byte_is_read(client: HttpClient, byte: bytes) -> None:
    answer = await ask(client, response(b"{}", b"X-Region: " + byte))

    assert answer.body == b"{}"
    assert dict(answer.headers)[b"X-Region"] == byte
    assert answer.header("x-region") == byte.decode("latin-1")


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def raw_deflate(content: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-15)
    return packing.compress(content) + packing.flush()


@pytest.mark.parametrize(
    "encoding, packed",
    [
        (b"gzip", gzipped(b"hello")),
        (b"x-gzip", gzipped(b"hello")),
        (b"GZip", gzipped(b"hello")),
        (b"identity, gzip", gzipped(b"hello")),
        (b"deflate", zlib.compress(b"hello")),
        (b"deflate", raw_deflate(b"hello")),
        (b"identity", b"hello"),
        (b"", b"hello"),
    ],
)
async def test_an_answer_that_is_packed_once_is_unpacked(
    client: HttpClient, encoding: bytes, packed: bytes
) -> None:
    answer = await ask(client, response(packed, b"Content-Encoding: " + encoding))

    assert answer.body == b"hello"
    assert answer.header("content-encoding") is None
    assert answer.header("content-length") is None


@pytest.mark.parametrize(
    "headers, packed",
    [
        ([b"gzip, gzip, gzip"], gzipped(gzipped(gzipped(b"hello")))),
        ([b"gzip", b"gzip"], gzipped(gzipped(b"hello"))),
        ([b"deflate, gzip"], gzipped(zlib.compress(b"hello"))),
        ([b"br"], b"\x0b\x02\x80hello\x03"),
        ([b"zstd"], b"hello"),
        ([b"\xe9"], b"hello"),
        ([b"gzip"], b"hello"),
        ([b"gzip"], gzipped(b"hello")[:-3]),
        ([b"gzip"], gzipped(b"hello") + gzipped(b"hello")),
        ([b"deflate"], b"hello"),
    ],
)
async def test_law_15_an_answer_that_is_packed_otherwise_is_none(
    client: HttpClient, headers: list[bytes], packed: bytes
) -> None:
    with pytest.raises(BadEncoding):
        await ask(client, response(packed, *(b"Content-Encoding: " + name for name in headers)))


@pytest.mark.parametrize("status", [b"200 OK", b"500 X"])
async def test_law_15_an_answer_is_read_up_to_its_bound(client: HttpClient, status: bytes) -> None:
    body = b" " * MAX_ANSWER_BYTES

    assert (await ask(client, response(body, status=status))).body == body
    with pytest.raises(TooLarge):
        await ask(client, response(body + b" ", status=status))


async def test_law_15_an_answer_without_end_is_left_at_the_bound(client: HttpClient) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                await writer.drain()
                sent += 65_536
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(TooLarge):
        await client.send("POST", f"http://127.0.0.1:{port}", [], b"")
    server.close()

    # What the sockets hold on the way is not read, but was sent.
    assert sent < 8 * MAX_ANSWER_BYTES


@pytest.mark.parametrize("pack", [gzipped, zlib.compress, raw_deflate])
async def test_law_15_a_packed_answer_is_unpacked_up_to_its_bound(
    client: HttpClient, pack: Any
) -> None:
    encoding = b"gzip" if pack is gzipped else b"deflate"
    header = b"Content-Encoding: " + encoding

    answer = await ask(client, response(pack(b" " * MAX_ANSWER_BYTES), header))
    assert len(answer.body) == MAX_ANSWER_BYTES
    with pytest.raises(TooLarge):
        await ask(client, response(pack(b" " * (MAX_ANSWER_BYTES + 1)), header))


def unpack(content: bytes, encoding: str = "gzip") -> None:
    with suppress(BadEncoding, TooLarge):
        _unpack(content, [encoding], MAX_ANSWER_BYTES)


def test_law_15_unpacking_takes_little_time_and_memory() -> None:
    bomb = gzipped(b" " * 100_000_000)
    full = gzipped(b"0123456789abcdef" * (MAX_ANSWER_BYTES // 16))

    for content in (bomb, full, gzipped(bytes(range(256)) * (MAX_ANSWER_BYTES // 256))):
        assert cpu_s(lambda content=content: unpack(content)) < MOST_S  # type: ignore[misc]  # bound to each
        assert peak_bytes(lambda content=content: unpack(content)) < 4 * MAX_ANSWER_BYTES  # type: ignore[misc]  # bound to each


def test_law_15_unpacking_twice_as_much_takes_about_twice_the_time() -> None:
    assert_linear(
        lambda size: gzipped(bytes(range(256)) * (size // 256)), unpack, MAX_ANSWER_BYTES // 2
    )


# Whatever a server sends


NAMES = st.sampled_from(
    [b"Content-Type", b"Content-Encoding", b"Content-Length", b"Transfer-Encoding", b"Retry-After"]
) | st.binary(min_size=1, max_size=12)
VALUES = st.sampled_from(
    [b"gzip", b"deflate", b"br", b"gzip, gzip", b"chunked", b"-1", b"1e9", b"application/json"]
) | st.binary(max_size=24)
BODIES = st.binary(max_size=60) | st.sampled_from(
    [
        b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}',
        b'{"error": {"message": "overloaded", "code": 529}}',
        b"<html><body>502 Bad Gateway</body></html>",
        gzip.compress(b"{}"),
        gzip.compress(b"x" * 1_000)[:-9],
        zlib.compress(b"{}"),
        b"5\r\n{}",
    ]
)
ANSWERS = st.binary(max_size=80) | st.builds(
    lambda status, headers, body: response(
        body, *(name + b": " + value for name, value in headers), status=status
    ),
    st.sampled_from([b"200 OK", b"204 ", b"503 \xff", b"429 Slow down", b"99 X", b"1000 X"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    BODIES,
)


async def assert_read_or_not_answered(answer: bytes) -> None:
    client = HttpClient()
    try:
        async with asyncio.timeout(10), answering_once(answer) as server:
            read = await client.send("POST", server.url, [KEY], b"{}")
        assert len(read.body) <= MAX_ANSWER_BYTES
        assert read.header("retry-after") is None or isinstance(read.header("retry-after"), str)
    except NotAnswered:
        pass
    finally:
        await client.aclose()


@given(ANSWERS)
def test_law_15_whatever_a_server_sends_is_an_answer_or_none(answer: bytes) -> None:
    asyncio.run(assert_read_or_not_answered(answer))


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(max_examples=2_000)
@given(ANSWERS)
def test_law_15_whatever_a_server_sends_in_many_forms_is_an_answer_or_none(answer: bytes) -> None:
    asyncio.run(assert_read_or_not_answered(answer))
