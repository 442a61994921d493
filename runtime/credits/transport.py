"""One script call over one connection, with nothing left unknown when its caller goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from runtime.credits.answers import AccountDamaged, LedgerUnavailable
from runtime.credits.scripts import Script

Reply = list[Any]
Abandoned = Callable[[Reply | None], None]

_OUR_ERROR = "CREDITGATE_"
_DAMAGED = ("DAMAGED", "SCHEMA")
_MOST_IDLE = 64


class NotReached(LedgerUnavailable):
    """No connection: the script certainly did not run."""


class UnknownOutcome(LedgerUnavailable):
    """The script may or may not have run: ask again with the same attempt id."""


@dataclass(frozen=True, slots=True)
class Request:
    """A script, its keys and arguments, packed for the wire, and how many they are."""

    script: Script
    keys: int
    values: int
    packed: bytes


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


class ScriptTransport:
    """Runs scripts on a Redis server.

    Idle connections are kept here, for taking one from redis-py's pool and giving it back costs
    as much as the call.

    Args:
        client: its pool provides the connections; decoding is left to us.
        timeout_ms: for one call as a whole: connection, request and answer.
    """

    def __init__(self, client: Redis, timeout_ms: int) -> None:
        self._pool: Any = client.connection_pool  # redis-py types it in parts only
        self._timeout_s = timeout_ms / 1000
        self._idle: list[Any] = []
        # Half of the pool at most, so that its owner is never left without.
        self._most_idle = min(_MOST_IDLE, self._pool.max_connections // 2)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        """Run the script and return its answers.

        If the caller is cancelled, ``on_abandoned`` is called, once: with the answer, which is
        still read where the request was sent, or with ``None`` if it stays unknown.

        Raises:
            NotReached: no connection could be made.
            UnknownOutcome: time-out or a lost connection.
            AccountDamaged: the script met a record that it can't trust, and changed nothing.
            LedgerUnavailable: the script refused to run, and changed nothing.
        """
        # Nothing is awaited outside the try: there, a cancellation would lose the answer.
        connection = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = self._idle.pop() if self._idle else await self._pool.get_connection()
                answer = await self._exchange(connection, request)
        except asyncio.CancelledError:
            if connection is None:
                on_abandoned(None)
            else:
                self._in_background(self._finish(connection, on_abandoned))
            raise
        except ResponseError as exc:
            if connection is None:  # refused while it was made: password, database
                raise NotReached(str(exc)) from exc
            self._keep(connection)
            raise _refusal(exc) from exc
        except TimeoutError as exc:
            raise self._lost(connection, f"no answer within {self._timeout_s:g} s") from exc
        except (RedisError, OSError) as exc:
            raise self._lost(connection, f"{type(exc).__name__}: {exc}") from exc
        self._keep(connection)
        return answer

    async def drain(self) -> None:
        """Wait for answers that are still to be read, and give idle connections back."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        while self._idle:
            await self._pool.release(self._idle.pop())

    async def _exchange(self, connection: Any, request: Request) -> Reply:
        try:
            return await self._ask(connection, _by_sha(request.script), request)
        except NoScriptError:
            return await self._ask(connection, bulk("EVAL", request.script.source), request)

    async def _ask(self, connection: Any, command: bytes, request: Request) -> Reply:
        values = 3 + request.keys + request.values
        packed = b"*%d\r\n%b%b%b" % (values, command, bulk(request.keys), request.packed)
        await connection.send_packed_command(packed, check_health=False)
        return await self._read(connection)

    @staticmethod
    async def _read(connection: Any) -> Reply:
        answer: Reply = await connection.read_response(
            disable_decoding=True, disconnect_on_error=False
        )
        return answer

    async def _finish(self, connection: Any, on_abandoned: Abandoned) -> None:
        answer = None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._read(connection)
        except ResponseError:
            self._keep(connection)
        except (RedisError, OSError, TimeoutError):
            await self._drop(connection)
        else:
            self._keep(connection)
        on_abandoned(answer)

    def _keep(self, connection: Any) -> None:
        if len(self._idle) < self._most_idle and not connection.should_reconnect():
            self._idle.append(connection)
        else:
            self._in_background(self._pool.release(connection))

    def _lost(self, connection: Any, text: str) -> LedgerUnavailable:
        """Drop the connection, and with it the idle ones: a restarted server knows none of them."""
        idle, self._idle = self._idle, []
        for other in idle if connection is None else [*idle, connection]:
            self._in_background(self._drop(other))
        return NotReached(text) if connection is None else UnknownOutcome(text)

    async def _drop(self, connection: Any) -> None:
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refusal(error: ResponseError) -> LedgerUnavailable:
    text = str(error)
    if text.startswith(_OUR_ERROR):
        word, _, detail = text.removeprefix(_OUR_ERROR).partition(" ")
        kind = AccountDamaged if word in _DAMAGED else LedgerUnavailable
        return kind(f"{word.lower()}: {detail}")
    return LedgerUnavailable(text)
