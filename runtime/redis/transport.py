"""Script calls over our own connections. Answers are read even if the caller is gone."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)

from runtime.background import TaskSet, cancellations
from runtime.redis.connections import REFUSALS, PooledConnection, Reply, Server
from runtime.redis.errors import (
    NotReached,
    RedisUnavailable,
    ScriptRefused,
    UnknownOutcome,
    described,
)
from runtime.redis.script import Script
from runtime.redis.sentinel import following_of

__all__ = ["Reply", "Request", "ScriptTransport", "ServerTransport", "Transport", "bulk"]

Abandoned = Callable[[Reply | None], None]

# A script that catches a command's error passes it on behind a word that ends like this.
_FAILED = "_FAILED"


@dataclass(frozen=True, slots=True)
class Request:
    """A script with its keys and arguments, packed for the wire, and their numbers.

    ``slot`` is the Redis Cluster slot of all its keys. If ``writes`` is true, the call waits until
    enough replicas have acknowledged it, where replicas are configured.
    """

    script: Script
    keys: int
    values: int
    packed: bytes
    slot: int = 0
    writes: bool = True


@dataclass(slots=True, eq=False)
class Delivery:
    """A request under way, with its server and, until its answer is read, its connection."""

    request: Request
    server: Server | None = None
    connection: PooledConnection | None = None
    refusal: str = ""


def bulk(*values: bytes | str | int) -> bytes:
    """Return values packed in Redis' protocol, without the number of them in front.

    Raises:
        ValueError: a text has no UTF-8 form.
    """
    packed: bytes = pack_command(values)  # type: ignore[arg-type]  # its stub knows one value
    return packed[packed.index(b"\n") + 1 :]


@cache
def _by_sha(script: Script) -> bytes:
    return bulk("EVALSHA", script.sha)


_ASKING = b"*1\r\n" + bulk("ASKING")


class Transport(Protocol):
    """The interface that script calls are sent through; ``ScriptTransport`` implements it."""

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        """Run the script and return its answers, as ``ScriptTransport.run`` does."""

    async def drain(self) -> None:
        """Wait until nothing is under way, as ``ScriptTransport.drain`` does."""


class ScriptTransport(ABC):
    """Runs scripts on the server that owns the account.

    Args:
        timeout_ms: for one call as a whole: connection, request and answer.
        replicas: how many must acknowledge a write, within half of the time-out.
    """

    def __init__(self, timeout_ms: int, replicas: int = 0) -> None:
        self._timeout_s = timeout_ms / 1000
        self._replicas = replicas
        self._wait = b"*3\r\n" + bulk("WAIT", replicas, max(1, timeout_ms // 2))
        self._tasks = TaskSet()

    @abstractmethod
    async def _deliver(self, delivery: Delivery) -> tuple[PooledConnection, Reply]:
        """Send the request to its server; return the connection and the script's answer."""

    @abstractmethod
    async def _give_back(self) -> None:
        """Give idle connections back to their pool."""

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        """Run the script and return its answers.

        If the caller is cancelled, ``on_abandoned`` is called once: with the answer, which is still
        read if the request was sent, or with ``None`` if it stays unknown.

        Raises:
            NotReached: no connection could be made, or no server would take the call.
            UnknownOutcome: time-out, a lost connection, or too few replicas that have it.
            ScriptRefused: the server or the script answered an error, and changed nothing.
        """
        delivery, requested = Delivery(request), cancellations()
        # Await nothing outside the try: a cancellation there would lose the answer.
        try:
            async with asyncio.timeout(self._timeout_s):
                connection, answer = await self._deliver(delivery)
        except asyncio.CancelledError:
            if delivery.connection is None:
                on_abandoned(None)
            else:
                self._in_background(self._finish(delivery.connection, on_abandoned))
            raise
        except REFUSALS as exc:
            raise self._refused(delivery, exc) from exc
        except TimeoutError as exc:
            text = f"no answer within {self._timeout_s:g} s"
            if delivery.connection is None and delivery.refusal:
                text = delivery.refusal
            raise self._lost(delivery, text) from exc
        except (RedisError, RedisClusterException, OSError) as exc:
            raise self._lost(delivery, described(exc)) from exc
        connection.server.keep(connection)
        if cancellations() > requested:  # redis-py lost it while it connected
            on_abandoned(answer)
            raise asyncio.CancelledError
        if self._replicas and request.writes and connection.acknowledged < self._replicas:
            raise UnknownOutcome(f"{connection.acknowledged} of {self._replicas} replicas have it")
        return answer

    async def drain(self) -> None:
        """Wait for answers that are still to be read, and give idle connections back."""
        await self._tasks.drain()
        await self._give_back()
        await self._tasks.drain()

    async def _exchange(
        self, connection: PooledConnection, request: Request, *, asking: bool = False
    ) -> Reply:
        wait = self._replicas > 0 and request.writes
        try:
            packed = self._packed(_by_sha(request.script), request, asking, wait)
            return await connection.ask(packed, before=asking, wait=wait)
        except NoScriptError:
            source = bulk("EVAL", request.script.source)
            packed = self._packed(source, request, asking, wait)
            return await connection.ask(packed, before=asking, wait=wait)

    def _packed(self, command: bytes, request: Request, asking: bool, wait: bool) -> bytes:
        values = 3 + request.keys + request.values
        packed = b"*%d\r\n%b%b%b" % (values, command, bulk(request.keys), request.packed)
        if asking:
            packed = _ASKING + packed
        return packed + self._wait if wait else packed

    async def _finish(self, connection: PooledConnection, on_abandoned: Abandoned) -> None:
        answer = None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await connection.answer()
        except REFUSALS:
            connection.server.keep(connection)
        except (RedisError, OSError, TimeoutError):
            connection.server.drop(connection)
        else:
            connection.server.keep(connection)
        on_abandoned(answer)

    def _refused(self, delivery: Delivery, error: Exception) -> RedisUnavailable:
        """Return what an error reply means. The script has changed nothing."""
        if (connection := delivery.connection) is None:  # while the connection was made
            return NotReached(described(error))
        if _is_no_primary(error):
            # Connecting again finds the current primary.
            self._leave(delivery)
            return NotReached(described(error))
        connection.server.keep(connection)
        if isinstance(error, BusyLoadingError | AuthenticationError):
            return NotReached(described(error))
        return ScriptRefused(str(error))

    def _lost(self, delivery: Delivery, text: str) -> RedisUnavailable:
        sent = delivery.connection is not None
        self._leave(delivery)
        return UnknownOutcome(text) if sent else NotReached(text)

    def _leave(self, delivery: Delivery) -> None:
        """Drop this connection and the idle ones, which a restarted server does not know."""
        if delivery.server is not None:
            delivery.server.drop_idle()
        if delivery.connection is not None:
            delivery.connection.server.drop(delivery.connection)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.start(work)


