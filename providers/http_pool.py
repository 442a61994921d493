"""The connections of ``HttpClient`` in one event loop: when one is used again, how long a call may
take, and what has gone out of it.

What depends on aiohttp beyond its ``request`` is here.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.http import StreamWriter
from multidict import CIMultiDict
from yarl import URL

_ADDED = frozenset(("User-Agent", "Accept", "Content-Type"))
"""Headers that aiohttp would add."""
_PROBING = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5))
"""Probes of TCP while a model thinks, where the system has these options. They find a host that is
gone, and keep routers on the way from forgetting the connection: AWS's NAT does after 350 s."""
_TURNS_UNTIL_CLOSED = 100
"""Turns of the event loop; three are enough."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of an ``HttpClient``, in seconds, and a number of connections.

    The caller bounds a call as a whole, by cancelling it; ``total_s`` is for one who does not.

    Args:
        connect_s: for a free connection, finding the host, connecting, the proxy, and TLS.
        first_byte_s: from sending the request until the answer's headers.
        pause_s: between two reads of the answer's body.
        total_s: for everything.
        idle_s: how long an unused connection is kept; less than most servers do.
        age_s: how long a connection is used at all.
        dns_s: how long the addresses of a host are believed.
        connections: to one host and port.
    """

    connect_s: float = 10
    first_byte_s: float = 1_800
    pause_s: float = 300
    total_s: float = 3_600
    idle_s: float = 4
    age_s: float = 300
    dns_s: int = 10
    connections: int = 1_000


@dataclass(frozen=True, slots=True)
class Target:
    """The place that requests of one kind go to, and what goes with them.

    ``headers`` must not be changed: requests share them.
    """

    url: URL
    headers: CIMultiDict[str]
    proxy: URL | None

    @property
    def is_tls(self) -> bool:
        """True if the host is asked over TLS."""
        return self.url.scheme == "https"


class NoFreeConnection(Exception):
    """All connections to the host were in use."""


class Call(aiohttp.Payload):
    """A call under way, and the body of its request.

    aiohttp has a payload write itself when the headers are ready, and headers and body leave
    together. So ``is_sent`` is certain, and nothing is sent twice: aiohttp repeats a GET whose
    connection broke.
    """

    def __init__(self, body: bytes, now_s: float) -> None:
        # Payload's own __init__ makes headers, which takes longer than all of this.
        self._body = body
        self._size = len(body)
        self._begun_s = self._since_s = now_s
        self._is_answered = False
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self.is_sent = False
        self.ended_for: str | None = None

    @property
    def headers(self) -> CIMultiDict[str]:
        """None of its own: aiohttp wants one, and the request has this one already."""
        return _NO_HEADERS

    @property
    def consumed(self) -> bool:
        """True once the request was sent: it can't be sent again."""
        return self.is_sent

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text."""
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the request.

        Raises:
            ConnectionError: it was sent before, or the connection is closed.
        """
        transport = cast("StreamWriter", writer).transport
        if self.is_sent or transport is None or transport.is_closing():
            raise ConnectionResetError
        self._since_s = asyncio.get_running_loop().time()
        self.is_sent = True
        await writer.write(self._body)

    def progress(self, now_s: float) -> None:
        """Note that the answer's headers, or a part of its body, have come."""
        self._is_answered = True
        self._since_s = now_s

    def end(self, reason: str) -> None:
        """End the call from outside. ``take_back_end`` is true in it then."""
        if self.ended_for is None:
            self.ended_for = reason
            self._task.cancel()

    def take_back_end(self) -> bool:
        """Return whether ``end`` alone has cancelled the task, which then goes on."""
        return self.ended_for is not None and self._task.uncancel() <= self._cancelling

    def exceeded(self, limits: HttpLimits, now_s: float) -> str | None:
        """Return which limit is exceeded, in words."""
        if now_s - self._begun_s > limits.total_s:
            return f"no whole answer within {limits.total_s:,} s"
        silent_s = now_s - self._since_s
        if self._is_answered:
            if silent_s > limits.pause_s:
                return f"nothing more of the answer within {limits.pause_s:,} s"
        elif self.is_sent and silent_s > limits.first_byte_s:
            return f"no answer within {limits.first_byte_s:,} s"
        return None


_NO_HEADERS = CIMultiDict({"Content-Length": ""})


