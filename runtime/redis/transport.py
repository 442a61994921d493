"""One script call over one connection, with nothing left unknown when its caller goes away."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any

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

from runtime.credits.results import AccountDamaged, LedgerUnavailable
from runtime.credits.scripts import Script
from runtime.redis.connections import REFUSALS, Line, Reply, Server

__all__ = [
    "NotReached",
    "Reply",
    "Request",
    "ScriptTransport",
    "ServerTransport",
    "UnknownOutcome",
    "bulk",
]

Abandoned = Callable[[Reply | None], None]

_OUR_ERROR = "CREDITGATE_"
_DAMAGED = ("DAMAGED", "SCHEMA")


class NotReached(LedgerUnavailable):
    """No server that would take it: the script certainly did not run."""


class UnknownOutcome(LedgerUnavailable):
    """The script may or may not have run: ask again with the same attempt id."""


@dataclass(frozen=True, slots=True)
class Request:
    """A script, its keys and arguments, packed for the wire, and how many they are.

    ``slot`` is Redis Cluster's for all of its keys. One that ``writes`` is waited for until enough
    replicas have it, if that is asked for.
    """

    script: Script
    keys: int
    values: int
    packed: bytes
    slot: int = 0
    writes: bool = True


@dataclass(slots=True, eq=False)
class Visit:
    """A request on its way: where it goes, and over which line while its answer is out."""

    request: Request
    server: Server | None = None
    line: Line | None = None
    refusal: str = ""


def bulk(*values: bytes | str | int) -> bytes:
    """Pack values as Redis' protocol has them, which redis-py does five times slower."""
    packed: list[bytes] = []
    text = ""
    for value in values:
        if isinstance(value, bytes):
            packed += (text.encode(), b"$%d\r\n%b\r\n" % (len(value), value))
            text = ""
        else:
            word = value if isinstance(value, str) else str(value)
            size = len(word) if word.isascii() else len(word.encode())
            text += f"${size}\r\n{word}\r\n"
    return b"".join([*packed, text.encode()])


@cache
def _by_sha(script: Script) -> bytes:
    return bulk("EVALSHA", script.sha)


_ASKING = b"*1\r\n" + bulk("ASKING")


