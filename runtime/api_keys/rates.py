"""Rate limits: how many requests a second each key may make of this process.

Each process counts by itself: to count together, every request would have to ask Redis, which costs
more than most requests do otherwise. Behind n processes a key so has up to n times the rate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

MOST_KEYS = 10_000

_ROUNDING = 0.01  # of a request: sums of fractions of seconds are not exact


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to a request for its turn.

    Args:
        wait_s: 0 where it may go on, or else how long until one could.
        left: the requests that could follow at once.
        full_s: how long until all of them could.
    """

    wait_s: float
    left: int
    full_s: float


class KeyRates:
    """Counts requests by key: as many at once as one second allows, then evenly spaced.

    The rule is GCRA: one number a key, the instant up to which its requests are paid for.

    Args:
        per_second: of each key.
    """

    def __init__(self, per_second: int, clock_s: Callable[[], float] = monotonic) -> None:
        self.per_second = per_second
        self._clock_s = clock_s
        self._each_s = 1 / per_second
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def take(self, key_id: str) -> Taken:
        """Count a request of a key, unless it has to wait."""
        now_s = self._clock_s()
        until_s = max(self._until_s.get(key_id, now_s), now_s) + self._each_s
        ahead_s = until_s - now_s
        if ahead_s > 1 + self._each_s * _ROUNDING:
            return Taken(ahead_s - 1, 0, ahead_s - self._each_s)
        self._until_s[key_id] = until_s
        self._until_s.move_to_end(key_id)
        if len(self._until_s) > MOST_KEYS:
            self._until_s.popitem(last=False)
        return Taken(0, int((1 - ahead_s) * self.per_second + _ROUNDING), ahead_s)
