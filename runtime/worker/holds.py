"""The holds of a worker: one for each endpoint, and one for each account's ledger.

Each is a campaign run's ``Holding``. A provider that is away holds the executions at its endpoint,
whatever account they are of. A ledger that is away holds those of the account: on a cluster the
others' servers may be up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionResult, Pending
from runtime.campaigns.holding import Hold, Holding, NoSign, Start, Trouble, sign_of
from runtime.campaigns.run import Then

_MOST_REMEMBERED = 10_000
_FEWEST = 3

Place = tuple[Literal["endpoint", "account", "queue"], str]
"""What is held: the executions at an endpoint, those of an account, or all of them."""

_QUEUE: Place = ("queue", "")


@dataclass(frozen=True, slots=True)
class Held:
    """A hold of one place."""

    place: Place
    hold: Hold


@dataclass(frozen=True, slots=True)
class Leave:
    """The leave to run one execution: the endpoint's, and that of the account's ledger."""

    endpoint: Place
    of_endpoint: Start
    ledger: Place
    of_ledger: Start


@dataclass(frozen=True, slots=True)
class Passing:
    """A passing trouble of an execution: where it belongs, and the number of its start there."""

    trouble: Trouble
    place: Place
    start: int


class Holds:
    """Decides when a worker may run the next execution, from the ends of those before.

    Args:
        patience_s: how long a hold may last.
        then: what follows. With ``STOP`` nothing is run any more where the patience is over.
        enough: how many passing fallbacks in a row are an outage.
    """

    def __init__(
        self,
        *,
        patience_s: float,
        then: Then,
        enough: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s = patience_s
        self._then = then
        self._enough = enough
        self._now_s = now_s
        self._holdings: OrderedDict[Place, Holding] = OrderedDict()
        self.answered_s = now_s()
        """When somebody got an answer last."""

    def __len__(self) -> int:
        return len(self._holdings)

    def start(self, endpoint: str, account_id: str) -> Leave | None:
        """Return the leave to run one execution, or ``None`` during a hold.

        Each ends with ``ended`` or ``unused``.
        """
        places: tuple[Place, Place] = ("endpoint", endpoint), ("account", account_id)
        at_endpoint, at_ledger = map(self._of, places)
        if self._then is Then.STOP and (at_endpoint.gave_up or at_ledger.gave_up):
            return None
        of_endpoint = at_endpoint.start()
        if of_endpoint is None:
            return None
        of_ledger = at_ledger.start()
        if of_ledger is None:
            at_endpoint.unused(of_endpoint)
            return None
        return Leave(places[0], of_endpoint, places[1], of_ledger)

    def wait_s(self, endpoint: str, account_id: str) -> float:
        """Return the time until ``start`` may give leave; infinite if a probe has to end first."""
        places: tuple[Place, Place] = ("endpoint", endpoint), ("account", account_id)
        return max(self._of(place).wait_s() for place in places)

    def unused(self, leave: Leave) -> None:
        """Note that nothing was run, or that it ended without a sign."""
        self._of(leave.endpoint).unused(leave.of_endpoint)
        self._of(leave.ledger).unused(leave.of_ledger)

    def ended(
        self, leave: Leave, result: ExecutionResult | Pending, resumes_in_s: float
    ) -> Passing | None:
        """Note the end of an execution; return its trouble, if it had a passing one."""
        sign = sign_of(result)
        at_endpoint, at_ledger = self._of(leave.endpoint), self._of(leave.ledger)
        if not isinstance(sign, Trouble):
            if sign is NoSign.ANSWERED:
                self.answered_s = self._now_s()
            at_endpoint.ended(leave.of_endpoint, sign)
            at_ledger.ended(leave.of_ledger, sign)
            return None
        if sign.reason is FallbackReason.LEDGER_UNAVAILABLE:
            at_endpoint.ended(leave.of_endpoint, NoSign.NOTHING)
            at_ledger.ended(leave.of_ledger, sign)
            return Passing(sign, leave.ledger, leave.of_ledger.number)
        at_endpoint.ended(leave.of_endpoint, sign, resumes_in_s)
        at_ledger.ended(leave.of_ledger, NoSign.NOTHING)
        return Passing(sign, leave.endpoint, leave.of_endpoint.number)

    def start_reading(self) -> Start | None:
        """Return the leave to read the queue, or ``None`` while it is away."""
        return self._of(_QUEUE).start()

    def was_read(self, start: Start) -> None:
        """Note that the queue was read."""
        self._of(_QUEUE).ended(start, NoSign.ANSWERED)

    def not_read(self, start: Start, detail: str) -> None:
        """Note that the queue can't be read; a few times in a row are an outage."""
        trouble = Trouble(FallbackReason.LEDGER_UNAVAILABLE, detail=detail)
        self._of(_QUEUE).ended(start, trouble)

    def is_held(self, place: Place) -> bool:
        """Return whether executions there wait for a hold to end, or for the worker to stop."""
        holding = self._of(place)
        return holding.hold is not None or (holding.gave_up is not None and self._then is Then.STOP)

    def has_answered_since(self, place: Place, start: int) -> bool:
        """Return whether somebody got an answer there who was asked at that start or later."""
        return self._of(place).has_answered_since(start)

    def keeps_fallbacks(self, place: Place) -> bool:
        """Return whether the patience is over, and executions there go on with fallbacks."""
        return self._then is Then.FALLBACK and self._of(place).gave_up is not None

    def on(self) -> list[Held]:
        """Return the holds that are on."""
        found = [(place, holding.hold) for place, holding in self._holdings.items()]
        return [Held(place, hold) for place, hold in found if hold is not None]

    def given_up(self) -> list[Held]:
        """Return the holds whose patience is over."""
        # Only a start makes a holding look at the clock.
        found = [(place, holding.gave_up) for place, holding in self._holdings.items()]
        return [Held(place, gave_up) for place, gave_up in found if gave_up is not None]

    def begin_again(self, place: Place) -> None:
        """Forget that the patience is over: the next troubles there begin another hold."""
        self._holdings.pop(place, None)

    def _of(self, place: Place) -> Holding:
        found = self._holdings.get(place)
        if found is None:
            enough = _FEWEST if place == _QUEUE else self._enough
            found = self._holdings[place] = Holding(
                patience_s=self._patience_s, enough=enough, now_s=self._now_s
            )
            if len(self._holdings) > _MOST_REMEMBERED:
                self._drop_one()
        return found

    def _drop_one(self) -> None:
        for place, holding in self._holdings.items():
            if holding.hold is None and holding.gave_up is None:
                del self._holdings[place]
                return
