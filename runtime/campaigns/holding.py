"""The hold: no more people are taken while every call would fall back for a passing reason.

A fallback for a passing reason is not kept, so the person can be asked again under the same id.
One such fallback among answers is that person's own trouble. A row of them, with no answer to
anybody who was asked after the first, is an outage, and so are an open breaker and a provider that
asks for a long pause. The run then holds: it asks one person at a time, with growing pauses, until
somebody gets an answer or the patience is over.

The end of an execution that began before a hold says nothing about it, as with a circuit breaker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto

from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionResult, Pending

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_BRIEF_PATIENCE_S = 10.0
"""The patience with one or two people at the end of a run that had answers."""
_LONG_PAUSE_S = 5.0
"""Executions wait for their turn while the provider asks for a shorter pause than this."""
_FEWEST = 3
"""Fewer people than this are never taken for an outage while others get answers."""

_ALWAYS_PASSING = frozenset(
    {
        FallbackReason.LEDGER_UNAVAILABLE,
        FallbackReason.PROVIDER_ERROR,
        FallbackReason.PROVIDER_TIMEOUT,
        FallbackReason.PROVIDER_RATE_LIMITED,
    }
)
_WRONG_KEY_OR_ADDRESS = frozenset({401, 403, 404})
_SAYS_NOTHING = frozenset(
    {
        FallbackReason.PROMPT_ERROR,
        FallbackReason.MODEL_NOT_PRICED,
        FallbackReason.DEADLINE_EXCEEDED,
    }
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """The passing reason for which a person fell back.

    Args:
        status: the provider's HTTP status, if it answered with one.
        detail: one line on what went wrong, without personal data.
        endpoint: the name of the endpoint that refuses its key or the model, if one does.
    """

    reason: FallbackReason
    status: int | None = None
    detail: str | None = None
    endpoint: str | None = None


class NoSign(Enum):
    """The ends of executions that are no trouble."""

    ANSWERED = auto()
    """Redis, and the provider where it was asked, did their part."""
    NOTHING = auto()
    """It says nothing about Redis and the provider: a stored outcome, say."""


Sign = Trouble | NoSign
"""The evidence that the end of an execution gives."""


def sign_of(result: ExecutionResult | Pending) -> Sign:
    """Return what the end of an execution says about Redis and the provider."""
    if isinstance(result, Pending) or result.replayed:
        return NoSign.NOTHING
    reasons = {origin.reason for origin in result.origins.values()}
    reason = next(iter(reasons)) if len(reasons) == 1 else None
    if result.status != "fallback" or reason is None:
        return NoSign.ANSWERED
    last = result.attempts[-1] if result.attempts else None
    refusal = result.endpoint_refusal
    if refusal is not None:
        status: int | None = refusal.status
    else:
        status = None if last is None else last.status
    if not result.kept and (
        reason in _ALWAYS_PASSING
        # A model that has retired, or that nobody knows, has no rate card: waiting is no help.
        or (reason is FallbackReason.MODEL_UNAVAILABLE and result.rate_card_version is not None)
        or (reason is FallbackReason.PROVIDER_REJECTED and status in _WRONG_KEY_OR_ADDRESS)
    ):
        detail = result.detail or (last and last.detail) or None
        return Trouble(reason, status, detail, None if refusal is None else refusal.endpoint)
    return NoSign.NOTHING if reason in _SAYS_NOTHING else NoSign.ANSWERED


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that is on.

    Args:
        trouble: what is wrong.
        since_s: when the first fallback for it ended.
        until_s: when the patience is over.
        is_brief: it is about one or two people at the end of a run that had answers.
    """

    trouble: Trouble
    since_s: float
    until_s: float
    is_brief: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """The leave to ask for one person. ``number`` grows with each start."""

    number: int
    is_probe: bool
    holds: int


