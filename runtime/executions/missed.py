"""Finds out which executions missed their answers, and under which ids to run them again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fallback.policy import Status
from fallback.reasons import FallbackReason
from runtime.credits.outcomes import Known, Outcomes
from runtime.credits.results import AccountDamaged, InProgress
from runtime.executions import stored_outcome
from runtime.ids import MOST_RETRIES, retry_id

MOST_IDS = 1_000
"""The ids that are asked about at once."""

# A loop turn is given to others after so many bytes of outcomes.
_YIELD_EVERY_BYTES = 256 * 1024


class State(StrEnum):
    """The states of an execution, as far as the ledger keeps it."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    ANSWERED = "answered"
    FELL_BACK = "fell_back"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Standing:
    """The outcome of an execution, or what stands in for one.

    Args:
        asked_as: the id under which it was asked last, as far as that is kept: its own, or a
            retry's.
        state: ``UNKNOWN`` where nothing is kept: it was never asked, or its fallback is not kept.
        ask_as: the id that gets it an answer; ``None`` where it has one, or can't get one.
        status: of its outcome; ``None`` without one.
        reasons: why outputs have fallback values, by output.
        reason: the first of them, or why all of them fell back.
        retry_after_ms: of one that is pending.
    """

    execution_id: str
    asked_as: str
    state: State
    ask_as: str | None = None
    status: Status | None = None
    reasons: Mapping[str, FallbackReason] = field(default_factory=dict)
    reason: FallbackReason | None = None
    charged_mc: int = 0
    retry_after_ms: int | None = None

    @property
    def is_kept(self) -> bool:
        """True if the same id gives this outcome again; false if it may call the model."""
        return self.state in (State.ANSWERED, State.FELL_BACK)


async def standings(
    outcomes: Outcomes, account_id: str, execution_ids: Sequence[str]
) -> list[Standing]:
    """Return what each id came to, in their order.

    An id with a kept fallback is followed to the last of its retries (``retry_id``).

    Args:
        execution_ids: at most ``MOST_IDS``.

    Raises:
        AccountUnknown: there is no such account.
        LedgerUnavailable: Redis can't be reached.
    """
    searches = [_Search(execution_id) for execution_id in execution_ids]
    while todo := [search for search in searches if search.ended is None]:
        known = await outcomes.known(account_id, [search.asks for search in todo])
        read = 0
        for search, found in zip(todo, known, strict=True):
            search.heed(found)
            read += len(getattr(found, "outcome", b""))
            if read > _YIELD_EVERY_BYTES:
                read = 0
                await asyncio.sleep(0)
    return [search.ended for search in searches if search.ended is not None]


class _Search:
    """The search for the last retry of an id, in steps that double and then halve.

    A retry is asked only where the one before has a kept fallback, so those that have one come
    first.
    """

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        self.asks = execution_id
        self.ended: Standing | None = None
        self._number = 0
        self._last = 0
        self._beyond: int | None = None
        self._fallback: Standing | None = None

    def heed(self, known: Known) -> None:
        """Take what is known of ``asks``, and end or go on to another."""
        if known is None:
            if self._fallback is None:
                self.ended = self._standing(State.UNKNOWN, ask_as=self.asks)
                return
            self._beyond = self._number
        else:
            standing = self._of(known)
            if standing.state is not State.FELL_BACK:
                self.ended = standing
                return
            self._last, self._fallback = self._number, standing
        self._go_on(self._fallback)

    def _go_on(self, fallback: Standing) -> None:
        if self._beyond is None and self._last < MOST_RETRIES:
            self._number = min(2 * self._last + 1, MOST_RETRIES)
        elif self._beyond is not None and self._beyond - self._last > 1:
            self._number = (self._last + self._beyond) // 2
        else:
            self.ended = fallback
            return
        self.asks = retry_id(self.execution_id, self._number)

    def _of(self, known: Known) -> Standing:
        if isinstance(known, InProgress):
            return self._standing(
                State.PENDING, ask_as=self.asks, retry_after_ms=known.remaining_ms
            )
        if known is None or isinstance(known, AccountDamaged):
            return self._standing(State.DAMAGED)
        stored = stored_outcome.decode(self.asks, known)
        if stored is None:
            reason = known.reason or FallbackReason.OUTCOME_LOST
            return self._fell_back({}, reason, known.charged_mc)
        reasons = {name: o.reason for name, o in stored.origins.items() if o.reason is not None}
        first = next(iter(reasons.values()), None)
        if stored.status == "fallback" and first is not None:
            return self._fell_back(reasons, first, known.charged_mc)
        return self._standing(
            State.ANSWERED,
            status=stored.status,
            reasons=reasons,
            reason=first,
            charged_mc=known.charged_mc,
        )

    def _fell_back(
        self, reasons: Mapping[str, FallbackReason], reason: FallbackReason, charged_mc: int
    ) -> Standing:
        last = self._number >= MOST_RETRIES
        return self._standing(
            State.FELL_BACK,
            ask_as=None if last else retry_id(self.execution_id, self._number + 1),
            status="fallback",
            reasons=reasons,
            reason=reason,
            charged_mc=charged_mc,
        )

    def _standing(self, state: State, **more: Any) -> Standing:
        return Standing(self.execution_id, self.asks, state, **more)
