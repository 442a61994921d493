"""Connections to one server, taken in turn and kept open between script calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

Reply = list[Any]
InBackground = Callable[[Coroutine[Any, Any, None]], None]

# Error replies of a live server. redis-py takes some of them for a lost connection.
REFUSALS = (ResponseError, BusyLoadingError, AuthenticationError)
_MOST_IDLE = 64


class PooledConnection:
    """A redis-py connection, and the replies still to be read from it.

    If the caller is cancelled, ``answer`` continues where reading stopped. ``acknowledged`` is the
    number of replicas that the WAIT behind the last request returned.
    """

    __slots__ = ("_answer", "_before", "_wait", "acknowledged", "raw", "server")

    def __init__(self, server: Server, raw: Any) -> None:
        self.server = server
        self.raw = raw
        self.acknowledged = 0
        self._before, self._wait = 0, False
        self._answer: Reply | Exception | None = None

    def is_closed(self) -> bool:
        """Return whether the server has closed the connection, as far as is known by now."""
        reader = self.raw._reader  # noqa: SLF001 - redis-py tells it only by reading
        return reader is None or bool(reader.at_eof())

    async def ask(self, packed: bytes, *, before: int = 0, wait: bool = False) -> Reply:
        """Send what is packed and return its answer.

        Args:
            before: the number of other answers that come before it.
            wait: true if a WAIT's answer comes after it, which is read too.
        """
        self._before, self._wait = before, wait
        await self.raw.send_packed_command(packed, check_health=False)
        return await self.answer()

    async def answer(self) -> Reply:
        """Read the answer to what was sent."""
        while self._before:
            with suppress(*REFUSALS):  # whatever was wrong shows in the answer that counts
                await self._read()
            self._before -= 1
        if not self._wait:
            answer: Reply = await self._read()
            return answer
        if self._answer is None:
            try:
                self._answer = await self._read()
            except REFUSALS as exc:
                self._answer = exc
        self.acknowledged = 0
        with suppress(*REFUSALS):
            self.acknowledged = int(await self._read())
        found, self._answer, self._wait = self._answer, None, False
        if isinstance(found, Exception):
            raise found
        return found

    async def _read(self) -> Any:
        return await self.raw.read_response(disable_decoding=True, disconnect_on_error=False)


class Server:
    """The connections to one server: a bounded number, handed to waiting callers in order.

    Idle connections are kept here, because redis-py's pool takes as long to hand one out and take
    it back as a call does.

    Args:
        pool: redis-py's, which makes connections.
        shared: others use the pool too. One connection is always left to them, and half of the
            pool while there is little to do.
        host: the server's address, if it is known.
        is_current: tells whether one of redis-py's connections may still be used.
    """

    def __init__(
        self,
        pool: Any,
        in_background: InBackground,
        *,
        shared: bool,
        host: str = "",
        is_current: Callable[[Any], bool] = lambda raw: True,
    ) -> None:
        self.host = host
        self._is_current = is_current
        self.idle: list[PooledConnection] = []
        self._pool = pool
        self._in_background = in_background
        self._shared = shared
        size = pool.max_connections
        self._most_taken = max(1, size - 1) if shared else size
        self._most_idle = min(_MOST_IDLE, size // 2 if shared else size)
        self._taken = 0
        self._waiting: deque[asyncio.Future[PooledConnection | None]] = deque()

    def take_idle(self) -> PooledConnection | None:
        """Return an idle connection, or ``None`` where ``take()`` has to find one.

        A connection that the server has closed (it restarted, or timed out idle clients) is told
        by its end of input. A call sent on it would count as lost, though it never arrived.
        """
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_closed() and self._is_current(connection.raw):
                return connection
            self.drop(connection)
        return None

    async def take(self) -> PooledConnection:
        """Wait for a connection, or make one.

        Raises:
            RedisError, OSError: no connection can be made.
        """
        while self._waiting or self._taken >= self._most_taken:
            if (connection := await self._turn()) is not None:
                return connection
            if self._taken < self._most_taken:
                break
        self._taken += 1
        try:
            return PooledConnection(self, await self._pool.get_connection())
        except BaseException:
            self._leave()
            raise

    def keep(self, connection: PooledConnection) -> None:
        """Take back a connection whose answer was read."""
        if connection.raw.should_reconnect() or not self._is_current(connection.raw):
            self.drop(connection)
        elif not self._hand_on(connection):
            if len(self.idle) < self._most_idle:
                self.idle.append(connection)
            elif self._shared:
                self._leave()
                self._in_background(self._pool.release(connection.raw))
            else:
                self.drop(connection)

    def drop(self, connection: PooledConnection) -> None:
        """Close a connection whose state is not known."""
        self._leave()
        self._in_background(self._close(connection))

    def drop_idle(self) -> None:
        """Close the idle connections, because their server is gone."""
        idle, self.idle = self.idle, []
        for connection in idle:
            self.drop(connection)

    def retire(self) -> None:
        """Close each connection as soon as it is idle."""
        self._most_idle = 0
        self.drop_idle()

    async def drain(self) -> None:
        """Give idle connections back to a shared pool, or close those of a pool of our own."""
        while self.idle:
            connection = self.idle.pop()
            self._leave()
            if self._shared:
                await self._pool.release(connection.raw)
            else:
                await self._close(connection)

    async def _turn(self) -> PooledConnection | None:
        waiter: asyncio.Future[PooledConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(waiter)
            elif (connection := waiter.result()) is None:
                self._hand_on(None)
            else:
                self.keep(connection)
            raise

    def _leave(self) -> None:
        self._taken -= 1
        self._hand_on(None)

    def _hand_on(self, connection: PooledConnection | None) -> bool:
        """Hand a connection, or permission to make one, to the first waiting caller."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _close(self, connection: PooledConnection) -> None:
        await connection.raw.disconnect(nowait=True)
        await self._pool.release(connection.raw)
