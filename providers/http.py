"""Our one HTTP client, over aiohttp: where a request goes, and what is read of its answer.

All requests to providers go through it. The environment is ignored, no redirect is
followed, nothing is sent twice, and an answer has bounds.

HttpError
├── NotConnected    nothing was sent
└── NotAnswered     something may have been sent, and there is no answer to read
    ├── Lost        the connection broke, or it fell silent
    ├── TooLarge    the answer is larger than any model's
    └── BadEncoding the answer is packed in a way that was not asked for, or is damaged
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
import certifi
from yarl import URL

MAX_ANSWER_BYTES = 2 * 1024 * 1024
"""The longest answers of today, 128,000 tokens, take 0.5 MB in English; as ``\\uXXXX``, 1.5 MB."""

CONNECT_TIMEOUT_S = 10
"""A limit for finding the host, connecting, and TLS."""
SILENCE_TIMEOUT_S = 3_600
"""A limit for each read; the caller bounds the call as a whole."""
_IDLE_S = 30
_CHUNK_BYTES = 65_536

_OURS = frozenset((b"accept-encoding", b"connection", b"content-length", b"host", b"te"))
"""Headers that only this client sets."""
_OF_THE_BODY_AS_SENT = (b"content-encoding", b"content-length", b"transfer-encoding")
_ACCEPTED = "gzip, deflate"
_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15
_WBITS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}

Headers = tuple[tuple[bytes, bytes], ...]


class HttpError(Exception):
    """A request without an answer. The message holds no part of the request or the answer."""


class NotConnected(HttpError):
    """There was no connection: nothing was sent."""


class NotAnswered(HttpError):
    """The request may have arrived, and there is no answer to read."""


class Lost(NotAnswered):
    """The connection broke, or the host fell silent."""


class TooLarge(NotAnswered):
    """The answer has more than the allowed bytes; the rest was not read."""


class BadEncoding(NotAnswered):
    """The answer is packed more than once, in an unknown way, or is damaged."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, read to its end and unpacked.

    ``headers`` are as they came, any byte, without those that describe the packing.
    """

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header of that name; bytes beyond ASCII are read as Latin-1."""
        wanted = name.lower().encode()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None


class HttpClient:
    """Sends requests, each exactly once. Connections are kept by event loop.

    Example::

        client = HttpClient()
        answer = await client.send("POST", "https://host/v1", [(b"x-api-key", key)], body)
        await client.aclose()
    """

    def __init__(self) -> None:
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        self._tls: dict[str | None, ssl.SSLContext] = {}

    async def send(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        *,
        proxy: str | None = None,
        ca_file: str | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> HttpAnswer:
        """Send one request and return its answer, whatever its status: also a redirect.

        Args:
            url: is sent as it is, so it must be encoded already.
            proxy: ``http://host:port``, perhaps with a user name and a password.
            ca_file: the certificates to trust instead of the public ones.
            max_bytes: the bound of the answer's body, packed and unpacked.

        Raises:
            NotConnected: nothing was sent.
            NotAnswered: something may have been sent; the subclass says what went wrong.
        """
        target = _parsed(url)
        session = self._session()
        tls: ssl.SSLContext | bool = True
        if target.scheme == "https":
            tls = self._tls.get(ca_file) or await self._load_tls(ca_file)
        try:
            async with session.request(
                method,
                target,
                headers=_to_send(headers),
                data=body,
                allow_redirects=False,
                proxy=proxy,
                ssl=tls,
            ) as response:
                raw = await _read(response, max_bytes)
                encodings = response.headers.getall("Content-Encoding", ())
                return HttpAnswer(
                    response.status,
                    tuple(
                        (name, value)
                        for name, value in response.raw_headers
                        if name.lower() not in _OF_THE_BODY_AS_SENT
                    ),
                    _unpack(raw, encodings, max_bytes),
                )
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.ClientHttpProxyError,
        ) as error:
            raise NotConnected(f"no connection ({type(error).__name__})") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # ValueError: aiohttp has a few for answers that are not HTTP.
            raise Lost(f"the connection broke ({type(error).__name__})") from None

    async def aclose(self) -> None:
        """Close the connections of this event loop, and forget loops that are closed."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        for loop in [loop for loop in self._sessions if loop.is_closed()]:
            del self._sessions[loop]
        if session is not None:
            await session.close()

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = aiohttp.ClientSession(
                # Endpoints bound how many calls run at once.
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_IDLE_S, resolver=aiohttp.ThreadedResolver()
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S
                ),
            )
        return session

    async def _load_tls(self, ca_file: str | None) -> ssl.SSLContext:
        """Load the certificates, in a thread: it takes tens of milliseconds."""
        try:
            loaded = await asyncio.to_thread(_tls_context, ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise NotConnected(f"ca_file cannot be read ({type(error).__name__})") from None
        return self._tls.setdefault(ca_file, loaded)


def _parsed(url: str) -> URL:
    try:
        target = URL(url, encoded=True)
    except ValueError:
        raise NotConnected("no connection (the address is not valid)") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise NotConnected("no connection (the address is not valid)")
    return target


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies.

    ``ssl.create_default_context`` would heed SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca_file or certifi.where())
    return context


def _to_send(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    kept = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name.lower() not in _OURS
    ]
    return [*kept, ("Accept-Encoding", _ACCEPTED)]


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the body as it was sent."""
    content = bytearray()
    async for part in response.content.iter_chunked(_CHUNK_BYTES):
        content += part
        if len(content) > max_bytes:
            response.close()
            raise TooLarge(f"the answer has more than {max_bytes:,} bytes")
    return bytes(content)


def _unpack(content: bytes, headers: Iterable[str], max_bytes: int) -> bytes:
    """Return the body as it was before it was packed, once at most."""
    names = [name.strip().lower() for header in headers for name in header.split(",")]
    layers = [name for name in names if name not in ("", "identity")]
    if not layers or not content:
        return content
    if len(layers) > 1 or layers[0] not in _WBITS:
        raise BadEncoding("the answer is packed in a way that was not asked for")
    wbits = _WBITS[layers[0]]
    if wbits == _ZLIB and not _has_zlib_header(content):
        wbits = _RAW_DEFLATE
    unpacking = zlib.decompressobj(wbits)
    try:
        # Never more than the bound is made, however much there would be.
        whole = unpacking.decompress(content, max_bytes + 1)
    except zlib.error:
        raise BadEncoding("the packed answer is damaged") from None
    if len(whole) > max_bytes:
        raise TooLarge(f"the answer has more than {max_bytes:,} bytes, unpacked")
    if not unpacking.eof or unpacking.unused_data:
        raise BadEncoding("the packed answer is cut off, or something follows it")
    return whole


def _has_zlib_header(content: bytes) -> bool:
    """Return whether it begins as RFC 1950 says; some servers send RFC 1951 as ``deflate``."""
    return content[0] & 0x0F == 8 and int.from_bytes(content[:2]) % 31 == 0
