"""One script call over one connection, with nothing left unknown when its caller goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from runtime.credits.answers import LedgerUnavailable
from runtime.credits.scripts import Script

Reply = list[Any]
Abandoned = Callable[[Reply | None], None]

_OUR_ERROR = "CREDITGATE_"


class NotReached(LedgerUnavailable):
    """No connection: the script certainly did not run."""


class UnknownOutcome(LedgerUnavailable):
    """The script may or may not have run: ask again with the same attempt id."""


class ScriptTransport:
    """Runs the batch script on a Redis server.

    Args:
        client: its pool provides the connections; decoding is left to us.
        timeout_ms: for one call as a whole: connection, request and answer.
    """

    def __init__(self, client: Redis, script: Script, timeout_ms: int) -> None:
        self._pool = client.connection_pool
        self._script = script
        self._timeout_s = timeout_ms / 1000
        self._unread: set[asyncio.Task[None]] = set()

    async def run(
        self, keys: Sequence[str], args: Sequence[str | bytes], on_abandoned: Abandoned
    ) -> Reply:
        """Run the script and return its answers.

        If the caller is cancelled after the request was sent, the answer is still read, and
        ``on_abandoned`` is called with it (with ``None`` if it stays unknown).

        Raises:
            NotReached: no connection could be made.
            UnknownOutcome: time-out or a lost connection.
            LedgerUnavailable: the script refused to run, and changed nothing.
        """
        connection = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._pool.get_connection()
                answer = await self._exchange(connection, keys, args)
        except asyncio.CancelledError:
            if connection is None:
                on_abandoned(None)
            else:
                self._read_later(connection, on_abandoned)
            raise
        except TimeoutError as exc:
            await self._drop(connection)
            fault = NotReached if connection is None else UnknownOutcome
            raise fault(f"no answer within {self._timeout_s:g} s") from exc
        except ResponseError as exc:
            await self._pool.release(connection)
            raise _refusal(exc) from exc
        except (RedisError, OSError) as exc:
            await self._drop(connection)
            fault = NotReached if connection is None else UnknownOutcome
            raise fault(f"{type(exc).__name__}: {exc}") from exc
        await self._pool.release(connection)
        return answer

    async def aclose(self) -> None:
        """Wait for answers that are still to be read; the client stays its owner's."""
        while self._unread:
            await asyncio.wait(self._unread)

    async def _exchange(
        self, connection: Any, keys: Sequence[str], args: Sequence[str | bytes]
    ) -> Reply:
        try:
            return await self._ask(connection, "EVALSHA", self._script.sha, keys, args)
        except NoScriptError:
            return await self._ask(connection, "EVAL", self._script.source, keys, args)

    async def _ask(
        self,
        connection: Any,
        command: str,
        script: str,
        keys: Sequence[str],
        args: Sequence[str | bytes],
    ) -> Reply:
        packed = connection.pack_command(command, script, len(keys), *keys, *args)
        await connection.send_packed_command(packed, check_health=False)
        return await self._read(connection)

    @staticmethod
    async def _read(connection: Any) -> Reply:
        answer: Reply = await connection.read_response(
            disable_decoding=True, disconnect_on_error=False
        )
        return answer

    def _read_later(self, connection: Any, on_abandoned: Abandoned) -> None:
        task = asyncio.create_task(self._finish(connection, on_abandoned))
        self._unread.add(task)
        task.add_done_callback(self._unread.discard)

    async def _finish(self, connection: Any, on_abandoned: Abandoned) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._read(connection)
        except (RedisError, OSError, TimeoutError):
            await self._drop(connection)
            on_abandoned(None)
            return
        await self._pool.release(connection)
        on_abandoned(answer)

    async def _drop(self, connection: Any) -> None:
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


def _refusal(error: ResponseError) -> LedgerUnavailable:
    text = str(error)
    if text.startswith(_OUR_ERROR):
        word, _, detail = text.removeprefix(_OUR_ERROR).partition(" ")
        return LedgerUnavailable(f"{word.lower()}: {detail}")
    return LedgerUnavailable(text)
