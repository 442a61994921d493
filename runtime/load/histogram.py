"""Latencies in buckets that processes can add up, exact to one in a hundred."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

_GROWTH = 1.02
"""Each bucket ends 2% above the one before it; its middle is at most 1% from all that is in it."""

_LEAST_MS = 0.01
_LOG_GROWTH = math.log(_GROWTH)


class Histogram:
    """Counts of latencies, by buckets that grow as the latencies do."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts = Counter(counts or {})

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, latency_ms: float) -> None:
        """Count a latency."""
        self._counts[
            math.floor(math.log(max(latency_ms, _LEAST_MS) / _LEAST_MS) / _LOG_GROWTH)
        ] += 1

    def merge(self, other: Histogram) -> None:
        """Add the counts of another one."""
        self._counts.update(other._counts)

    def percentiles(self, shares: Sequence[float]) -> list[float | None]:
        """Return the latency in ms that each share of all stays within; ``None`` without any.

        >>> latencies = Histogram()
        >>> for latency_ms in range(1, 1001):
        ...     latencies.add(latency_ms)
        >>> [round(found, -1) for found in latencies.percentiles([0.5, 0.99]) if found]
        [500.0, 990.0]
        """
        total = len(self)
        if not total:
            return [None] * len(shares)
        found: list[float | None] = []
        for share in shares:
            rank = max(1, math.ceil(share * total - 1e-9))
            seen = 0
            for bucket, count in sorted(self._counts.items()):
                seen += count
                if seen >= rank:
                    found.append(_LEAST_MS * _GROWTH ** (bucket + 0.5))
                    break
        return found

    def to_json(self) -> dict[str, int]:
        """Return the counts by bucket."""
        return {str(bucket): count for bucket, count in self._counts.items()}

    @classmethod
    def of_json(cls, found: Mapping[str, int]) -> Histogram:
        """Return the histogram that ``to_json`` has made JSON of."""
        return cls({int(bucket): count for bucket, count in found.items()})
