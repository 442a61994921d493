"""Executions wait here for their turn at an endpoint, one queue a process and endpoint.

A process has so many calls at once (``max_concurrency``). What all processes share is asked for by
the queue as a whole: one question at a time, for all that wait at its head.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, islice

from providers.pacing.rule import Given, Lack, Request, Return, SharedLimit, Turns

_MOST_AT_ONCE = 64
_POLL_S = (0.02, 0.05)
"""How soon to ask again for what depends on other processes."""
_LONGEST_WAIT_S = 1.0
_RETURN_WITHIN_S = 0.01
"""How long a return waits for a question to go with."""
_SLOT_OUTLIVES_MS = 1_000
_LONGEST_REST_S = 60.0
_REST_SPREAD_S = 1.0


class Wait(StrEnum):
    """What an execution without a turn was waiting for when its time was over."""

    PROCESS = "process"
    REST = "rest"
    SLOT = "slot"
    REQUESTS = "requests"
    TOKENS = "tokens"


_WAITS = {Lack.SLOT: Wait.SLOT, Lack.REQUESTS: Wait.REQUESTS, Lack.TOKENS: Wait.TOKENS}


class NoTurn(TimeoutError):
    """The deadline came before the turn; ``wait`` is what it waited for."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(f"no turn in time: {wait}")
        self.wait = wait


@dataclass(frozen=True, slots=True)
class EndpointLimit:
    """``max_concurrency`` is for each process, ``None`` is no limit; ``shared`` is for all."""

    max_concurrency: int | None = None
    shared: SharedLimit | None = None


class Turn:
    """One execution's turn: for one request, which ``use`` announces, and a slot until it ends.

    ``back`` is what is returned at the end.
    """

    __slots__ = ("_deadline_s", "_door", "back", "tokens")

    def __init__(self, door: _Door, tokens: int, deadline_s: float) -> None:
        self._door = door
        self._deadline_s = deadline_s
        self.tokens = tokens
        self.back = Return("")

    def use(self) -> None:
        """Say that the request is made now: only the slot is given back then."""
        self.back = Return(self.back.slot)

    async def another(self) -> None:
        """Wait for the turn of one more request, before all who have none yet.

        Raises:
            NoTurn: it would come too late.
        """
        await self._door.rest(self._deadline_s)
        if self._door.line is not None:
            await self._door.line.take(Request("", 0, self.tokens), self._deadline_s)
            await self._door.rest(self._deadline_s)

    def rest(self, for_ms: int) -> None:
        """Keep all of this process from the endpoint, as its provider asked (``Retry-After``)."""
        self._door.begin_rest(for_ms)


class EndpointLimits:
    """The queues of all endpoints.

    Args:
        limits: by endpoint name; others have none.
        turns: gives out what is shared; needed where any endpoint has a shared limit.
    """

    def __init__(self, limits: Mapping[str, EndpointLimit], turns: Turns | None = None) -> None:
        self._doors = {name: _Door(name, limit, turns) for name, limit in limits.items()}

    @asynccontextmanager
    async def turn(self, endpoint: str, tokens: int, deadline_s: float) -> AsyncIterator[Turn]:
        """Wait for a turn, and have it until the end of the block.

        Args:
            tokens: counted input and the most output, as providers count them.
            deadline_s: an instant of the event loop's clock.

        Raises:
            NoTurn: none came in time.
        """
        door = self._doors.get(endpoint)
        if door is None:
            door = self._doors[endpoint] = _Door(endpoint, EndpointLimit(), None)
        turn = Turn(door, tokens, deadline_s)
        if door.slots is not None:
            await _acquire(door.slots, deadline_s)
        try:
            await door.rest(deadline_s)
            if door.line is None:
                yield turn
                return
            turn.back = await door.line.take_with_slot(tokens, deadline_s)
            try:
                # The provider may have asked for it while this one waited.
                await door.rest(deadline_s)
                yield turn
            finally:
                door.line.give_back(turn.back)
        finally:
            if door.slots is not None:
                door.slots.release()

    async def aclose(self) -> None:
        """Give back what is still to be given back."""
        for door in self._doors.values():
            if door.line is not None:
                await door.line.aclose()


async def _acquire(slots: asyncio.Semaphore, deadline_s: float) -> None:
    if not slots.locked():
        await slots.acquire()
        return
    try:
        async with asyncio.timeout_at(deadline_s):
            await slots.acquire()
    except TimeoutError:
        raise NoTurn(Wait.PROCESS) from None


