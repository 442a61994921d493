"""A connection that loses what it is told to lose: the request, or the answer to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any
from unittest import mock

from runtime.credits import batch, script_client
from runtime.credits.ledger import CreditLedger
from runtime.redis.errors import NotReached, UnknownOutcome
from runtime.redis.transport import Abandoned, Reply, Request


class Loss(StrEnum):
    NOTHING = "nothing"
    REQUEST = "request"
    ANSWER = "answer"


class LossyTransport:
    """Stands between a ledger and its server. ``losses`` are of the next calls, first one first."""

    def __init__(self, ledger: CreditLedger) -> None:
        batcher: Any = ledger._script_client._batcher
        below = batcher._transport
        self._below: Any = below._below if isinstance(below, LossyTransport) else below
        self.losses: list[Loss] = []
        batcher._transport = self

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        loss = self.losses.pop(0) if self.losses else Loss.NOTHING
        if loss is Loss.REQUEST:
            await asyncio.sleep(0)  # no connection fails before others have come to ask
            raise NotReached("lost on the way there")
        reply: Reply = await self._below.run(request, on_abandoned)
        if loss is Loss.ANSWER:
            raise UnknownOutcome("lost on the way back")
        return reply

    async def drain(self) -> None:
        await self._below.drain()


@contextmanager
def asking_again_at_once() -> Iterator[None]:
    """Callers whose answer was lost ask again in the order in which they hear of it."""
    with mock.patch.object(script_client, "_ASK_AGAIN_AFTER_S", (0, 0)):
        yield


@contextmanager
def one_script_call_at_a_time() -> Iterator[None]:
    """The answers of an account's executions are heard in the order in which scripts ran."""
    with mock.patch.object(batch, "_MOST_UNDER_WAY", 1):
        yield
