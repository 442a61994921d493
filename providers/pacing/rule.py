"""The rule by which an endpoint's turns are shared among all processes.

A turn is the leave to make one request. Slots bound how many requests run at once: each is taken
under a name and for a time, so that the slots of a process that died come back by themselves.
Rates are given out evenly, by the generic cell rate algorithm (ITU-T I.371): nine tenths of a
minute's limit over a minute, and a twelfth of it at once after a pause. The sum stays below the
limit in every minute, also as the provider counts it, if requests reach it up to a second late.
Fixed windows would give out everything at the start of the minute, then nothing for longer than
most executions can wait.

``LocalTurns`` is the rule for one process. For many, the same rule runs in Redis.
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
"""More debt than this comes from a clock that went back."""


class Shortage(Enum):
    """The thing that a request waits for."""

    NOTHING = 0
    SLOT = 1
    REQUESTS = 2
    TOKENS = 3


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """The limits of an endpoint for all processes together; ``None`` is no limit."""

    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def share(self, processes: int) -> SharedLimit:
        """Return the limits of one of so many processes, at least 1 of each."""

        def part(limit: int | None) -> int | None:
            return limit and max(1, limit // processes)

        return SharedLimit(
            part(self.concurrency), part(self.requests_per_minute), part(self.tokens_per_minute)
        )


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A request for a turn.

    Args:
        slot: the name of the slot to be taken; empty if one is taken already, as for a retry.
        ttl_ms: for how long the slot is taken.
        tokens: the counted input and the most output, as providers count them.
    """

    slot: str
    ttl_ms: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A slot that is given back (empty: none), and the tokens of a request that was not made."""

    slot: str
    unused: bool = False
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class TurnsGiven:
    """The answer to an exchange.

    Args:
        count: how many of the requests have their turn, from the first on.
        shortage: what the next request waits for.
        wait_ms: the time until it may have its turn; 0 if that depends on others.
        refundable: true if turns that stay unused are to be returned.
    """

    count: int
    shortage: Shortage = Shortage.NOTHING
    wait_ms: int = 0
    refundable: bool = True


class TurnSource(Protocol):
    """A source of turns at endpoints."""

    async def exchange(
        self,
        endpoint: str,
        limit: SharedLimit,
        returned: Sequence[Returned],
        wanted: Sequence[TurnRequest],
    ) -> TurnsGiven:
        """Take back what is returned, then give turns to requests in order while there are any."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """A rate in microseconds: the time of a unit, and how far ahead of the clock one may be.

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
        """Return the time that so many units take."""
        return round(self.unit_us * units)


class LocalTurns:
    """Turns of one process at one endpoint, in its own memory.

    Args:
        now_us: a clock in microseconds.
        slots: the slots that are taken already, and until when by that clock.
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

    def exchange(self, returned: Sequence[Returned], wanted: Sequence[TurnRequest]) -> TurnsGiven:
        """Take back and give turns, as ``TurnSource.exchange`` does."""
        now_us = self._now_us()
        taken_until_us = list(self._taken_until_us)
        for one in returned:
            self._slots.pop(one.slot, None)
            if one.unused:
                for rate, cost_us in enumerate(self._costs_us(one.tokens)):
                    taken_until_us[rate] -= cost_us
        for rate, pace in enumerate(self._paces):
            latest_us = now_us + pace.window_us + _LONGEST_DEBT_US
            taken_until_us[rate] = min(max(taken_until_us[rate], now_us), latest_us)
        self._slots = {name: until for name, until in self._slots.items() if until > now_us}
        given = self._serve(wanted, now_us, taken_until_us)
        if given.count or returned:
            self._taken_until_us = taken_until_us
        return given

    def _serve(
        self, wanted: Sequence[TurnRequest], now_us: int, taken_until_us: list[int]
    ) -> TurnsGiven:
        for count, request in enumerate(wanted):
            ahead_us = [until_us - now_us for until_us in taken_until_us]
            shortage, wait_us = self._shortage(request, ahead_us)
            if shortage is not Shortage.NOTHING:
                return TurnsGiven(count, shortage, -(-wait_us // 1000))
            if request.slot and self._most is not None:
                self._slots[request.slot] = now_us + request.ttl_ms * 1000
            for rate, cost_us in enumerate(self._costs_us(request.tokens)):
                taken_until_us[rate] += cost_us
        return TurnsGiven(len(wanted))

    def _shortage(self, request: TurnRequest, ahead_us: Sequence[int]) -> tuple[Shortage, int]:
        if request.slot and self._most is not None and len(self._slots) >= self._most:
            return Shortage.SLOT, 0
        costs_us = self._costs_us(request.tokens)
        for rate, shortage in enumerate((Shortage.REQUESTS, Shortage.TOKENS)):
            window_us = self._paces[rate].window_us
            # A request larger than the window goes out once the window is free, and is owed then.
            wait_us = ahead_us[rate] + min(costs_us[rate], window_us) - window_us
            if window_us and wait_us > 0:
                return shortage, wait_us
        return Shortage.NOTHING, 0

    def _costs_us(self, tokens: int) -> tuple[int, int]:
        return self._paces[0].cost_us(1), self._paces[1].cost_us(tokens)