class _Door:
    """One endpoint in this process."""

    def __init__(self, endpoint: str, limit: EndpointLimit, turns: Turns | None) -> None:
        most = limit.max_concurrency
        self.slots = None if most is None else asyncio.Semaphore(most)
        self.line: _Line | None = None
        if limit.shared is not None and turns is not None:
            self.line = _Line(endpoint, limit.shared, turns)
        self._rests_until_s = 0.0

    def begin_rest(self, for_ms: int) -> None:
        until_s = asyncio.get_running_loop().time() + min(for_ms / 1000, _LONGEST_REST_S)
        self._rests_until_s = max(self._rests_until_s, until_s)

    async def rest(self, deadline_s: float) -> None:
        """Wait until the provider may be asked again, and a little: not all at the same time."""
        time_s = asyncio.get_running_loop().time
        left_s = self._rests_until_s - time_s()
        if left_s <= 0:
            return
        spread_s = random.uniform(0, min(_REST_SPREAD_S, left_s / 2))  # noqa: S311 - jitter
        while (until_s := self._rests_until_s + spread_s) > time_s():
            await asyncio.sleep(min(until_s, deadline_s) - time_s())
            if time_s() >= deadline_s:
                raise NoTurn(Wait.REST)


@dataclass(slots=True, eq=False)
class _Waiter:
    request: Request
    given: asyncio.Future[Return]


class _Line:
    """Who waits for a shared turn, and what is to be returned.

    While there is anything of either, one task asks and sleeps; otherwise there is none.
    """

    def __init__(self, endpoint: str, limit: SharedLimit, turns: Turns) -> None:
        self._endpoint = endpoint
        self._limit = limit
        self._turns = turns
        self._waiting: deque[_Waiter] = deque()
        self._back: list[Return] = []
        self._asking: asyncio.Task[None] | None = None
        # Set when another question may have another answer.
        self._news = asyncio.Event()
        self._lacks = Wait.SLOT
        self._closing = False
        self._process = secrets.token_hex(6)
        self._slots_named = count()

    async def take_with_slot(self, tokens: int, deadline_s: float) -> Return:
        """Wait for a turn and a slot; return how to give them back.

        Raises:
            NoTurn: it did not come in time.
        """
        left_s = deadline_s - asyncio.get_running_loop().time()
        slot = ""
        if self._limit.concurrency is not None:
            slot = f"{self._process}:{next(self._slots_named)}"
        ttl_ms = max(0, round(left_s * 1000)) + _SLOT_OUTLIVES_MS
        return await self.take(Request(slot, ttl_ms, tokens), deadline_s)

    async def take(self, request: Request, deadline_s: float) -> Return:
        """Wait for a turn; who has a slot already is the next."""
        waiter = _Waiter(request, asyncio.get_running_loop().create_future())
        goes_first = not request.ttl_ms
        if goes_first or not self._waiting:
            self._news.set()
        if goes_first:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        self._go_on()
        try:
            async with asyncio.timeout_at(deadline_s):
                return await waiter.given
        except BaseException as error:
            if waiter.given.done() and not waiter.given.cancelled():
                self.give_back(waiter.given.result())
            if isinstance(error, TimeoutError):
                raise NoTurn(self._lacks) from None
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def give_back(self, back: Return) -> None:
        """Return a slot, or a turn that was not used, with the next question."""
        if not (back.slot or back.unused):
            return
        self._back.append(back)
        if self._waiting:
            self._news.set()
        self._go_on()

    async def aclose(self) -> None:
        """Return everything now."""
        self._closing = True
        self._news.set()
        if self._asking is not None:
            await self._asking

    def _go_on(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_while_needed())

    async def _ask_while_needed(self) -> None:
        while self._waiting or self._back:
            if not self._waiting and not self._closing:
                await self._pause(_RETURN_WITHIN_S)
            self._news.clear()
            waiting = (waiter for waiter in self._waiting if not waiter.given.done())
            first = list(islice(waiting, _MOST_AT_ONCE))
            back, self._back = self._back, []
            given = await self._turns.exchange(
                self._endpoint, self._limit, back, [waiter.request for waiter in first]
            )
            for waiter in first[: given.count]:
                self._give(waiter, given)
            if given.count < len(first):
                self._lacks = _WAITS[given.lack]
                await self._pause(_pause_s(given))

    def _give(self, waiter: _Waiter, given: Given) -> None:
        request = waiter.request
        back = Return(request.slot, given.refundable, request.tokens)
        if waiter.given.done():
            self.give_back(back)
            return
        waiter.given.set_result(back)
        self._waiting.remove(waiter)

    async def _pause(self, at_most_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._news.wait()


def _pause_s(given: Given) -> float:
    """How long to wait for more turns, unless something happens here."""
    poll_s = random.uniform(*_POLL_S)  # noqa: S311 - jitter, no cryptography
    if given.lack is Lack.SLOT:
        return poll_s
    return min(given.wait_ms / 1000 + poll_s / 4, _LONGEST_WAIT_S)