class Pool:
    """The connections of one event loop.

    Args:
        resolver: finds the addresses of hosts; stays the caller's to close.
    """

    def __init__(self, limits: HttpLimits, resolver: AbstractResolver | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._connector = _Connector(limits, resolver or aiohttp.ThreadedResolver())
        self._timeout = aiohttp.ClientTimeout(total=None, connect=limits.connect_s)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=_ADDED,
            timeout=self._timeout,
        )
        self._free: defaultdict[tuple[str | None, int | None], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(limits.connections)
        )
        self._calls: set[Call] = set()
        self._watching: asyncio.TimerHandle | None = None
        self._watch_s = min(1, min(limits.first_byte_s, limits.pause_s, limits.total_s) / 4)
        self._all_ended: asyncio.Event | None = None

    def begin(self, body: bytes) -> Call:
        """Return a new call, for which ``end`` must be called."""
        call = Call(body, self._loop.time())
        self._calls.add(call)
        if self._watching is None:
            self._watching = self._loop.call_later(self._watch_s, self._watch)
        return call

    def end(self, call: Call) -> None:
        """Forget the call."""
        self._calls.discard(call)
        if self._all_ended is not None and not self._calls:
            self._all_ended.set()

    async def exchange(
        self,
        call: Call,
        method: str,
        target: Target,
        tls: ssl.SSLContext | bool,
        max_bytes: int,
    ) -> tuple[aiohttp.ClientResponse, bytes | None]:
        """Send the request and return its answer with its body, which is ``None`` if too large.

        Raises:
            NoFreeConnection: not within ``connect_s``.
            aiohttp.ClientError, OSError, ValueError: there is no answer.
        """
        url = target.url
        free, timeout = self._free[url.raw_host, url.port], self._timeout
        if free.locked():
            timeout = await self._wait_for(free)
        else:
            await free.acquire()
        try:
            response = await self._session.request(
                method,
                url,
                headers=target.headers,
                data=call,
                allow_redirects=False,
                proxy=target.proxy,
                ssl=tls,
                timeout=timeout,
            )
            try:
                return response, await self._read(call, response.content, max_bytes)
            finally:
                if not response.closed:
                    response.close()
        finally:
            free.release()

    async def _wait_for(self, free: asyncio.Semaphore) -> aiohttp.ClientTimeout:
        """Wait for a connection, and return what is left of the limits."""
        begun_s = self._loop.time()
        try:
            async with asyncio.timeout(self._limits.connect_s):
                await free.acquire()
        except TimeoutError:
            raise NoFreeConnection from None
        left_s = self._limits.connect_s - (self._loop.time() - begun_s)
        return aiohttp.ClientTimeout(total=None, connect=max(left_s, 0.001))

    async def _read(
        self, call: Call, content: aiohttp.StreamReader, max_bytes: int
    ) -> bytes | None:
        """Return the body as it was sent."""
        call.progress(self._loop.time())
        body = await content.readany()
        if content.at_eof():
            return body if len(body) <= max_bytes else None
        whole = bytearray(body)  # not a list: a host may send two bytes at a time
        while len(whole) <= max_bytes:
            call.progress(self._loop.time())
            part = await content.readany()
            if not part:
                return bytes(whole)
            whole += part
        return None

    def _watch(self) -> None:
        """End the calls that exceed a limit: one timer for all, not several for each."""
        now_s = self._loop.time()
        for call in self._calls:
            if reason := call.exceeded(self._limits, now_s):
                call.end(reason)
        self._watching = self._loop.call_later(self._watch_s, self._watch) if self._calls else None

    async def aclose(self) -> None:
        """End the calls under way, and close all connections."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._calls:
            self._all_ended = asyncio.Event()
            for call in self._calls:
                call.end("the client was closed")
        try:
            if self._all_ended is not None:
                await self._all_ended.wait()
        finally:
            await self._connector.close_sockets()
            await self._session.close()


class _Request(aiohttp.ClientRequest):
    def update_auto_headers(self, skip_auto_headers: object) -> None:
        """Add none. aiohttp copies all headers to find out that it adds none."""
        self._skip_auto_headers = _SKIPPED


_SKIPPED: CIMultiDict[None] = CIMultiDict((name, None) for name in _ADDED)


class _Connector(aiohttp.TCPConnector):
    def __init__(self, limits: HttpLimits, resolver: AbstractResolver) -> None:
        super().__init__(
            limit=0,
            keepalive_timeout=limits.idle_s,
            ttl_dns_cache=limits.dns_s,
            resolver=resolver,
            socket_factory=self._make_socket,
        )
        self._age_s = limits.age_s
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._since_s: dict[int, float | None] = {}
        """By file descriptor, when a connection was first used."""

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Return a new connection, or one that is not old, and on which nothing has come.

        aiohttp would take an answer that came unasked for that of the next request.
        """
        while True:
            connection = await super().connect(*args, **options)
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None or transport.is_closing():
                return connection  # it was closed since it was chosen
            number = transport.get_extra_info("socket").fileno()
            since_s, now_s = self._since_s.get(number), time.monotonic()
            if since_s is None:
                self._since_s[number] = now_s
                return connection
            is_young = now_s - since_s < self._age_s
            if is_young and not protocol.should_close and not _is_readable(number):
                return connection
            transport.abort()
            connection.close()

    async def close_sockets(self) -> None:
        """Close all connections at once, also those that wait for their host to agree."""
        for connection in list(self._sockets):
            with suppress(OSError):  # it is not connected yet, or no longer
                connection.shutdown(socket.SHUT_RDWR)
        await self.close()
        for _ in range(_TURNS_UNTIL_CLOSED):
            if all(connection.fileno() < 0 for connection in list(self._sockets)):
                break
            await asyncio.sleep(0)

    def _make_socket(self, address: AddrInfoType) -> socket.socket:
        """Return a socket whose host is probed while it is silent."""
        family, kind, protocol, *_ = address
        connection = socket.socket(family, kind, protocol)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBING:
            if (option := getattr(socket, name, None)) is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._sockets.add(connection)
        self._since_s[connection.fileno()] = None
        return connection


def _is_readable(number: int) -> bool:
    """Return whether something came that the event loop has not read yet: most likely, the end."""
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