class Holding:
    """Decides when a run may ask for the next person, from the ends of those before.

    It never waits and knows no event loop: a campaign's run and a worker use it alike.

    Args:
        patience_s: how long a hold may last; 0 gives up at once.
        enough: how many passing fallbacks in a row are an outage; at least 3.
        now_s: a clock that never goes back.

    ``hold`` is the hold that is on. ``gave_up`` is the one whose patience was over, until somebody
    gets an answer again; meanwhile everybody may start.
    """

    def __init__(self, *, patience_s: float, enough: int, now_s: Callable[[], float]) -> None:
        self.hold: Hold | None = None
        self.gave_up: Hold | None = None
        self._patience_s = patience_s
        self._enough = max(_FEWEST, enough)
        self._now_s = now_s
        self._row = _Row()
        self._starts = 0
        self._holds = 0
        self._last_answered = -1
        self._probing: Start | None = None
        self._probed_s = 0.0
        self._pause_s = 0.0
        self._next_probe_s = 0.0

    @property
    def starts(self) -> int:
        """The number of starts so far, and so the number of the next one."""
        return self._starts

    def has_answered_since(self, number: int) -> bool:
        """Return whether somebody got an answer who was asked at that start or later."""
        return self._last_answered >= number

    def start(self) -> Start | None:
        """Return the leave to ask for one person, or ``None`` during a hold.

        During a hold there is one at a time, a probe. Each start ends with ``ended`` or ``unused``.
        """
        self._give_up_in_time()
        if self.hold is not None:
            now_s = self._now_s()
            if self._probing is not None or now_s < self._next_probe_s:
                return None
            self._probed_s = now_s
        start = Start(self._starts, self.hold is not None, self._holds)
        self._starts += 1
        if start.is_probe:
            self._probing = start
        return start

    def wait_s(self) -> float:
        """Return the time until ``start`` may give leave; infinite if a probe has to end first."""
        if self.hold is None:
            return 0.0
        if self._probing is not None:
            return math.inf
        until_s = min(self._next_probe_s, max(self.hold.until_s, self._now_s()))
        return max(0.0, until_s - self._now_s())

    def unused(self, start: Start) -> None:
        """Note that nobody was asked, or that the execution ended without a sign."""
        if self._probing is start:
            self._probing = None

    def ended(self, start: Start, sign: Sign, resumes_in_s: float = 0.0) -> None:
        """Note the end of an execution; it may begin a hold, or end one.

        Args:
            resumes_in_s: the time for which the provider gets no calls anyway: it asked for a
                pause, or its breaker is open. No probe is made before.
        """
        was_probe = self._probing is start
        self.unused(start)
        if start.holds != self._holds:
            return
        if sign is NoSign.ANSWERED:
            self._answered(start)
        elif isinstance(sign, Trouble) and self.gave_up is None:
            self._failed(sign, resumes_in_s, was_probe=was_probe)

    def hold_the_rest(self, people: int, trouble: Trouble) -> None:
        """Hold for people whose fallbacks nothing explains, when nobody else is left to ask.

        Args:
            people: how many fell back for the first time. A few of them, in a run that had
                answers, are waited for briefly: it may be their own trouble.
        """
        if self.hold is None and self.gave_up is None:
            if self._row.trouble is None:
                self._row = _Row(self._now_s(), self._starts, 1, trouble)
            self._begin(0.0, is_brief=people < _FEWEST and self._last_answered >= 0)

    def _failed(self, trouble: Trouble, resumes_in_s: float, *, was_probe: bool) -> None:
        if self._row.trouble is None:
            self._row = _Row(self._now_s(), self._starts)
        self._row.add(trouble)
        if self.hold is not None:
            if was_probe:
                self.hold = replace(self.hold, trouble=self._row.trouble or trouble)
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
                self._plan_probe(resumes_in_s)
        elif (
            self._row.length >= self._enough
            or trouble.reason is FallbackReason.MODEL_UNAVAILABLE
            or resumes_in_s >= _LONG_PAUSE_S
        ):
            self._begin(resumes_in_s)

    def _answered(self, start: Start) -> None:
        self._last_answered = max(self._last_answered, start.number)
        if self.hold is None and start.number < self._row.start:
            return
        self._row = _Row()
        self.hold = self.gave_up = self._probing = None

    def _begin(self, resumes_in_s: float, *, is_brief: bool = False) -> None:
        if self._row.trouble is None:
            return
        patience_s = min(self._patience_s, _BRIEF_PATIENCE_S) if is_brief else self._patience_s
        until_s = self._now_s() + patience_s
        self.hold = Hold(self._row.trouble, self._row.since_s, until_s, is_brief)
        self._holds += 1
        self._pause_s = _FIRST_PAUSE_S
        self._plan_probe(resumes_in_s)
        if not self._patience_s and self.hold is not None:
            self.gave_up, self.hold = self.hold, None

    def _plan_probe(self, resumes_in_s: float) -> None:
        """Set the time of the next probe. The last one is made as the patience ends."""
        if self.hold is None:
            return
        now_s = self._now_s()
        paused_s = now_s + self._pause_s
        if now_s < self.hold.until_s:
            paused_s = min(paused_s, self.hold.until_s)
        self._next_probe_s = max(paused_s, now_s + resumes_in_s)
        self._give_up_in_time()

    def _give_up_in_time(self) -> None:
        """Give up once the patience is over, after a last probe unless the provider gets none."""
        hold = self.hold
        if hold is None or self._probing is not None or self._now_s() < hold.until_s:
            return
        if self._probed_s >= hold.until_s or self._next_probe_s > hold.until_s:
            self.gave_up, self.hold = hold, None


@dataclass(slots=True)
class _Row:
    """Passing fallbacks without an answer to anybody who was asked after the first."""

    since_s: float = 0.0
    start: int = 0
    length: int = 0
    trouble: Trouble | None = None

    def add(self, trouble: Trouble) -> None:
        self.length += 1
        # An open breaker says less than the error that opened it.
        if self.trouble is None or trouble.reason is not FallbackReason.MODEL_UNAVAILABLE:
            self.trouble = trouble
