"""Ends reservations for certain: now, in the background, or from disk when Redis is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from runtime.credits.endings import Ending, Release
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Existing, LedgerError, LedgerUnavailable, Released, Settled
from runtime.executions.spool import Spool

_log = logging.getLogger("creditgate.closing")


class Outbox:
    """Sends endings to the ledger, and wakes in turn those who wait for credits.

    Args:
        replay_every_ms: how often spooled endings are tried again.
    """

    def __init__(self, ledger: CreditLedger, spool: Spool, replay_every_ms: int = 1_000) -> None:
        self._ledger = ledger
        self._spool = spool
        self._replay_every_s = replay_every_ms / 1000
        self._tasks: set[asyncio.Task[Any]] = set()
        self._replaying: asyncio.Task[None] | None = None
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def start(self) -> None:
        """Begin to replay what earlier processes left on disk, and go on replaying."""
        self._ledger.give_back = self.give_back
        self._replaying = asyncio.create_task(self._replay_for_ever())

    async def close(
        self, ending: Ending, deadline_s: float
    ) -> Settled | Released | Existing | None:
        """End a reservation.

        Nothing is lost when the caller is cancelled, ``deadline_s`` passes or Redis is away: the
        ending is then sent in the background, or spooled. Endings may be sent twice: the
        ledger knows their attempt.

        Returns:
            ``None`` where the ledger has not answered (yet).
        """
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._send(ending)
        except TimeoutError:
            self._in_background(self._send(ending))
            return None
        except asyncio.CancelledError:
            self._in_background(self._send(ending))
            raise

    def close_soon(self, ending: Ending) -> None:
        """End a reservation in the background."""
        self._in_background(self._send(ending))

    def give_back(self, attempt: ExecutionAttempt) -> None:
        """Release, in the background, what may be set aside for an attempt that went away."""
        self.close_soon(Release(attempt, None, 0, None))

    async def wait_for_ending(self, account_id: str, at_most_s: float) -> None:
        """Wait until a reservation of this account ends in this process, or the time is over."""
        waiter = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(account_id, deque())
        queue.append(waiter)
        try:
            async with asyncio.timeout(at_most_s):
                await waiter
        except TimeoutError:
            return
        finally:
            with suppress(ValueError):
                queue.remove(waiter)
            if not queue and self._waiting.get(account_id) is queue:
                del self._waiting[account_id]

    async def aclose(self) -> None:
        """Finish what is in the background, and try once more to empty the spool."""
        if self._replaying is not None:
            self._replaying.cancel()
            with suppress(asyncio.CancelledError):
                await self._replaying
        await self.drain()
        with suppress(LedgerError, OSError):
            await self._spool.replay(self._ledger)

    async def drain(self) -> None:
        """Wait until nothing is under way: answers still to be read, and endings of their own."""
        await self._ledger.drain()
        while self._tasks:
            await asyncio.wait(self._tasks)
            await self._ledger.drain()

    async def _send(self, ending: Ending) -> Settled | Released | Existing | None:
        try:
            answer = await ending.send(self._ledger)
        except LedgerUnavailable as error:
            _log.warning("Redis is away (%s); the ending waits in the spool", error)
            await self._spool.put(ending)
            return None
        finally:
            self._wake(ending.attempt.account_id)
        return answer

    def _wake(self, account_id: str) -> None:
        queue = self._waiting.get(account_id)
        while queue:
            waiter = queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an ending was lost in the background: %s", type(error).__name__)

    async def _replay_for_ever(self) -> None:
        while True:
            try:
                replay = await self._spool.replay(self._ledger)
            except (LedgerError, OSError) as error:
                _log.warning("the spool can't be replayed: %s", error)
            else:
                if replay.done or replay.dead:
                    _log.info("replayed %d endings, %d dead", replay.done, replay.dead)
            await asyncio.sleep(self._replay_every_s)
