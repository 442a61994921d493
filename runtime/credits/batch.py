"""Joins the calls that wait for one account into one script call.

While a script call of an account runs, further calls wait; then they go together, endings before
reserves. If nothing is under way for the account, the caller sends its call directly. If many calls
wait, two script calls are under way: one runs in Redis while the answers of the other
are handed out here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

from runtime.background import TaskSet
from runtime.credits.caps import cap_of
from runtime.credits.clock import own_clock_ms
from runtime.credits.memory import Memory
from runtime.credits.results import Alert
from runtime.credits.scripts import Scripts
from runtime.credits.windows import CapWindows
from runtime.redis.errors import RedisUnavailable, UnknownOutcome
from runtime.redis.keys import Keys, bucket_of, slot_of_bucket
from runtime.redis.transport import Reply, Request, Transport, bulk

Answer = list[Any]
# A longer script is more likely to be interrupted on the server, and others wait for both
# (ledger_script_p99_ms). More calls than these save almost nothing.
MAX_CALLS = 48
_MOST_UNDER_WAY = 2

_log = logging.getLogger("creditgate.ledger")
# Account and mode before the settings; clock, memory and windows behind them.
_VALUES_BESIDE_SETTINGS = 5


class Mode(Enum):
    """The ways in which a call is sent."""

    EXECUTION = "batched with others of its account"
    ACCOUNT = "alone, by the script that changes accounts"
    READ = "alone, by the same script, which then writes nothing"


@dataclass(slots=True, eq=False)
class Call:
    """One verb for one account.

    ``outcome_key`` is declared to Redis. If the caller is cancelled before its answer comes,
    ``on_abandoned`` is called with the answer, or with ``None`` if it stays unknown.

    Raises:
        ValueError: an argument can't be encoded.
    """

    verb: str
    args: Sequence[bytes | str | int]
    outcome_key: str | None = None
    ends: bool = False
    on_abandoned: Callable[[Answer | None], None] | None = None
    mode: Mode = Mode.EXECUTION
    packed: bytes = field(default=b"", init=False, repr=False)
    packed_key: bytes = field(default=b"", init=False, repr=False)
    # Set while the call waits behind others.
    waiter: asyncio.Future[Answer] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.packed = bulk(self.verb, len(self.args), *self.args)
        if self.outcome_key is not None:
            self.packed_key = bulk(self.outcome_key)

    def abandon(self, answer: Answer | None) -> None:
        if self.on_abandoned is not None:
            self.on_abandoned(answer)

    def deliver(self, answer: Answer) -> None:
        if self.waiter.done():
            self.abandon(answer)
        else:
            self.waiter.set_result(answer)

    def fail(self, error: RedisUnavailable) -> None:
        if self.waiter.done():
            self.abandon(None)
        else:
            self.waiter.set_exception(type(error)(*error.args))


@dataclass(slots=True)
class _AccountQueue:
    """One account's calls: the number of script calls under way, and the calls that wait."""

    under_way: int = 1
    endings: deque[Call] = field(default_factory=deque)
    others: deque[Call] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self.endings) + len(self.others)

    def take(self) -> list[Call]:
        taken: list[Call] = []
        for calls in (self.endings, self.others):
            while calls and len(taken) < MAX_CALLS:
                taken.append(calls.popleft())
        return taken


