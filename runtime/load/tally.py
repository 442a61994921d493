"""Counts of what executions ended with, which processes report to each other as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from runtime.load.histogram import Histogram

Status = Literal["model", "mixed", "fallback", "pending", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one execution, as its caller was told.

    Args:
        charged_mc: ``None`` where the caller was not told.
        reasons: those of its fallback values; of ``failed``, what failed.
    """

    status: Status
    charged_mc: int | None = None
    reasons: frozenset[str] = frozenset()


@dataclass(slots=True)
class Tally:
    """Counts of some executions.

    ``latencies`` are from the intended start to the end, ``delays`` from the intended start to the
    real one: the generator's own.
    """

    started: int = 0
    ended: int = 0
    charged_mc: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    latencies: Histogram = field(default_factory=Histogram)
    delays: Histogram = field(default_factory=Histogram)

    def start(self, delay_ms: float) -> None:
        """Count an execution that begins."""
        self.started += 1
        self.delays.add(delay_ms)

    def end(self, outcome: Outcome, latency_ms: float) -> None:
        """Count an execution that has ended."""
        self.ended += 1
        self.statuses[outcome.status] += 1
        self.reasons.update(outcome.reasons)
        self.charged_mc += outcome.charged_mc or 0
        self.latencies.add(latency_ms)

    def merge(self, other: Tally) -> None:
        """Add another one's counts."""
        self.started += other.started
        self.ended += other.ended
        self.charged_mc += other.charged_mc
        self.statuses.update(other.statuses)
        self.reasons.update(other.reasons)
        self.latencies.merge(other.latencies)
        self.delays.merge(other.delays)

    def to_json(self) -> dict[str, Any]:
        """Return the counts in JSON types."""
        return {
            "started": self.started,
            "ended": self.ended,
            "charged_mc": self.charged_mc,
            "statuses": dict(self.statuses),
            "reasons": dict(self.reasons),
            "latencies": self.latencies.to_json(),
            "delays": self.delays.to_json(),
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Tally:
        """Return the tally that ``to_json`` has made JSON of."""
        return cls(
            started=found["started"],
            ended=found["ended"],
            charged_mc=found["charged_mc"],
            statuses=Counter(found["statuses"]),
            reasons=Counter(found["reasons"]),
            latencies=Histogram.of_json(found["latencies"]),
            delays=Histogram.of_json(found["delays"]),
        )
