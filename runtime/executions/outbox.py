"""Ends reservations at once, in the background, or from disk once Redis is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress

from providers.pacing.deadline import Deadline
from runtime.background import Periodic, TaskSet, finish
from runtime.credits.endings import Ending, Release, owes_something
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    AccountStopped,
    AccountUnknown,
    Existing,
    LedgerError,
    LedgerUnavailable,
    NotBooked,
    Released,
    Settled,
)
from runtime.executions.spool import Spool
from runtime.executions.spool_erasure import ERASE_EVERY_S, SpoolErasure, without_values

_log = logging.getLogger("creditgate.closing")
MOST_IN_MEMORY = 10_000
"""Endings kept in memory while neither Redis nor the disk takes them; some kilobytes each."""


class Outbox:
    """Sends endings to the ledger, and wakes callers that wait for credits in their order.

    Args:
        replay_every_ms: the pause between two attempts to replay the spool.
    """

    def __init__(self, ledger: CreditLedger, spool: Spool, replay_every_ms: int = 1_000) -> None:
        self._ledger = ledger
        self._spool = spool
        self._tasks = TaskSet()
        self._replays = Periodic("replaying the spool", self._replay, replay_every_ms / 1000)
        self._values = SpoolErasure(spool.folder, ledger)
        self._erasures = Periodic("erasing values in the spool", self._erase, ERASE_EVERY_S)
        self._owed: dict[int, Ending] = {}
        self._in_memory: deque[Ending] = deque(maxlen=MOST_IN_MEMORY)
        self._unknown: set[str] = set()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def start(self) -> None:
        """Start to replay the spool, to erase in it, and to release abandoned reservations."""
        self._ledger.hand_abandoned_to(self.give_back)
        self._replays.start()
        self._erasures.start()

    async def close(
        self, ending: Ending, deadline: Deadline
    ) -> Settled | Released | Existing | NotBooked | None:
        """End a reservation.

        Nothing is lost if the caller is cancelled, the deadline passes, or Redis is away or has
        lost the account: the ending is then sent in the background, or spooled, or kept in memory
        if the disk refuses too. An ending may be sent twice, because the ledger recognizes its
        attempt.

        Returns:
            The ledger's answer, or ``None`` if it has not answered (yet).
        """
        try:
            with deadline:
                return await self._send(ending)
        except TimeoutError:
            self.close_soon(ending)
            return None
        except asyncio.CancelledError:
            self.close_soon(ending)
            raise

    def close_soon(self, ending: Ending) -> None:
        """End a reservation in the background."""
        # Noted before the task begins: one that is cancelled before its first step never runs.
        self._owed[id(ending)] = ending
        self._tasks.start(self._send_quietly(ending))

    def give_back(self, attempt: ExecutionAttempt) -> None:
        """Release in the background what may be reserved for a cancelled attempt."""
        self.close_soon(Release(attempt))

    async def wait_for_ending(self, account_id: str, at_most_s: float) -> None:
        """Wait until a reservation of this account ends in this process, or the time is up."""
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
        """Finish background work, and try once more to empty the spool.

        Each step is bounded. Endings that Redis has not taken by then are spooled; the log says how
        many wait there, and how many are lost because the disk refuses them too.
        """
        await self._erasures.aclose()
        await self._replays.aclose()
        await finish("ending reservations", self.drain())
        await finish("spooling endings", self._spool_owed())
        await finish("sending the endings in memory", self._send_kept())
        with suppress(LedgerError, OSError):
            await finish("replaying the spool", self._spool.replay(self._ledger))
        if waiting := await asyncio.to_thread(self._spool.waiting):
            _log.warning("%d endings wait in the spool for the next process", waiting)
        if self._in_memory:
            _log.error("%d endings are lost: Redis and the disk refuse them", len(self._in_memory))

    async def drain(self) -> None:
        """Wait until no answer is left to read and no ending is under way."""
        await self._ledger.drain()
        while self._tasks:
            await self._tasks.drain()
            await self._ledger.drain()

    async def _send(self, ending: Ending) -> Settled | Released | Existing | NotBooked | None:
        try:
            answer = await self._ledger.end(ending)
        except AccountUnknown as error:
            self._tell_unknown(ending, error)
            if owes_something(ending):
                await self._keep(ending)
            return None
        except LedgerUnavailable as error:
            if not isinstance(error, AccountStopped):  # which is logged, once
                _log.warning("not booked (%s); the ending waits in the spool", error)
            await self._keep(ending)
            return None
        finally:
            self._wake(ending.attempt.account_id)
        if isinstance(answer, NotBooked):
            _log.error("a settlement came too late and is not charged: it is beyond the horizon")
        return answer

    def _tell_unknown(self, ending: Ending, error: AccountUnknown) -> None:
        """Log once for each account that it is gone, though something of it ends."""
        if error.account_id not in self._unknown and owes_something(ending):
            self._unknown.add(error.account_id)
            _log.error(
                "account %r is not in Redis, and what is owed to it waits in the spool: has Redis "
                "lost its data?",
                error.account_id,
            )

    async def _spool_owed(self) -> None:
        """Spool the endings that are still under way. To send one twice does no harm."""
        await self._tasks.cancel()
        for ending in list(self._owed.values()):
            await self._keep(ending)
        self._owed.clear()

    async def _keep(self, ending: Ending) -> None:
        """Spool an ending; keep it in memory until the next replay where the disk refuses."""
        try:
            await self._spool.put(ending)
        except OSError as error:
            _log.error("the spool can't be written (%s); the ending waits in memory", error)
            self._in_memory.append(ending)

    async def _send_kept(self) -> None:
        """Send or spool what waits in memory, the oldest first, until neither takes it."""
        is_away = False
        while self._in_memory:
            ending = self._in_memory[0]
            try:
                if is_away or not await self._sent(ending):
                    await self._spool.put(ending)
            except LedgerUnavailable:
                is_away = True
                continue
            except OSError:
                return
            with suppress(ValueError):
                self._in_memory.remove(ending)

    async def _sent(self, ending: Ending) -> bool:
        """Send an ending from memory; return false if its account can't take it now.

        Raises:
            LedgerUnavailable: no account can.
        """
        try:
            await self._ledger.end(ending)
        except (AccountStopped, AccountUnknown):
            return False
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the ledger will never take it
            _log.error("an ending in memory can't be settled: %s", type(error).__name__)
        return True

    def _wake(self, account_id: str) -> None:
        queue = self._waiting.get(account_id)
        while queue:
            waiter = queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _send_quietly(self, ending: Ending) -> None:
        try:
            await self._send(ending)
        except Exception as error:  # noqa: BLE001 - nobody awaits it, so it is logged
            _log.error("an ending was lost in the background: %s", type(error).__name__)
        self._owed.pop(id(ending), None)

    async def _replay(self) -> None:
        await self._send_kept()
        try:
            replay = await self._spool.replay(self._ledger)
        except (LedgerError, OSError) as error:
            _log.warning("the spool can't be replayed: %s", error)
            return
        if replay.done or replay.dead:
            _log.info("replayed %d endings, %d dead", replay.done, replay.dead)

    async def _erase(self) -> None:
        """Remove the values of people who were forgotten from what waits on disk and in memory."""
        try:
            erased = await self._values.round()
            waiting = list(self._in_memory)
            was_forgotten = await self._ledger.erasure.forgotten(waiting)
        except LedgerError as error:
            _log.debug("erasing values in the spool: %s", error)  # the replay says so
            return
        except OSError as error:
            _log.warning("values can't be removed from the spool: %s", error)
            return
        for ending, whether in zip(waiting, was_forgotten, strict=True):
            with suppress(ValueError):
                if whether:
                    self._in_memory[self._in_memory.index(ending)] = without_values(ending)
        if erased:
            _log.info("removed the values of %d spooled endings", erased)
