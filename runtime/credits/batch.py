"""Joins the calls that wait for one account into one script call.

While a script call of an account runs, further calls wait and then go together, endings
before reserves. An account with nothing under way is asked directly, by the caller itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from runtime.credits.answers import Alert, LedgerUnavailable
from runtime.credits.keys import Keys, bucket_of, slot_of_bucket
from runtime.credits.transport import Reply, Request, ScriptTransport, UnknownOutcome, bulk

Answer = list[Any]
MAX_CALLS = 128

_log = logging.getLogger("creditgate.ledger")
_ACCOUNT_KEYS = 11
_HEADER_VALUES = 4


@dataclass(slots=True, eq=False)
class Call:
    """One verb for one account.

    ``outcome_key`` is declared to Redis, and its index is put before ``args``.
    ``on_abandoned`` hears the answer (``None`` = unknown) if the caller has gone by then.

    Raises:
        ValueError: an argument can't be encoded.
    """

    verb: str
    args: Sequence[bytes | str | int]
    outcome_key: str | None = None
    ends: bool = False
    on_abandoned: Callable[[Answer | None], None] | None = None
    packed: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self.packed = bulk(*self.args)

    def abandon(self, answer: Answer | None) -> None:
        if self.on_abandoned is not None:
            self.on_abandoned(answer)


@dataclass(slots=True, eq=False)
class _Queued:
    """A call, and who waits for its answer."""

    call: Call
    waiter: asyncio.Future[Answer]

    def deliver(self, answer: Answer) -> None:
        if self.waiter.done():
            self.call.abandon(answer)
        else:
            self.waiter.set_result(answer)

    def fail(self, error: LedgerUnavailable) -> None:
        if self.waiter.done():
            self.call.abandon(None)
        else:
            self.waiter.set_exception(type(error)(*error.args))


@dataclass(slots=True)
class _Waiting:
    """Calls of one account behind the script call that is under way."""

    endings: deque[_Queued] = field(default_factory=deque)
    others: deque[_Queued] = field(default_factory=deque)

    def take(self) -> list[_Queued]:
        taken: list[_Queued] = []
        for queue in (self.endings, self.others):
            while queue and len(taken) < MAX_CALLS:
                taken.append(queue.popleft())
        return taken


class Batcher:
    """Sends calls to the ledger script, at most one script call under way per account.

    Args:
        header: the arguments that every script call begins with, after account and mode:
            outcome TTL in ms, marks.
        on_alert: hears each alert that a script call of this process raised.
    """

    def __init__(
        self,
        transport: ScriptTransport,
        keys: Keys,
        header: tuple[str, str],
        on_alert: Callable[[Alert], None],
    ) -> None:
        self._transport = transport
        self._on_alert = on_alert
        self._waiting: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

        @lru_cache(maxsize=4_096)
        def packed_account(account_id: str, read_only: bool) -> tuple[bytes, bytes, int]:
            mode = "r" if read_only else "w"
            slot = slot_of_bucket(bucket_of(account_id))
            return bulk(*keys.of_account(account_id)), bulk(account_id, mode, *header), slot

        self._packed_account = packed_account

    async def submit(self, account_id: str, call: Call, *, read_only: bool = False) -> Answer:
        """Run one call, alone or with others, and return its answer.

        Raises:
            LedgerUnavailable: as ``ScriptTransport.run`` does, for every call of the batch.
        """
        if read_only:
            request = self._request(account_id, [call], read_only=True)
            reply = await self._transport.run(request, call.abandon)
            return self._answers(account_id, reply)[0]
        waiting = self._waiting.get(account_id)
        if waiting is None:
            return await self._submit_alone(account_id, call)
        queued = _Queued(call, asyncio.get_running_loop().create_future())
        queue = waiting.endings if call.ends else waiting.others
        queue.append(queued)
        waiter = queued.waiter
        try:
            return await waiter
        except asyncio.CancelledError:
            if queued in queue:
                queue.remove(queued)
            elif waiter.done() and not waiter.cancelled():
                # The answer came, but the cancellation before the caller could take it.
                call.abandon(None if waiter.exception() else waiter.result())
            raise

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._transport.drain()

    async def _submit_alone(self, account_id: str, call: Call) -> Answer:
        self._waiting[account_id] = _Waiting()

        def abandoned(reply: Reply | None) -> None:
            self._go_on(account_id)
            call.abandon(None if reply is None else self._answers(account_id, reply)[0])

        try:
            request = self._request(account_id, [call])
            answer = self._answers(account_id, await self._transport.run(request, abandoned))[0]
        except asyncio.CancelledError:
            raise  # the transport has told abandoned(), or will
        except BaseException:
            self._go_on(account_id)
            raise
        self._go_on(account_id)
        return answer

    def _go_on(self, account_id: str) -> None:
        waiting = self._waiting[account_id]
        if waiting.endings or waiting.others:
            task = asyncio.create_task(self._drain(account_id, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            del self._waiting[account_id]

    async def _drain(self, account_id: str, waiting: _Waiting) -> None:
        batch: list[_Queued] = []
        try:
            while batch := waiting.take():
                await self._send(account_id, batch)
        except asyncio.CancelledError:
            # The loop is being closed over everybody's head: nobody may wait for ever.
            while batch:
                for queued in batch:
                    queued.fail(UnknownOutcome("cancelled"))
                batch = waiting.take()
            raise
        finally:
            del self._waiting[account_id]

    async def _send(self, account_id: str, batch: Sequence[_Queued]) -> None:
        try:
            request = self._request(account_id, [queued.call for queued in batch])
            answers = self._answers(account_id, await self._transport.run(request, lambda _: None))
        except LedgerUnavailable as exc:
            for queued in batch:
                queued.fail(exc)
        except Exception as exc:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            for queued in batch:
                queued.fail(UnknownOutcome(type(exc).__name__))
        else:
            for queued, answer in zip(batch, answers, strict=True):
                queued.deliver(answer)

    def _request(self, account_id: str, calls: Sequence[Call], read_only: bool = False) -> Request:
        account_keys, header, slot = self._packed_account(account_id, read_only)
        keys, values = _ACCOUNT_KEYS, _HEADER_VALUES
        packed_keys, packed = [account_keys], [header]
        for call in calls:
            count = len(call.args)
            if call.outcome_key is None:
                packed += (bulk(call.verb, count), call.packed)
            else:
                keys += 1
                count += 1
                packed_keys.append(bulk(call.outcome_key))
                packed += (bulk(call.verb, count, keys), call.packed)
            values += 2 + count
        return Request(keys, values, b"".join(packed_keys + packed), slot)

    def _answers(self, account_id: str, reply: Reply) -> list[Answer]:
        answers: list[Answer] = reply[0]
        for mark, threshold_mc, left_mc in reply[1]:
            try:
                self._on_alert(Alert(account_id, mark.decode(), threshold_mc, left_mc))
            except Exception:  # noqa: BLE001 - a listener may do anything
                # The calls are booked: a listener's fault must not make them look undone.
                _log.exception("an alert's listener failed; the alert is in Redis")
        return answers
