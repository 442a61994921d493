"""Answers of reports. Amounts are millicredits, instants milliseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageSums:
    """Sums of the executions that ended, whatever they ended with.

    ``free_mc`` is what free answers would have cost; ``overage_mc`` what nothing was left to pay
    for; ``exposure_mc`` what the operator may owe without having charged it.
    """

    executions: int = 0
    charged_mc: int = 0
    overage_mc: int = 0
    exposure_mc: int = 0
    free_mc: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sums of one group; ``keys`` are its values of the report's ``by``, in that order.

    A key is empty where an entry has no such value: what was answered has no reason, a model that
    is no longer in the config no class, a correction no dimensions.
    """

    keys: tuple[str, ...]
    sums: UsageSums


@dataclass(frozen=True, slots=True)
class UsageReport:
    """An account's usage in a window of time, which ``to_ms`` does not belong to.

    ``complete_to_ms`` is ``None`` where all of the window is archived; else what happened from
    then on may be missing.
    """

    account_id: str
    timezone: str
    from_ms: int
    to_ms: int
    by: tuple[str, ...]
    rows: tuple[UsageRow, ...]
    total: UsageSums
    complete_to_ms: int | None


@dataclass(frozen=True, slots=True)
class OptionCount:
    """A count of how often a model chose an option of an output.

    Both are numbered from 0 in the order of the action version, and named where the config has
    that version of the action.
    """

    output: int
    option: int
    count: int
    output_name: str | None = None
    option_name: str | None = None


@dataclass(frozen=True, slots=True)
class ActionPerformance:
    """The runs of one version of an action on one model.

    Attributes:
        runs: executions that ended; ``answered`` of them with every output from the model.
        fell_back: the others, by reason; ``expired`` are those whose process died or was frozen,
            ``cancelled`` those that their caller gave up.
        latency_p50_ms, latency_p95_ms: from reservation to settlement, to 5%; ``None`` where
            nothing was settled.
    """

    action: str
    action_version: str
    model: str
    runs: int
    answered: int
    fell_back: Mapping[str, int]
    charged_mc: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    options: tuple[OptionCount, ...]

    @property
    def charged_mc_per_answer(self) -> float | None:
        """Everything that was charged, divided by the answers; ``None`` without answers."""
        return self.charged_mc / self.answered if self.answered else None


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """The performance of an account's actions in a window of time.

    What fell back before the ledger was asked is not there: it is in results alone.
    """

    account_id: str
    from_ms: int
    to_ms: int
    actions: tuple[ActionPerformance, ...]
    complete_to_ms: int | None


@dataclass(frozen=True, slots=True)
class PastGrant:
    """The parts of one grant at an instant; ``left_mc`` is available and reserved together."""

    grant_id: str
    reference: str
    kind: str
    priority: int
    expires_at_ms: int | None
    amount_mc: int
    left_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int


@dataclass(frozen=True, slots=True)
class PastBalance:
    """An account's balance at an instant, with the grants that it had then.

    ``left_mc`` is what was available or reserved: reservations are not archived until they end.
    """

    account_id: str
    timezone: str
    at_ms: int
    granted_mc: int
    left_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int
    grants: tuple[PastGrant, ...]
    complete_to_ms: int | None