class ScriptTransport(ABC):
    """Runs scripts where the account is.

    Args:
        timeout_ms: for one call as a whole: connection, request and answer.
        replicas: how many must have acknowledged a write, for which half of the time is given.
    """

    def __init__(self, timeout_ms: int, replicas: int = 0) -> None:
        self._timeout_s = timeout_ms / 1000
        self._replicas = replicas
        self._wait = b"*3\r\n" + bulk("WAIT", replicas, max(1, timeout_ms // 2))
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def _deliver(self, visit: Visit) -> tuple[Line, Reply]:
        """Send the request where it belongs; return the script's answer and its line."""

    @abstractmethod
    async def _give_back(self) -> None:
        """Give idle connections back to whose they are."""

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        """Run the script and return its answers.

        If the caller is cancelled, ``on_abandoned`` is called, once: with the answer, which is
        still read where the request was sent, or with ``None`` if it stays unknown.

        Raises:
            NotReached: no connection could be made, or no server would take the call.
            UnknownOutcome: time-out, a lost connection, or too few replicas that have it.
            AccountDamaged: the script met a record that it can't trust, and changed nothing.
            LedgerUnavailable: the script refused to run, and changed nothing.
        """
        visit = Visit(request)
        # Nothing is awaited outside the try: there, a cancellation would lose the answer.
        try:
            async with asyncio.timeout(self._timeout_s):
                line, answer = await self._deliver(visit)
        except asyncio.CancelledError:
            if visit.line is None:
                on_abandoned(None)
            else:
                self._in_background(self._finish(visit.line, on_abandoned))
            raise
        except REFUSALS as exc:
            raise self._refused(visit, exc) from exc
        except TimeoutError as exc:
            text = f"no answer within {self._timeout_s:g} s"
            if visit.line is None and visit.refusal:
                text = visit.refusal
            raise self._lost(visit, text) from exc
        except (RedisError, RedisClusterException, OSError) as exc:
            raise self._lost(visit, words(exc)) from exc
        line.server.keep(line)
        if self._replicas and request.writes and line.acknowledged < self._replicas:
            raise UnknownOutcome(f"{line.acknowledged} of {self._replicas} replicas have it")
        return answer

    async def drain(self) -> None:
        """Wait for answers that are still to be read, and give idle connections back."""
        await self._settle_down()
        await self._give_back()
        await self._settle_down()

    async def _settle_down(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _exchange(self, line: Line, request: Request, *, asking: bool = False) -> Reply:
        wait = self._replicas > 0 and request.writes
        try:
            packed = self._packed(_by_sha(request.script), request, asking, wait)
            return await line.ask(packed, before=asking, wait=wait)
        except NoScriptError:
            source = bulk("EVAL", request.script.source)
            packed = self._packed(source, request, asking, wait)
            return await line.ask(packed, before=asking, wait=wait)

    def _packed(self, command: bytes, request: Request, asking: bool, wait: bool) -> bytes:
        values = 3 + request.keys + request.values
        packed = b"*%d\r\n%b%b%b" % (values, command, bulk(request.keys), request.packed)
        if asking:
            packed = _ASKING + packed
        return packed + self._wait if wait else packed

    async def _finish(self, line: Line, on_abandoned: Abandoned) -> None:
        answer = None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await line.answer()
        except REFUSALS:
            line.server.keep(line)
        except (RedisError, OSError, TimeoutError):
            line.server.drop(line)
        else:
            line.server.keep(line)
        on_abandoned(answer)

    def _refused(self, visit: Visit, error: Exception) -> LedgerUnavailable:
        """What an error that a server answered means. The script has changed nothing."""
        if (line := visit.line) is None:  # while the connection was made
            return NotReached(words(error))
        if _is_no_primary(error):
            # Whoever is one now is found by connecting again.
            self._leave(visit)
            return NotReached(words(error))
        line.server.keep(line)
        if isinstance(error, BusyLoadingError | AuthenticationError):
            return NotReached(words(error))
        return _refusal(error)

    def _lost(self, visit: Visit, text: str) -> LedgerUnavailable:
        sent = visit.line is not None
        self._leave(visit)
        return UnknownOutcome(text) if sent else NotReached(text)

    def _leave(self, visit: Visit) -> None:
        """Drop the connection, and with it the idle ones: a restarted server knows none of them."""
        if visit.server is not None:
            visit.server.drop_idle()
        if visit.line is not None:
            visit.line.server.drop(visit.line)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class ServerTransport(ScriptTransport):
    """Runs scripts on one server.

    Args:
        client: its pool provides the connections; decoding is left to us.
    """

    def __init__(self, client: Redis, timeout_ms: int, replicas: int = 0) -> None:
        super().__init__(timeout_ms, replicas)
        self._server = Server(client.connection_pool, self._in_background, shared=True)

    async def _deliver(self, visit: Visit) -> tuple[Line, Reply]:
        server = visit.server = self._server
        line = visit.line = server.idle.pop() if server.idle else await server.take()
        return line, await self._exchange(line, visit.request)

    async def _give_back(self) -> None:
        await self._server.drain()


def words(error: Exception) -> str:
    """Say what went wrong, with the kind of error, which redis-py leaves out of its messages."""
    return f"{type(error).__name__}: {error}"


def _is_no_primary(error: Exception) -> bool:
    """Whether a server refused because it does not take writes; the script's first one is told."""
    if isinstance(error, ReadOnlyError | MasterDownError):
        return True
    return str(error).startswith(_OUR_ERROR + "FAILED") and "READONLY " in str(error)


def _refusal(error: Exception) -> LedgerUnavailable:
    text = str(error)
    if text.startswith(_OUR_ERROR):
        word, _, detail = text.removeprefix(_OUR_ERROR).partition(" ")
        kind = AccountDamaged if word in _DAMAGED else LedgerUnavailable
        return kind(f"{word.lower()}: {detail}")
    return LedgerUnavailable(text)