class ServerTransport(ScriptTransport):
    """Runs scripts on one server, or on whichever server the sentinels name.

    Args:
        client: provides the connections, from its pool; its decoding is not used.
    """

    def __init__(self, client: Redis, timeout_ms: int, replicas: int = 0) -> None:
        super().__init__(timeout_ms, replicas)
        self._following = following_of(client)
        self._server = Server(
            client.connection_pool,
            self._in_background,
            shared=True,
            is_current=self._following.is_current if self._following else lambda raw: True,
        )

    async def _deliver(self, delivery: Delivery) -> tuple[PooledConnection, Reply]:
        if self._following is not None:
            _ = await self._following.current()
        server = delivery.server = self._server
        connection = delivery.connection = server.take_idle() or await server.take()
        return connection, await self._exchange(connection, delivery.request)

    def _leave(self, delivery: Delivery) -> None:
        if self._following is not None:
            self._following.doubt()
        super()._leave(delivery)

    async def _give_back(self) -> None:
        if self._following is not None:
            await self._following.drain()
        await self._server.drain()


def _is_no_primary(error: Exception) -> bool:
    """Return whether a server refused a write because it is not a primary."""
    if isinstance(error, ReadOnlyError | MasterDownError):
        return True
    word, _, fault = str(error).partition(" ")
    return word.endswith(_FAILED) and "READONLY " in fault
