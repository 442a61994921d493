"""The queues in which executions wait for their turn, one for each process and endpoint.

``max_concurrency`` bounds how many calls a process makes at once. For limits that all processes
share, the queue asks as a whole: one exchange at a time, for all requests at its head.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, islice
from typing import Self

from providers.pacing.rule import (
    Returned,
    SharedLimit,
    Shortage,
    TurnRequest,
    TurnsGiven,
    TurnSource,
)

_MOST_AT_ONCE = 64
_POLL_S = (0.02, 0.05)
"""The time until the next exchange where that depends on other processes."""
_LONGEST_WAIT_S = 1.0
_RETURN_WITHIN_S = 0.01
"""The time that a returned slot waits for requests that the same exchange could serve."""
_SLOT_OUTLIVES_MS = 1_000
_LONGEST_PAUSE_S = 60.0
_PAUSE_SPREAD_S = 1.0


class Bottleneck(StrEnum):
    """The thing that an execution was waiting for when its time was over."""

    PROCESS = "process"
    PAUSE = "pause"
    SLOT = "slot"
    REQUESTS = "requests"
    TOKENS = "tokens"


_BOTTLENECKS = {
    Shortage.SLOT: Bottleneck.SLOT,
    Shortage.REQUESTS: Bottleneck.REQUESTS,
    Shortage.TOKENS: Bottleneck.TOKENS,
}


class NoTurn(TimeoutError):
    """The deadline came before the turn; ``bottleneck`` is what it waited for."""

    def __init__(self, bottleneck: Bottleneck) -> None:
        super().__init__(f"no turn in time: {bottleneck}")
        self.bottleneck = bottleneck


@dataclass(frozen=True, slots=True)
class EndpointLimit:
    """The limits of an endpoint: of this process, and of all processes together.

    Args:
        max_concurrency: how many calls this process makes at once; ``None`` for no limit.
        shared: what all processes share; ``None`` for no limit.
    """

    max_concurrency: int | None = None
    shared: SharedLimit | None = None


_NOTHING = Returned("")


class Turn:
    """The leave to make one request at an endpoint, and a slot, for an ``async with`` block.

    The block waits for the turn, and raises ``NoTurn`` if none comes in time. ``unused`` is what is
    returned at its end; after ``use`` only the slot is.
    """

    __slots__ = ("_deadline_s", "_queue", "tokens", "unused")

    def __init__(self, queue: _EndpointQueue, tokens: int, deadline_s: float) -> None:
        self._queue = queue
        self._deadline_s = deadline_s
        self.tokens = tokens
        self.unused = _NOTHING

    async def __aenter__(self) -> Self:
        queue, deadline_s = self._queue, self._deadline_s
        if queue.slots is not None:
            await _acquire(queue.slots, deadline_s)
        try:
            await queue.wait_out_pause(deadline_s)
            if queue.shared is not None:
                self.unused = await queue.shared.take_with_slot(self.tokens, deadline_s)
                # The provider may have asked for a pause meanwhile.
                await queue.wait_out_pause(deadline_s)
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._queue.shared is not None:
            self._queue.shared.give_back(self.unused)
        if self._queue.slots is not None:
            self._queue.slots.release()

    def use(self) -> None:
        """Note that the request is made now: only the slot is returned at the end."""
        self.unused = Returned(self.unused.slot) if self.unused.slot else _NOTHING

    async def another(self) -> None:
        """Wait for the turn of a retry, ahead of all executions that have no turn yet.

        Raises:
            NoTurn: it would come after the deadline.
        """
        await self._queue.wait_out_pause(self._deadline_s)
        if self._queue.shared is not None:
            await self._queue.shared.take(TurnRequest("", 0, self.tokens), self._deadline_s)
            await self._queue.wait_out_pause(self._deadline_s)

    def pause_endpoint(self, for_ms: int) -> None:
        """Hold back all calls of this process to the endpoint, as ``Retry-After`` asked."""
        self._queue.pause(for_ms)


class EndpointQueues:
    """The queues of all endpoints.

    Args:
        limits: by endpoint name; other endpoints have none.
        turns: gives out shared turns; needed if any endpoint has a shared limit.
    """

    def __init__(
        self, limits: Mapping[str, EndpointLimit], turns: TurnSource | None = None
    ) -> None:
        self._limits = dict(limits)
        self._turns = turns
        self._queues = {name: _EndpointQueue(name, limit, turns) for name, limit in limits.items()}

    def changed_to(self, limits: Mapping[str, EndpointLimit]) -> EndpointQueues:
        """Return queues with other limits; endpoints whose limits stay share theirs with these."""
        changed = EndpointQueues(limits, self._turns)
        for name, limit in limits.items():
            if self._limits.get(name) == limit:
                changed._queues[name] = self._queues[name]
        return changed

    def turn(self, endpoint: str, tokens: int, deadline_s: float) -> Turn:
        """Return a turn, which an ``async with`` block waits for and keeps until its end.

        Args:
            tokens: the counted input and the most output, as providers count them.
            deadline_s: an instant of the event loop's clock.
        """
        queue = self._queues.get(endpoint)
        if queue is None:
            queue = self._queues[endpoint] = _EndpointQueue(endpoint, EndpointLimit(), None)
        return Turn(queue, tokens, deadline_s)

    def pause_ms(self, endpoint: str) -> int:
        """Return how long an endpoint still gets no calls because its provider asked for that."""
        queue = self._queues.get(endpoint)
        return 0 if queue is None else queue.pause_ms

    async def aclose(self) -> None:
        """Give back what is still to be given back."""
        for queue in self._queues.values():
            if queue.shared is not None:
                await queue.shared.aclose()


async def _acquire(slots: asyncio.Semaphore, deadline_s: float) -> None:
    if not slots.locked():
        await slots.acquire()
        return
    try:
        async with asyncio.timeout_at(deadline_s):
            await slots.acquire()
    except TimeoutError:
        raise NoTurn(Bottleneck.PROCESS) from None


class _EndpointQueue:
    """The queue of this process at one endpoint: its slots, its pause, its shared queue."""

    def __init__(self, endpoint: str, limit: EndpointLimit, turns: TurnSource | None) -> None:
        most = limit.max_concurrency
        self.slots = None if most is None else asyncio.Semaphore(most)
        self.shared: _SharedQueue | None = None
        if limit.shared is not None and turns is not None:
            self.shared = _SharedQueue(endpoint, limit.shared, turns)
        self._paused_until_s = 0.0

    @property
    def pause_ms(self) -> int:
        left_s = self._paused_until_s - asyncio.get_running_loop().time()
        return max(0, round(left_s * 1000))

    def pause(self, for_ms: int) -> None:
        until_s = asyncio.get_running_loop().time() + min(for_ms / 1000, _LONGEST_PAUSE_S)
        self._paused_until_s = max(self._paused_until_s, until_s)

    async def wait_out_pause(self, deadline_s: float) -> None:
        """Wait until calls are allowed, and a random time more: not all at the same moment."""
        time_s = asyncio.get_running_loop().time
        left_s = self._paused_until_s - time_s()
        if left_s <= 0:
            return
        spread_s = random.uniform(0, min(_PAUSE_SPREAD_S, left_s / 2))  # noqa: S311 - jitter
        while (until_s := self._paused_until_s + spread_s) > time_s():
            await asyncio.sleep(min(until_s, deadline_s) - time_s())
            if time_s() >= deadline_s:
                raise NoTurn(Bottleneck.PAUSE)


@dataclass(slots=True, eq=False)
class _Waiter:
    request: TurnRequest
    turn: asyncio.Future[Returned]


class _SharedQueue:
    """The requests that wait for a shared turn, and the turns and slots to be returned.

    While there are any of either, one task makes exchanges and sleeps; otherwise there is none.
    """

    def __init__(self, endpoint: str, limit: SharedLimit, turns: TurnSource) -> None:
        self._endpoint = endpoint
        self._limit = limit
        self._turns = turns
        self._waiting: deque[_Waiter] = deque()
        self._returned: list[Returned] = []
        self._exchanging: asyncio.Task[None] | None = None
        # Set when the next exchange may bring something else than the last.
        self._changed = asyncio.Event()
        self._bottleneck = Bottleneck.SLOT
        self._closing = False
        self._process = secrets.token_hex(6)
        self._slot_numbers = count()

    async def take_with_slot(self, tokens: int, deadline_s: float) -> Returned:
        """Wait for a turn and a slot; return what gives them back.

        Raises:
            NoTurn: it did not come in time.
        """
        left_s = deadline_s - asyncio.get_running_loop().time()
        slot = ""
        if self._limit.concurrency is not None:
            slot = f"{self._process}:{next(self._slot_numbers)}"
        ttl_ms = max(0, round(left_s * 1000)) + _SLOT_OUTLIVES_MS
        return await self.take(TurnRequest(slot, ttl_ms, tokens), deadline_s)

    async def take(self, request: TurnRequest, deadline_s: float) -> Returned:
        """Wait for a turn; a request that has its slot already goes first."""
        waiter = _Waiter(request, asyncio.get_running_loop().create_future())
        goes_first = not request.ttl_ms
        if goes_first or not self._waiting:
            self._changed.set()
        if goes_first:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        self._start_exchanging()
        try:
            async with asyncio.timeout_at(deadline_s):
                return await waiter.turn
        except BaseException as error:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.give_back(waiter.turn.result())
            if isinstance(error, TimeoutError):
                raise NoTurn(self._bottleneck) from None
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def give_back(self, returned: Returned) -> None:
        """Return a slot, or a turn that was not used, with the next exchange."""
        if not (returned.slot or returned.unused):
            return
        self._returned.append(returned)
        if self._waiting:
            self._changed.set()
        self._start_exchanging()

    async def aclose(self) -> None:
        """Return everything now."""
        self._closing = True
        self._changed.set()
        if self._exchanging is not None:
            await self._exchanging

    def _start_exchanging(self) -> None:
        if self._exchanging is None or self._exchanging.done():
            self._exchanging = asyncio.create_task(self._exchange_while_needed())

    async def _exchange_while_needed(self) -> None:
        while self._waiting or self._returned:
            if not self._waiting and not self._closing:
                await self._sleep(_RETURN_WITHIN_S)
            self._changed.clear()
            waiting = (waiter for waiter in self._waiting if not waiter.turn.done())
            first = list(islice(waiting, _MOST_AT_ONCE))
            returned, self._returned = self._returned, []
            given = await self._turns.exchange(
                self._endpoint, self._limit, returned, [waiter.request for waiter in first]
            )
            for waiter in first[: given.count]:
                self._give(waiter, given)
            if given.count < len(first):
                self._bottleneck = _BOTTLENECKS[given.shortage]
                await self._sleep(_sleep_s(given))

    def _give(self, waiter: _Waiter, given: TurnsGiven) -> None:
        request = waiter.request
        turn = Returned(request.slot, given.refundable, request.tokens)
        if waiter.turn.done():
            self.give_back(turn)
            return
        waiter.turn.set_result(turn)
        self._waiting.remove(waiter)

    async def _sleep(self, at_most_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._changed.wait()


def _sleep_s(given: TurnsGiven) -> float:
    """Return the seconds until the next exchange, unless something changes here."""
    poll_s = random.uniform(*_POLL_S)  # noqa: S311 - jitter, no cryptography
    if given.shortage is Shortage.SLOT:
        return poll_s
    return min(given.wait_ms / 1000 + poll_s / 4, _LONGEST_WAIT_S)
