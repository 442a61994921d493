"""A way to the server that tells the time, counts, and loses what it is told to lose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from unittest import mock

from runtime.credits import batch, script_client
from runtime.redis.errors import NotReached, RedisUnavailable, UnknownOutcome
from runtime.redis.transport import Abandoned, Reply, Request, Transport, bulk


class Loss(StrEnum):
    NOTHING = "nothing"
    REQUEST = "request"
    ANSWER = "answer"


class StagedTransport:
    """A transport that a test watches and disturbs.

    Args:
        below: runs the scripts.
        now_ms: the time that is put behind a script's arguments, for scripts that go by it.

    ``losses`` are of the next script calls, first one first. ``asked`` counts script calls, lost
    ones too; ``sizes`` has the number of verbs in each one that was answered. ``on_answer`` is
    called when an answer has come and nobody has seen it yet. ``zone_asked_for`` is the time zone
    whose windows a script asked for last.
    """

    def __init__(self, below: Transport, now_ms: Callable[[], int] | None = None) -> None:
        self._below = below
        self._now_ms = now_ms
        self.losses: list[Loss] = []
        self.asked = 0
        self.sizes: list[int] = []
        self.zone_asked_for = ""
        self.on_answer: Callable[[Reply], None] = lambda reply: None

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        self.asked += 1
        loss = self.losses.pop(0) if self.losses else Loss.NOTHING
        if loss is Loss.REQUEST:
            await asyncio.sleep(0)  # no connection fails before others have come to ask
            raise NotReached("lost on the way there")
        if self._now_ms is not None:
            packed = request.packed + bulk(self._now_ms())
            request = replace(request, values=request.values + 1, packed=packed)
        try:
            reply = await self._below.run(request, on_abandoned)
        except RedisUnavailable as error:
            word, _, zone = str(error).partition(" ")
            if word == "CREDITGATE_ZONE":
                self.zone_asked_for = zone
            raise
        self.sizes.append(len(reply[0]))
        self.on_answer(reply)
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
