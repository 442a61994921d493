"""What an endpoint takes from all processes together, and the rule by which turns are given out.

A turn is the leave to make one request. Slots bound how many requests run at once: each is taken
under a name and for a time, so that those of a process that died come back by themselves. Rates
are given out evenly, by the generic cell rate algorithm (ITU-T I.371): nine tenths of a minute's
limit over a minute, and a twelfth of it at once after a pause. Together that stays below the limit
in every minute, as the provider sees it too if requests reach it up to a second late. Windows
would give out all at the minute's start and then nothing for longer than most executions may wait.

``OneProcess`` is the rule for one process by itself. For many, the same rule runs in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Protocol

_MINUTE_US = 60_000_000
_STEADY = 0.9
_AT_ONCE = 1 / 12
_LONGEST_DEBT_US = 2 * _MINUTE_US
"""What is owed beyond this is a clock that went back."""


class Lack(Enum):
    """What a request waits for."""

    NOTHING = 0
    SLOT = 1
    REQUESTS = 2
    TOKENS = 3


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """What all processes together may ask of an endpoint; ``None`` is no limit."""

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def share(self, processes: int) -> SharedLimit:
        """Return what one of so many processes may ask, at least one of each."""

        def part(limit: int | None) -> int | None:
            return limit and max(1, limit // processes)

        return SharedLimit(
            part(self.concurrency), part(self.requests_per_minute), part(self.tokens_per_minute)
        )


@dataclass(frozen=True, slots=True)
class Request:
    """What a turn is wanted for.

    ``slot`` names the slot to be taken for ``ttl_ms``; empty where one is held already, as for a
    retry. ``tokens`` are the counted input and the most output: what providers count.
    """

    slot: str
    ttl_ms: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Return:
    """What comes back: a slot (empty: none), and the tokens of a request that was not made."""

    slot: str
    unused: bool = False
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """How many of the requests have their turn, from the first on, and what the next one lacks.

    ``wait_ms`` is in how long it may have it; 0 where that depends on others. ``refundable``
    tells whether turns that stay unused are to be returned.
    """

    count: int
    lack: Lack = Lack.NOTHING
    wait_ms: int = 0
    refundable: bool = True


class Turns(Protocol):
    """Gives out turns at endpoints."""

    async def exchange(
        self, endpoint: str, limit: SharedLimit, back: Sequence[Return], wanted: Sequence[Request]
    ) -> Given:
        """Take back what is returned, then give turns to requests in order, as far as they go."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """One rate in microseconds: what a unit takes, and how far ahead of the clock one may be.

    ``window_us`` is 0 where there is no limit.
    """

    unit_us: float = 0.0
    window_us: int = 0

    @classmethod
    def per_minute(cls, limit: int | None) -> Pace:
        """Return the pace that stays below a limit."""
        if limit is None:
            return cls()
        unit_us = _MINUTE_US / (limit * _STEADY)
        return cls(unit_us, round(unit_us * max(1.0, limit * _AT_ONCE)))

    def cost_us(self, units: int) -> int:
        """Return how far so many units move the clock on."""
        return round(self.unit_us * units)


class OneProcess:
    """Turns of one process at one endpoint, in its own memory.

    Args:
        now_us: a clock in microseconds.
        slots: what is held already, with until when by that clock.
    """

    def __init__(
        self,
        limit: SharedLimit,
        now_us: Callable[[], int],
        slots: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._most = limit.concurrency
        self._paces = (
            Pace.per_minute(limit.requests_per_minute),
            Pace.per_minute(limit.tokens_per_minute),
        )
        self._now_us = now_us
        self._slots = dict(slots)
        self._taken_until_us = [0, 0]

    def exchange(self, back: Sequence[Return], wanted: Sequence[Request]) -> Given:
        """Do what ``Turns.exchange`` does."""
        now_us = self._now_us()
        taken_until_us = list(self._taken_until_us)
        for returned in back:
            self._slots.pop(returned.slot, None)
            if returned.unused:
                for rate, cost_us in enumerate(self._costs_us(returned.tokens)):
                    taken_until_us[rate] -= cost_us
        for rate, pace in enumerate(self._paces):
            latest_us = now_us + pace.window_us + _LONGEST_DEBT_US
            taken_until_us[rate] = min(max(taken_until_us[rate], now_us), latest_us)
        self._slots = {name: until for name, until in self._slots.items() if until > now_us}
        given = self._serve(wanted, now_us, taken_until_us)
        if given.count or back:
            self._taken_until_us = taken_until_us
        return given

    def _serve(self, wanted: Sequence[Request], now_us: int, taken_until_us: list[int]) -> Given:
        for count, request in enumerate(wanted):
            ahead_us = [until_us - now_us for until_us in taken_until_us]
            lack, wait_us = self._lack(request, ahead_us)
            if lack is not Lack.NOTHING:
                return Given(count, lack, -(-wait_us // 1000))
            if request.slot and self._most is not None:
                self._slots[request.slot] = now_us + request.ttl_ms * 1000
            for rate, cost_us in enumerate(self._costs_us(request.tokens)):
                taken_until_us[rate] += cost_us
        return Given(len(wanted))

    def _lack(self, request: Request, ahead_us: Sequence[int]) -> tuple[Lack, int]:
        if request.slot and self._most is not None and len(self._slots) >= self._most:
            return Lack.SLOT, 0
        costs_us = self._costs_us(request.tokens)
        for rate, lack in enumerate((Lack.REQUESTS, Lack.TOKENS)):
            window_us = self._paces[rate].window_us
            # More than may be had at once goes out when all of it is there, and is owed then.
            wait_us = ahead_us[rate] + min(costs_us[rate], window_us) - window_us
            if window_us and wait_us > 0:
                return lack, wait_us
        return Lack.NOTHING, 0

    def _costs_us(self, tokens: int) -> tuple[int, int]:
        return self._paces[0].cost_us(1), self._paces[1].cost_us(tokens)