class Batcher:
    """Sends calls to the ledger's scripts.

    Args:
        header: the arguments that every script call begins with, after account and mode.
        on_alert: called with each alert that a script call of this process raised.
        clock_ms: this process's clock; a server whose clock is far from it books nothing.
    """

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        keys: Keys,
        header: tuple[str, ...],
        on_alert: Callable[[Alert], None],
        clock_ms: Callable[[], int] = own_clock_ms,
    ) -> None:
        self._transport = transport
        self._scripts = scripts
        self._on_alert = on_alert
        self._clock_ms = clock_ms
        self.memory = Memory()
        self._header_values = _VALUES_BESIDE_SETTINGS + len(header)
        self.windows = CapWindows(clock_ms)
        self._queues: dict[str, _AccountQueue] = {}
        self._tasks = TaskSet()

        @lru_cache(maxsize=4_096)
        def packed_account(account_id: str, mode: Mode) -> tuple[int, bytes, bytes, int]:
            letter = "r" if mode is Mode.READ else "w"
            slot = slot_of_bucket(bucket_of(account_id))
            own = keys.of_account(account_id)
            return len(own), bulk(*own), bulk(account_id, letter, *header), slot

        self._packed_account = packed_account

    def submit(self, account_id: str, call: Call) -> Awaitable[Answer]:
        """Run one call, alone or with others; awaited, return its answer.

        Raises:
            RedisUnavailable: as ``ScriptTransport.run`` does, for every call of the batch.
        """
        if call.mode is not Mode.EXECUTION:
            return self._submit_unbatched(account_id, call)
        queue = self._queues.get(account_id)
        if queue is None:
            return self._submit_alone(account_id, call)
        return self._submit_queued(account_id, queue, call)

    async def submit_all(self, account_id: str, calls: Sequence[Call]) -> list[Answer]:
        """Run calls of one mode in one script call, in their order; return their answers.

        Raises:
            RedisUnavailable: as ``submit``.
        """
        request = self._request(account_id, calls)
        return self._answers(account_id, await self._transport.run(request, lambda reply: None))

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._tasks.drain()
        await self._transport.drain()

    async def _submit_unbatched(self, account_id: str, call: Call) -> Answer:
        reply = await self._transport.run(
            self._request(account_id, [call]),
            lambda reply: call.abandon(None if reply is None else reply[0][0]),
        )
        return self._answers(account_id, reply)[0]

    async def _submit_alone(self, account_id: str, call: Call) -> Answer:
        queue = self._queues[account_id] = _AccountQueue()

        def abandoned(reply: Reply | None) -> None:
            self._go_on(account_id, queue)
            call.abandon(None if reply is None else self._answers(account_id, reply)[0])

        try:
            request = self._request(account_id, [call])
            answer = self._answers(account_id, await self._transport.run(request, abandoned))[0]
        except asyncio.CancelledError:
            raise  # the transport has told abandoned(), or will
        except BaseException:
            self._go_on(account_id, queue)
            raise
        self._go_on(account_id, queue)
        return answer

    async def _submit_queued(self, account_id: str, queue: _AccountQueue, call: Call) -> Answer:
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        call.waiter = waiter
        calls = queue.endings if call.ends else queue.others
        calls.append(call)
        if queue.under_way < _MOST_UNDER_WAY and len(queue) >= MAX_CALLS:
            queue.under_way += 1
            self._start(account_id, queue)
        try:
            return await waiter
        except asyncio.CancelledError:
            if call in calls:
                calls.remove(call)
            elif waiter.done() and not waiter.cancelled():
                # The answer came, but the cancellation before the caller could take it.
                call.abandon(None if waiter.exception() else waiter.result())
            raise

    def _go_on(self, account_id: str, queue: _AccountQueue) -> None:
        if len(queue):
            self._start(account_id, queue)
        else:
            self._leave(account_id, queue)

    def _leave(self, account_id: str, queue: _AccountQueue) -> None:
        queue.under_way -= 1
        if queue.under_way:
            return
        del self._queues[account_id]
        # Calls are left behind a finished script call only while all tasks of the loop are being
        # cancelled; then no caller must wait for ever.
        while left := queue.take():
            for call in left:
                call.fail(UnknownOutcome("cancelled"))

    def _start(self, account_id: str, queue: _AccountQueue) -> None:
        # Not in the coroutine: one that is cancelled before its first step never runs.
        def done(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                self._leave(account_id, queue)
            else:
                self._go_on(account_id, queue)

        self._tasks.start(self._work_off(account_id, queue), done)

    async def _work_off(self, account_id: str, queue: _AccountQueue) -> None:
        while batch := queue.take():
            try:
                await self._send(account_id, batch)
            except asyncio.CancelledError:
                for call in batch:
                    call.fail(UnknownOutcome("cancelled"))
                raise

    async def _send(self, account_id: str, batch: Sequence[Call]) -> None:
        try:
            request = self._request(account_id, batch)
            answers = self._answers(account_id, await self._transport.run(request, lambda _: None))
        except RedisUnavailable as exc:
            for call in batch:
                call.fail(exc)
        except Exception as exc:  # noqa: BLE001 - whatever it is, no caller may wait for ever
            for call in batch:
                call.fail(UnknownOutcome(type(exc).__name__))
        else:
            for call, answer in zip(batch, answers, strict=True):
                call.deliver(answer)

    def _request(self, account_id: str, calls: Sequence[Call]) -> Request:
        mode = calls[0].mode
        own, account_keys, header, slot = self._packed_account(account_id, mode)
        return Request(
            script=self._scripts.executions if mode is Mode.EXECUTION else self._scripts.accounts,
            keys=own + sum(call.outcome_key is not None for call in calls),
            values=self._header_values + sum(2 + len(call.args) for call in calls),
            packed=b"".join(
                [
                    account_keys,
                    *(call.packed_key for call in calls),
                    header,
                    bulk(self._clock_ms(), self.memory.of(account_id)),
                    self.windows.told(account_id),
                    *(call.packed for call in calls),
                ]
            ),
            slot=slot,
            writes=mode is not Mode.READ,
        )

    def _answers(self, account_id: str, reply: Reply) -> list[Answer]:
        answers: list[Answer] = reply[0]
        self.memory.note(account_id, reply[2])
        for fields in reply[1]:
            try:
                self._on_alert(_alert(account_id, *fields))
            except Exception:  # noqa: BLE001 - a listener may do anything
                # The calls are booked: a failing listener must not make them look undone.
                _log.exception("an alert's listener failed; the alert is in Redis")
        return answers


def _alert(
    account_id: str,
    mark: bytes,
    threshold_mc: int,
    left_mc: int,
    lag: int,
    cap: bytes | None = None,
    limit_mc: int = 0,
    charged_mc: int = 0,
) -> Alert:
    named = None if cap is None else cap_of(cap.decode())
    return Alert(account_id, mark.decode(), threshold_mc, left_mc, lag, named, limit_mc, charged_mc)
