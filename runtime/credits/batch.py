"""Joins the calls that wait for one account into one script call.

While a script call of an account runs, further calls wait and then go together, endings
before reserves. An account with nothing under way is asked directly, by the caller itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.credits.answers import Alert, LedgerUnavailable
from runtime.credits.keys import Keys
from runtime.credits.transport import Reply, ScriptTransport

Answer = list[Any]
MAX_CALLS = 128


@dataclass(slots=True, eq=False)
class Call:
    """One verb for one account.

    ``outcome_key`` is declared to Redis, and its index is put before ``args``.
    ``on_abandoned`` hears the answer (``None`` = unknown) if the caller has gone by then.
    """

    verb: str
    args: Sequence[str | bytes]
    outcome_key: str | None = None
    ends: bool = False
    on_abandoned: Callable[[Answer | None], None] | None = None
    waiter: asyncio.Future[Answer] | None = field(default=None, init=False)

    def abandon(self, answer: Answer | None) -> None:
        if self.on_abandoned is not None:
            self.on_abandoned(answer)


@dataclass(slots=True)
class _Waiting:
    """Calls of one account behind the script call that is under way."""

    endings: deque[Call] = field(default_factory=deque)
    others: deque[Call] = field(default_factory=deque)

    def take(self) -> list[Call]:
        calls: list[Call] = []
        for queue in (self.endings, self.others):
            while queue and len(calls) < MAX_CALLS:
                calls.append(queue.popleft())
        return calls


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
        self._keys = keys
        self._header = header
        self._on_alert = on_alert
        self._waiting: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, account_id: str, call: Call, *, read_only: bool = False) -> Answer:
        """Run one call, alone or with others, and return its answer.

        Raises:
            LedgerUnavailable: as ``ScriptTransport.run`` does, for every call of the batch.
        """
        waiting = self._waiting.get(account_id)
        if read_only or waiting is None:
            return await self._submit_alone(account_id, call, read_only)
        call.waiter = asyncio.get_running_loop().create_future()
        queue = waiting.endings if call.ends else waiting.others
        queue.append(call)
        try:
            return await call.waiter
        except asyncio.CancelledError:
            if call in queue:
                queue.remove(call)
            raise

    async def aclose(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._transport.aclose()

    async def _submit_alone(self, account_id: str, call: Call, read_only: bool) -> Answer:
        if not read_only:
            self._waiting[account_id] = _Waiting()
        left_unread = False

        def abandoned(reply: Reply | None) -> None:
            call.abandon(None if reply is None else self._answers(account_id, reply)[0])
            self._go_on(account_id)

        try:
            keys, args = self._assemble(account_id, [call], read_only)
            reply = await self._transport.run(keys, args, call.abandon if read_only else abandoned)
            return self._answers(account_id, reply)[0]
        except asyncio.CancelledError:
            left_unread = True
            raise
        finally:
            if not read_only and not left_unread:
                self._go_on(account_id)

    def _go_on(self, account_id: str) -> None:
        waiting = self._waiting[account_id]
        if waiting.endings or waiting.others:
            task = asyncio.create_task(self._drain(account_id, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            del self._waiting[account_id]

    async def _drain(self, account_id: str, waiting: _Waiting) -> None:
        while calls := waiting.take():
            try:
                keys, args = self._assemble(account_id, calls, read_only=False)
                reply = await self._transport.run(keys, args, lambda _: None)
                answers = self._answers(account_id, reply)
            except Exception as exc:
                error = exc if isinstance(exc, LedgerUnavailable) else LedgerUnavailable(repr(exc))
                for call in calls:
                    _fail(call, error)
            else:
                for call, answer in zip(calls, answers, strict=True):
                    _deliver(call, answer)
        del self._waiting[account_id]

    def _assemble(
        self, account_id: str, calls: Sequence[Call], read_only: bool
    ) -> tuple[list[str], list[str | bytes]]:
        keys = list(self._keys.of_account(account_id))
        args: list[str | bytes] = [account_id, "r" if read_only else "w", *self._header]
        for call in calls:
            if call.outcome_key is None:
                args += (call.verb, str(len(call.args)))
            else:
                keys.append(call.outcome_key)
                args += (call.verb, str(len(call.args) + 1), str(len(keys)))
            args += call.args
        return keys, args

    def _answers(self, account_id: str, reply: Reply) -> list[Answer]:
        answers, alerts = reply
        for mark, threshold, left in alerts:
            self._on_alert(Alert(account_id, mark.decode(), threshold, left))
        return list(answers)


def _deliver(call: Call, answer: Answer) -> None:
    assert call.waiter is not None
    if call.waiter.done():
        call.abandon(answer)
    else:
        call.waiter.set_result(answer)


def _fail(call: Call, error: LedgerUnavailable) -> None:
    assert call.waiter is not None
    if call.waiter.done():
        call.abandon(None)
    else:
        call.waiter.set_exception(error)
