"""The queue engine that carries tickets: streaq, on the Redis of the configuration.

A ticket says that an account has work, and no more: a lost one is issued again. Its id is its
identity, so that issuing it twice makes one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from anyio import CancelScope
from coredis.exceptions import AuthorizationError, RedisError, UnknownCommandError
from streaq import StreaqError, Worker
from streaq.types import StreamMessage

from runtime.background import finish
from runtime.config.sections import RedisSection
from runtime.queue.errors import QueueError
from runtime.worker.connecting import streaq_options

_log = logging.getLogger("creditgate.worker")

_TASK = "ticket"
_TICKET_IDLE_S = 10.0
"""A ticket of a process that died is run by another one after so long."""
_CONNECT_WITHIN_S = 10.0
"""In a cluster that fails over, streaq may wait for a server that never comes back."""
_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)

OnTicket = Callable[[str], Awaitable[Iterable[str]]]
"""Runs what a ticket stands for; returns the tickets to issue once it has ended."""


class TicketEngine:
    """Issues tickets, and runs those that are due, a bounded number at once.

    A connection that breaks ends streaq's worker as a whole; another one follows after a pause.
    Slices that run meanwhile go on.

    Args:
        url: where the server is, if ``section`` has the embedded one.
        slots: the tickets that run at once.
        on_ticket: runs one; it handles its own errors.
        nodes: returns the nodes of the cluster that are known by now.
    """

    def __init__(
        self,
        section: RedisSection,
        url: str,
        slots: int,
        on_ticket: OnTicket,
        nodes: Callable[[], Sequence[tuple[str, int]]] = list,
    ) -> None:
        self._nodes = nodes
        self._section = section
        self._url = url
        self._slots = slots
        self._on_ticket = on_ticket
        self._ending = asyncio.Event()
        self._worker: _Worker | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """True while tickets can be issued and taken."""
        return self._worker is not None

    def start(self) -> None:
        """Take tickets from now on."""
        self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Take no more tickets, and wait for those that run."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def cancel(self) -> None:
        """Cancel the tickets that run."""
        self._ending.set()
        if self._task is not None:
            self._task.cancel()
            await finish("ending the ticket engine", _ended(self._task))

    async def failed(self) -> None:
        """Wait for the end of the engine, and raise what it failed of.

        Raises:
            QueueError: the server can't run streaq.
        """
        if self._task is not None:
            await asyncio.shield(self._task)

    async def issue(self, tickets: Iterable[str]) -> None:
        """Issue tickets; those that exist already stay as they are.

        While the connection is broken nothing is issued: a later round of the ticker does it.
        """
        worker = self._worker
        if worker is not None and (ids := list(tickets)):
            try:
                await worker.issue(ids)
            except _BROKEN as error:
                _log.debug("tickets were not issued: %s", type(error).__name__)

    async def waiting(self) -> int:
        """Return how many tickets wait for a free slot in any process."""
        worker = self._worker
        if worker is None:
            return 0
        try:
            return await worker.waiting()
        except _BROKEN:
            return 0

    async def _run(self) -> None:
        tries = 0
        while not self._ending.is_set():
            options = streaq_options(self._section, self._url, self._nodes())
            worker = _Worker(self._section, options, self._slots, self._on_ticket, self._ending)
            began_s = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(_CONNECT_WITHIN_S) as limit:
                    await worker.serve(partial(self._now_connected, limit))
            except BaseExceptionGroup as errors:
                broken, others = errors.split(_BROKEN)
                if others is not None:
                    raise others from None
                if broken is not None:
                    _note_break(_first(broken))
            except _BROKEN as error:
                _note_break(error)
            finally:
                self._worker = None
            lasted_s = asyncio.get_running_loop().time() - began_s
            tries = 0 if lasted_s > _PAUSES_S[-1] else min(tries + 1, len(_PAUSES_S) - 1)
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSES_S[tries]):
                    await self._ending.wait()

    def _now_connected(self, limit: asyncio.Timeout, worker: _Worker) -> None:
        limit.reschedule(None)
        self._worker = worker


# coredis takes the error of one server of a cluster for an answer, and uses pools that are closed.
_OF_COREDIS = (AttributeError, RuntimeError)
_BROKEN = (RedisError, OSError, StreaqError, TimeoutError, *_OF_COREDIS)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _note_break(error: BaseException) -> None:
    """Log that the connection broke.

    Raises:
        QueueError: the server has no functions, or its user may not use them.
    """
    if isinstance(error, UnknownCommandError):
        raise QueueError(
            "the worker needs Redis 7.0 or newer, or Valkey, for the functions that carry its "
            "tickets; everything else runs on Redis 6.2"
        ) from None
    if isinstance(error, AuthorizationError):
        raise QueueError(
            "the Redis user of the worker may not use what carries its tickets: it needs the "
            f"commands FUNCTION and FCALL, and the keys streaq:* ({error})"
        ) from None
    _log.warning("tickets can't be taken now: %s", type(error).__name__)


async def _ended(task: asyncio.Task[None]) -> None:
    with suppress(asyncio.CancelledError):
        await task


class _Worker(Worker[None]):
    """streaq's worker for tickets alone, which leaves the signals to the command line."""

    def __init__(
        self,
        section: RedisSection,
        options: dict[str, Any],
        slots: int,
        on_ticket: OnTicket,
        ending: asyncio.Event,
    ) -> None:
        super().__init__(
            # The braces keep all of its keys in one slot of a cluster.
            queue_name=f"{{{section.key_prefix}:tickets}}",
            concurrency=slots,
            prefetch=1,
            idle_timeout=_TICKET_IDLE_S,
            # Never a pickle.
            serializer=json.dumps,
            deserializer=json.loads,
            **options,
        )
        self._ending = ending
        self._on_ticket = on_ticket
        self._next: dict[str, list[str]] = {}
        self._ticket = self.task(
            name=_TASK, silent=True, ttl=0, max_tries=None, timeout=None, unique=False
        )(self._run_ticket)

    async def serve(self, on_connected: Callable[[_Worker], None]) -> None:
        """Run tickets until the end, or until the connection breaks."""
        self._on_connected = on_connected
        await self.run_async()

    async def issue(self, tickets: Iterable[str]) -> None:
        """Issue tickets by their ids."""
        tasks = []
        for ticket in tickets:
            task = self._ticket.enqueue(ticket)
            task.id = ticket
            tasks.append(task)
        await self.enqueue_many(tasks)

    async def waiting(self) -> int:
        """Return how many tickets no process has taken yet."""
        groups = await self.redis.xinfo_groups(self.stream_key + self.priorities[0])
        return max((int(group["lag"] or 0) for group in groups), default=0)

    async def signal_handler(self, scope: CancelScope) -> None:
        """End when told to, not by a signal: streaq would take the process's signals."""
        self._on_connected(self)
        await self._ending.wait()
        scope.cancel("the worker ends")

    async def run_consumers(self, receive: Any, *args: Any, **options: Any) -> None:
        """Run tickets as streaq does, and close the stream, which it leaves open."""
        async with receive:
            await super().run_consumers(receive, *args, **options)

    async def finish_task(self, msg: StreamMessage, *args: Any, **options: Any) -> None:
        """End a ticket as streaq does, then issue those that follow: its own id is free now."""
        await super().finish_task(msg, *args, **options)
        if following := self._next.pop(msg.task_id, None):
            await self.issue(following)

    async def _run_ticket(self, ticket: str) -> None:
        self._next[ticket] = list(await self._on_ticket(ticket))
