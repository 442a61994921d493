"""The holds of a worker: one for each endpoint, and one for each account's server.

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

_MOST_REMEMBERED = 10_000


Place = tuple[Literal["endpoint", "account"], str]
"""What is held: the executions at an endpoint, or those of an account."""


@dataclass(frozen=True, slots=True)
class Held:
    """A hold of one place."""

    place: Place
    hold: Hold


@dataclass(frozen=True, slots=True)
class Leave:
    """The leave to run one execution: the endpoint's, and that of the account's ledger."""

    endpoint: str
    account_id: str
    of_endpoint: Start
    of_ledger: Start


class Holds:
    """Decides when a worker may run the next execution, from the ends of those before.

    Args:
        patience_s: how long a hold may last.
        enough: how many passing fallbacks in a row are an outage.
    """

    def __init__(
        self,
        *,
        patience_s: float,
        enough: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s = patience_s
        self._enough = enough
        self._now_s = now_s
        self._holdings: OrderedDict[Place, Holding] = OrderedDict()
        self.answered_s = now_s()
        """When somebody got an answer last."""

    def start(self, endpoint: str, account_id: str) -> Leave | None:
        """Return the leave to run one execution, or ``None`` during a hold.

        Each ends with ``ended`` or ``unused``.
        """
        at_endpoint = self._of(("endpoint", endpoint))
        of_endpoint = at_endpoint.start()
        if of_endpoint is None:
            return None
        of_ledger = self._of(("account", account_id)).start()
        if of_ledger is None:
            at_endpoint.unused(of_endpoint)
            return None
        return Leave(endpoint, account_id, of_endpoint, of_ledger)

    def wait_s(self, endpoint: str, account_id: str) -> float:
        """Return the time until ``start`` may give leave; infinite if a probe has to end first."""
        places: list[Place] = [("endpoint", endpoint), ("account", account_id)]
        return max(self._of(place).wait_s() for place in places)

    def unused(self, leave: Leave) -> None:
        """Note that nothing was run, or that it ended without a sign."""
        self._of(("endpoint", leave.endpoint)).unused(leave.of_endpoint)
        self._of(("account", leave.account_id)).unused(leave.of_ledger)

    def ended(
        self, leave: Leave, result: ExecutionResult | Pending, resumes_in_s: float
    ) -> Trouble | None:
        """Note the end of an execution; return its trouble, if it had a passing one."""
        sign = sign_of(result)
        at_endpoint = self._of(("endpoint", leave.endpoint))
        at_ledger = self._of(("account", leave.account_id))
        if not isinstance(sign, Trouble):
            if sign is NoSign.ANSWERED:
                self.answered_s = self._now_s()
            at_endpoint.ended(leave.of_endpoint, sign)
            at_ledger.ended(leave.of_ledger, sign)
            return None
        if sign.reason is FallbackReason.LEDGER_UNAVAILABLE:
            at_endpoint.ended(leave.of_endpoint, NoSign.NOTHING)
            at_ledger.ended(leave.of_ledger, sign)
        else:
            at_endpoint.ended(leave.of_endpoint, sign, resumes_in_s)
            at_ledger.ended(leave.of_ledger, NoSign.NOTHING)
        return sign

    def on(self, endpoint: str | None = None, account_id: str | None = None) -> list[Held]:
        """Return the holds that are on; those of an endpoint and an account, where given."""
        found = [(place, holding.hold) for place, holding in self._holdings.items()]
        wanted = {("endpoint", endpoint), ("account", account_id)}
        everywhere = endpoint is None and account_id is None
        return [
            Held(place, hold)
            for place, hold in found
            if hold is not None and (everywhere or place in wanted)
        ]

    def given_up(self) -> list[Held]:
        """Return the holds whose patience is over."""
        found = [(place, holding.gave_up) for place, holding in self._holdings.items()]
        return [Held(place, gave_up) for place, gave_up in found if gave_up is not None]

    def begin_again(self, held: Held) -> None:
        """Forget that the patience is over: the next troubles there begin another hold."""
        self._holdings.pop(held.place, None)

    def _of(self, place: Place) -> Holding:
        found = self._holdings.get(place)
        if found is None:
            found = self._holdings[place] = Holding(
                patience_s=self._patience_s, enough=self._enough, now_s=self._now_s
            )
            if len(self._holdings) > _MOST_REMEMBERED:
                self._drop_one()
        return found

    def _drop_one(self) -> None:
        for place, holding in self._holdings.items():
            if holding.hold is None and holding.gave_up is None:
                del self._holdings[place]
                return
