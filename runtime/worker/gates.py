"""The bounds on executions in flight at an endpoint, shared fairly among accounts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Gate:
    """Bounds the executions in flight at one endpoint, and of one account among them.

    Places that become free go to the accounts in turn, so that an account with few people does not
    wait behind all those of another.

    Args:
        limit: the executions in flight at most.
        account_limit: those of one account.
    """

    def __init__(self, limit: int, account_limit: int) -> None:
        self._limit = limit
        self._account_limit = min(limit, account_limit)
        self._running: dict[str, int] = {}
        self._in_flight = 0
        # In the order in which the accounts are served next.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def in_flight(self) -> int:
        """The executions in flight."""
        return self._in_flight

    def change(self, limit: int, account_limit: int) -> None:
        """Replace the limits; those who are in flight stay."""
        self._limit, self._account_limit = limit, min(limit, account_limit)
        self._hand_out()

    async def enter(self, account_id: str) -> None:
        """Wait for a place. Each one that was entered is left with ``leave``."""
        if not self._waiting and self._has_place(account_id):
            self._take(account_id)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account_id, deque()).append(place)
        self._hand_out()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(account_id)
            else:
                self._forget(account_id, place)
            raise

    def leave(self, account_id: str) -> None:
        """Give a place back."""
        self._in_flight -= 1
        left = self._running[account_id] - 1
        if left:
            self._running[account_id] = left
        else:
            del self._running[account_id]
        self._hand_out()

    def _has_place(self, account_id: str) -> bool:
        mine = self._running.get(account_id, 0)
        return self._in_flight < self._limit and mine < self._account_limit

    def _take(self, account_id: str) -> None:
        self._in_flight += 1
        self._running[account_id] = self._running.get(account_id, 0) + 1

    def _hand_out(self) -> None:
        while (account_id := next(filter(self._has_place, self._waiting), None)) is not None:
            places = self._waiting.pop(account_id)
            place = places.popleft()
            if places:
                self._waiting[account_id] = places  # behind the others
            if place.cancelled():
                continue  # its task hears of it only later
            self._take(account_id)
            place.set_result(None)

    def _forget(self, account_id: str, place: asyncio.Future[None]) -> None:
        places = self._waiting.get(account_id)
        if places is not None and place in places:
            places.remove(place)
            if not places:
                del self._waiting[account_id]


class Shares:
    """Bounds the slices of one account that run at once in this process.

    One slice is always left for other accounts.
    """

    def __init__(self, slices: int) -> None:
        self._most = max(1, slices - 1)
        self._running: dict[str, int] = {}

    @contextmanager
    def slice_of(self, account_id: str) -> Iterator[bool]:
        """Take one of the account's slices; yield false if it has all that it may have."""
        running = self._running.get(account_id, 0)
        if running >= self._most:
            yield False
            return
        self._running[account_id] = running + 1
        try:
            yield True
        finally:
            left = self._running[account_id] - 1
            if left:
                self._running[account_id] = left
            else:
                del self._running[account_id]


class Gates:
    """The gates of all endpoints of a configuration.

    Args:
        limit_of: returns an endpoint's ``max_concurrency``.
        slice_size: the places that are kept free for other accounts, where there are many.
    """

    def __init__(self, limit_of: Callable[[str], int], slice_size: int) -> None:
        self._limit_of = limit_of
        self._slice = slice_size
        self._gates: dict[str, Gate] = {}

    def of(self, endpoint: str) -> Gate:
        """Return an endpoint's gate."""
        gate = self._gates.get(endpoint)
        if gate is None:
            gate = self._gates[endpoint] = Gate(*self._limits(endpoint))
        return gate

    def reload(self, limit_of: Callable[[str], int]) -> None:
        """Go by other limits from now on."""
        self._limit_of = limit_of
        for endpoint, gate in self._gates.items():
            gate.change(*self._limits(endpoint))

    def _limits(self, endpoint: str) -> tuple[int, int]:
        limit = self._limit_of(endpoint)
        return limit, max(1, limit - min(self._slice, limit // 4))
