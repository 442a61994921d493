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
from functools import lru_cache

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from providers.http_pool import Call, HttpLimits, NoFreeConnection, Pool, Target

MAX_ANSWER_BYTES = 2 * 1024 * 1024
"""The longest answers of today, 128,000 tokens, take 0.5 MB in English; as ``\\uXXXX``, 1.5 MB."""

DEFAULT_LIMITS = HttpLimits()

_OURS = frozenset(
    (
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"te",
        b"transfer-encoding",
    )
)
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

    Args:
        limits: of time and connections.
        resolver: finds the addresses of hosts; by default the system does. It stays the caller's
            to close.

    Example::

        client = HttpClient()
        answer = await client.send("POST", "https://host/v1", [(b"x-api-key", key)], body)
        await client.aclose()
    """

    def __init__(
        self, limits: HttpLimits = DEFAULT_LIMITS, resolver: AbstractResolver | None = None
    ) -> None:
        self.limits = limits
        self._resolver = resolver
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
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
            headers: the same tuple for many requests is cheapest.
            proxy: ``http://host:port``, perhaps with a user name and a password.
            ca_file: the certificates to trust instead of the public ones.
            max_bytes: the bound of the answer's body, packed and unpacked.

        Raises:
            NotConnected: nothing was sent.
            NotAnswered: something may have been sent; the subclass says what went wrong.
        """
        target = _target(url, tuple(headers), proxy)
        tls: ssl.SSLContext | bool = True
        if target.is_tls:
            tls = self._tls.get(ca_file) or await self._load_tls(ca_file)
        pool = self._pool()
        call = pool.begin(body)
        try:
            response, raw = await pool.exchange(call, method, target, tls, max_bytes)
        except NoFreeConnection:
            raise NotConnected(
                f"no connection was free within {self.limits.connect_s:,} s: "
                f"{self.limits.connections:,} are in use, the most for one host"
            ) from None
        except asyncio.CancelledError:
            if not call.take_back_end():
                raise
            raise _failure(call, f"{call.ended_for}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # ValueError: aiohttp has a few for answers that are not HTTP.
            raise _failure(call, self._described(call, error)) from None
        finally:
            pool.end(call)
        if raw is None:
            raise TooLarge(f"the answer has more than {max_bytes:,} bytes")
        return HttpAnswer(
            response.status,
            tuple(
                [
                    header
                    for header in response.raw_headers
                    if header[0].lower() not in _OF_THE_BODY_AS_SENT
                ]
            ),
            _unpack(raw, response.headers.getall("Content-Encoding", ()), max_bytes),
        )

    def _described(self, call: Call, error: Exception) -> str:
        """Return the error in words that quote nothing of the request and the answer."""
        name = type(error).__name__
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection within {self.limits.connect_s:,} s"
        if call.is_sent:
            return f"the connection broke ({name})"
        return f"no connection ({name})"

    async def aclose(self) -> None:
        """Close the connections of this event loop, and forget loops that are closed.

        Calls under way end with an ``HttpError``. A later call opens new connections.
        """
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        for loop in list(self._pools):
            if loop.is_closed():
                self._pools.pop(loop, None)
        if pool is not None:
            await pool.aclose()

    def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._pools[loop] = Pool(self.limits, self._resolver)
        return pool

    async def _load_tls(self, ca_file: str | None) -> ssl.SSLContext:
        """Load the certificates, in a thread: it takes tens of milliseconds."""
        try:
            loaded = await asyncio.to_thread(_tls_context, ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise NotConnected(f"ca_file cannot be read ({type(error).__name__})") from None
        return self._tls.setdefault(ca_file, loaded)


def _failure(call: Call, text: str) -> HttpError:
    return Lost(text) if call.is_sent else NotConnected(text)


@lru_cache(maxsize=256)
def _target(url: str, headers: Headers, proxy: str | None) -> Target:
    """Return what is the same for all requests of an action.

    Raises:
        NotConnected: the address is not valid.
    """
    try:
        address = URL(url, encoded=True)
        through = URL(proxy) if proxy is not None else None
    except ValueError:
        raise NotConnected("no connection (the address is not valid)") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise NotConnected("no connection (the address is not valid)")
    sent: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        if name.lower() not in _OURS:
            sent.add(name.decode("latin-1"), value.decode("latin-1"))
    sent.add("Accept-Encoding", _ACCEPTED)
    return Target(address, sent, through)


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that verifies.

    ``ssl.create_default_context`` would heed SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca_file or certifi.where())
    return context


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
