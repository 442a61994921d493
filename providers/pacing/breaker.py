"""A circuit breaker: a provider that is down gets no calls except one probe at a time.

The breaker counts failures in a row. Too many of them open it, and a refusal of the key or of the
model opens it at once: no call is allowed for a while, which grows with each probe that fails. Then
one caller becomes the probe, and the others are refused until its call has ended. A probe that is
cancelled, or never calls, gives its place to the next. Each process has its own breakers.

A caller whose own time limit is below ``patience_ms`` is hasty. Its time-outs say nothing, so it
must not be in the way of those that can find out: a patient caller takes the probe's place from it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

_JITTER = 0.2
"""The share of an open time that chance may take off, so that processes don't probe together."""
_MOST_DOUBLINGS = 40
_PATIENT = 0.9
"""The share of ``patience_ms`` that a call must have been waited for: the rest of an action's limit
goes to what comes before the call."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """After ``failures`` in a row it opens for ``open_ms``, doubled up to ``max_open_ms``.

    A time-out is a failure if the call was waited for about ``patience_ms``.
    """

    failures: int = 10
    open_ms: int = 2_000
    max_open_ms: int = 60_000
    patience_ms: int = 5_000


@dataclass(slots=True, eq=False)
class Caller:
    """One execution at a breaker, with all of its calls.

    ``patient`` is false if its time limit is below ``patience_ms``. ``generation`` is the breaker's
    at the last call.
    """

    breaker: Breaker = field(repr=False)
    patient: bool = True
    generation: int = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.breaker.leave(self)


class Breaker:
    """The breaker of one model, or of one key, at one endpoint. Its methods never wait.

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
        self._probe: Caller | None = None
        self._hasty_probe_from_s = 0.0
        self._refused_status: int | None = None
        # It grows with each change of state. The end of a call that began before says nothing.
        self._generation = 0

    @property
    def is_open(self) -> bool:
        """True while no call but a probe is allowed."""
        return self._open_until_s is not None

    @property
    def refused_status(self) -> int | None:
        """The HTTP status of the refusal that opened it; ``None`` if failures did, or nothing."""
        return self._refused_status if self.is_open else None

    @property
    def probe_in_ms(self) -> int:
        """The time until a probe is allowed; 0 if it is now, is being made, or is not needed."""
        if self._open_until_s is None:
            return 0
        return max(0, round((self._open_until_s - self._now_s()) * 1000))

    def caller(self, limit_ms: int | None = None) -> Caller:
        """Return a new caller. A ``with`` block of it ends in ``leave``.

        Args:
            limit_ms: the time limit of its calls; ``None`` if it waits as long as it takes.
        """
        return Caller(self, limit_ms is None or limit_ms >= self._settings.patience_ms)

    def leave(self, caller: Caller) -> None:
        """Note that the caller makes no more calls: it is no longer the probe."""
        if self._probe is caller:
            self._probe = None
            if not caller.patient:
                # Or hasty callers would probe one after the other, without a pause.
                self._hasty_probe_from_s = self._now_s() + self._settings.open_ms / 1000

    def allows(self, caller: Caller) -> bool:
        """Return whether the caller may call now. An open breaker makes it the probe if it may."""
        if self._open_until_s is not None and self._probe is not caller:
            if self._now_s() < self._open_until_s or not self._may_probe(caller):
                return False
            self._probe = caller
        caller.generation = self._generation
        return True

    def _may_probe(self, caller: Caller) -> bool:
        if caller.patient:
            return self._probe is None or not self._probe.patient
        return self._probe is None and self._now_s() >= self._hasty_probe_from_s

    def answered(self, caller: Caller) -> None:
        """Note that the provider answered the caller, whatever the answer was."""
        if caller.generation != self._generation:
            return
        self._failures = 0
        if self._open_until_s is not None:
            self._openings = 0
            self._change(None)

    def failed(self, caller: Caller) -> None:
        """Note a failure that suggests that the provider is down."""
        if caller.generation != self._generation:
            return
        self._failures += 1
        if self.is_open or self._failures >= self._settings.failures:
            self._open(None)

    def timed_out(self, caller: Caller, waited_ms: int) -> None:
        """Note that the caller's own time limit ended its call: a failure if it was patient."""
        if waited_ms >= _PATIENT * self._settings.patience_ms:
            self.failed(caller)

    def refused(self, caller: Caller, status: int) -> None:
        """Note that the provider refused the key or the model: it opens at once."""
        if caller.generation == self._generation:
            self._open(status)

    def _open(self, refused_status: int | None) -> None:
        doubled_ms = self._settings.open_ms * 2 ** min(self._openings, _MOST_DOUBLINGS)
        open_ms = min(self._settings.max_open_ms, doubled_ms)
        self._openings += 1
        self._refused_status = refused_status
        self._change(self._now_s() + open_ms / 1000 * (1 - _JITTER * self._chance()))

    def _change(self, open_until_s: float | None) -> None:
        self._open_until_s, self._probe, self._failures = open_until_s, None, 0
        self._generation += 1
