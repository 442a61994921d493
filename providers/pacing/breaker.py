"""A circuit breaker: a provider that is down is left alone, and tried by one call at a time.

It counts failures in a row. When there are too many it opens: nobody calls for a while, which
grows with each probe that fails. Then exactly one visitor becomes the probe, and the others go on
being refused until its call has said something. A probe that is cancelled, or never calls, says
nothing and frees its place. Each process has breakers of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_JITTER = 0.2
"""The part of an open time that chance may take off, so that processes don't probe together."""
_MOST_DOUBLINGS = 40


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """After ``failures`` in a row it opens for ``open_ms``, doubled up to ``open_max_ms``."""

    failures: int = 10
    open_ms: int = 2_000
    open_max_ms: int = 60_000


@dataclass(slots=True, eq=False)
class Visit:
    """One execution at a breaker, with all of its calls."""

    era: int = -1


class Breaker:
    """The state of one model at one endpoint. Nothing in it waits.

    Args:
        now_s: a clock that never goes back.
        chance: returns a number from 0 up to 1.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        now_s: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._now_s = now_s
        self._chance = chance
        self._failures = 0
        self._openings = 0
        self._open_until_s: float | None = None
        self._probe: Visit | None = None
        # A call that began before the last change of state has nothing to say about this one.
        self._era = 0

    @property
    def is_open(self) -> bool:
        """Whether nobody but a probe is let through."""
        return self._open_until_s is not None

    @property
    def probe_in_ms(self) -> int:
        """In how long a probe may be made; 0 if it may be now, is being, or needs not be."""
        if self._open_until_s is None:
            return 0
        return max(0, round((self._open_until_s - self._now_s()) * 1000))

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """Come with an execution; however it leaves, it does not leave as the probe."""
        visit = Visit()
        try:
            yield visit
        finally:
            if self._probe is visit:
                self._probe = None

    def lets_through(self, visit: Visit) -> bool:
        """Whether a call may be made now. Whom an open breaker lets through is the probe."""
        if self._open_until_s is not None and self._probe is not visit:
            if self._probe is not None or self._now_s() < self._open_until_s:
                return False
            self._probe = visit
        visit.era = self._era
        return True

    def answered(self, visit: Visit) -> None:
        """Hear that the provider is there, whatever it answered to the visit's call."""
        if visit.era != self._era:
            return
        self._failures = 0
        if self._probe is visit:
            self._openings = 0
            self._change(None)

    def failed(self, visit: Visit) -> None:
        """Hear of a failure that speaks of a provider that is down."""
        if visit.era != self._era:
            return
        self._failures += 1
        if self._probe is visit or self._failures >= self._settings.failures:
            doubled_ms = self._settings.open_ms * 2 ** min(self._openings, _MOST_DOUBLINGS)
            open_ms = min(self._settings.open_max_ms, doubled_ms)
            self._openings += 1
            self._change(self._now_s() + open_ms / 1000 * (1 - _JITTER * self._chance()))

    def _change(self, open_until_s: float | None) -> None:
        self._open_until_s, self._probe, self._failures = open_until_s, None, 0
        self._era += 1
