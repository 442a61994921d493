"""The campaign worker: takes tickets, runs slices, waits out outages and ends gently."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain

from runtime.background import Periodic, TaskSet
from runtime.campaigns.campaign import Tally
from runtime.campaigns.run import Then
from runtime.queue.entries import CampaignState, Ended
from runtime.queue.errors import CampaignUnknown, QueueUnavailable
from runtime.queue.queue import RequestQueue
from runtime.worker.engine import TicketEngine
from runtime.worker.gates import Shares
from runtime.worker.holds import Held, Holds
from runtime.worker.slices import Slices
from runtime.worker.tickets import Ticket

_log = logging.getLogger("creditgate.worker")

_TICK_S = 0.4
_HEED_S = 0.4
_TICKETS_A_TICK = 500
_TRIM_EVERY_S = 60.0
_BRIEF_S = 1.0
_CANCELLED_WITHIN_S = 10.0


@dataclass(slots=True)
class WorkerTally:
    """What a worker did: the people that it ran actions for, and the dead letters."""

    people: Tally = field(default_factory=Tally)
    dead: int = 0

    def add(self, ended: Ended) -> None:
        """Count a request that ended."""
        if ended.result is None:
            self.dead += 1
        else:
            self.people.add(ended.result)


class CampaignWorker:
    """One worker process.

    Args:
        size: the requests of a slice.
        grace_s: how long executions that run may take to end.
        drains: end when nothing waits any more.

    ``gave_up`` is the hold whose patience was over, if the worker ended for it.
    """

    def __init__(
        self,
        queue: RequestQueue,
        slices: Slices,
        holds: Holds,
        shares: Shares,
        *,
        size: int,
        then: Then,
        grace_s: float,
        drains: bool = False,
    ) -> None:
        self.gave_up: Held | None = None
        self._queue = queue
        self._slices = slices
        self._holds = holds
        self._shares = shares
        self._size = size
        self._then = then
        self._grace_s = grace_s
        self._drains = drains
        self._engine: TicketEngine | None = None
        self._issuing = TaskSet()
        self._ending = asyncio.Event()
        self._cancelling = asyncio.Event()
        self._crowded = False
        self._held_accounts: set[str] = set()
        self._turn = 0
        self._idle_since_s = time.monotonic()
        self._ticker = Periodic("issuing tickets", self._tick, _TICK_S, spread=0.1)
        self._heeder = Periodic("heeding pauses", self._slices.heed, _HEED_S)
        self._trimmer = Periodic(
            "letting go what is too old", self._trim, _TRIM_EVERY_S, spread=0.2
        )

    @property
    def slices(self) -> int:
        """The slices that run."""
        return len(self._slices)

    @property
    def in_flight(self) -> int:
        """The executions that run."""
        return self._slices.in_flight

    @property
    def holds(self) -> Sequence[Held]:
        """The holds that are on."""
        return self._holds.on()

    async def run(self, engine: TicketEngine) -> None:
        """Run what the queue has, until ``stop``, the end of patience, or of the work."""
        self._engine = engine
        engine.start()
        self._ticker.start()
        self._heeder.start(after_s=_HEED_S)
        self._trimmer.start(after_s=_BRIEF_S)
        failing = asyncio.create_task(engine.failed())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait([failing, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(engine, failing, ending)
        if failing.done() and not failing.cancelled():
            failing.result()

    def stop(self) -> None:
        """Take nothing more; what runs may end within the grace."""
        self._slices.stop()
        self._ending.set()

    def cancel(self) -> None:
        """Cancel what runs, and give it back."""
        self.stop()
        self._cancelling.set()

    async def on_ticket(self, text: str) -> Sequence[str]:
        """Run a slice of a ticket's account; return the tickets that follow."""
        ticket = Ticket.read(text)
        account_id = ticket.account_id
        with self._shares.slice_of(account_id) as has_share:
            if not has_share or self._ending.is_set():
                return ()
            was_held = account_id in self._held_accounts
            try:
                end = await self._slices.run(
                    account_id,
                    1 if was_held else self._size,
                    lambda: None if was_held else self._issue(ticket.following()),
                )
            except QueueUnavailable as error:
                _log.debug("no slice can be taken now: %s", error)
                return ()
        if end is None:
            self._held_accounts.discard(account_id)
            return ()
        self._idle_since_s = time.monotonic()
        if end.held:
            self._held_accounts.add(account_id)
            return ()
        if end.ended:
            self._held_accounts.discard(account_id)
        goes_on = end.more and (ticket.number == 0 or not self._crowded)
        return (text,) if goes_on else ()

    def _issue(self, tickets: Sequence[Ticket]) -> None:
        if self._engine is not None and not self._crowded and tickets:
            self._issuing.start(self._engine.issue(map(str, tickets)))

    async def _tick(self) -> None:
        """Issue tickets for accounts with work, and see whether to give up or to end."""
        engine = self._engine
        if engine is None or self._ending.is_set():
            return
        start = self._holds.start_reading()
        if start is not None:
            try:
                accounts = await self._queue.accounts_with_work()
            except QueueUnavailable as error:
                self._holds.not_read(start, str(error))
            else:
                self._holds.was_read(start)
                await engine.issue(str(Ticket(each)) for each in self._due(accounts))
                if self._drains and await self._is_done(accounts):
                    self.stop()
        self._crowded = await engine.waiting() > 0
        self._see_whether_to_give_up()

    async def _trim(self) -> None:
        with suppress(QueueUnavailable):
            await self._queue.trim()

    def _due(self, accounts: Sequence[str]) -> Sequence[str]:
        """Return the accounts to issue tickets for: the latest, and others in turn."""
        if len(accounts) <= _TICKETS_A_TICK:
            return accounts
        half = _TICKETS_A_TICK // 2
        latest, others = accounts[:half], accounts[half:]
        self._turn = (self._turn + half) % len(others)
        return [*latest, *list(chain(others, others))[self._turn : self._turn + half]]

    def _see_whether_to_give_up(self) -> None:
        if self._then is not Then.STOP:
            return
        for held in self._holds.given_up():
            if self._holds.answered_s > held.hold.since_s:
                # Others get answers: the worker goes on for them, and keeps those here waiting.
                self._holds.begin_again(held.place)
            elif self.gave_up is None:
                self.gave_up = held
                self.stop()

    async def _is_done(self, accounts: Sequence[str]) -> bool:
        """Return whether nothing runs anywhere, and nothing could be taken lately."""
        if self.slices or time.monotonic() - self._idle_since_s < _BRIEF_S:
            return False
        for account_id in accounts:
            for campaign_id in await self._queue.campaigns(account_id):
                try:
                    status = await self._queue.status(account_id, campaign_id)
                except CampaignUnknown:
                    continue
                if status.running or (status.waiting and status.state is CampaignState.RUNNING):
                    return False
        return True

    async def _end(
        self, engine: TicketEngine, failing: asyncio.Task[None], ending: asyncio.Task[bool]
    ) -> None:
        self.stop()
        for task in (failing, ending):
            task.cancel()
        await self._ticker.aclose()
        await self._trimmer.aclose()
        closing = asyncio.create_task(engine.aclose())
        cancelling = asyncio.create_task(self._cancelling.wait())
        try:
            await asyncio.wait(
                [closing, cancelling],
                timeout=self._grace_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            cancelling.cancel()
            if not closing.done():
                _log.warning("%d executions are cancelled and given back", self.in_flight)
                self._slices.cancel()
                await asyncio.wait([closing], timeout=_CANCELLED_WITHIN_S)
            await self._heeder.aclose()
            await self._issuing.cancel()
            if not closing.done():
                await engine.cancel()
