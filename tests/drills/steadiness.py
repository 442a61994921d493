"""Memory and file descriptors of a process over time, and whether they grow."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOST_KB = 6_144
MOST_SHARE = 0.05
"""How much a process's memory may grow in the time that is fitted: 6 MB, or 5% if that is more."""
MOST_DESCRIPTORS = 2.0
"""The same of its open files. Connections come and go: the fit is of what stays."""
_WARM_UP_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Sample:
    """A look at a process."""

    at_s: float
    memory_kb: int
    descriptors: int


def look(pid: int) -> Sample | None:
    """Return a process's memory (resident, without what it shares) and its open files."""
    with suppress(OSError, StopIteration):
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("RssAnon:"))
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return Sample(time.monotonic(), int(line.split()[1]), descriptors)
    return None


@dataclass(frozen=True, slots=True)
class Trend:
    """A robust line through the samples of a process, after it has warmed up.

    Args:
        minutes: that the line goes over.
        memory_kb_a_minute, descriptors_a_minute: its slopes.
        memory_kb: the median.
    """

    minutes: float
    memory_kb_a_minute: float
    descriptors_a_minute: float
    memory_kb: float

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Trend:
        """Fit a line by Theil and Sen: the median of the slopes between any two samples.

        A restart of a server or a moment's burst, up to a quarter of all samples, moves it little.
        """
        assert len(samples) > 1, "a process was not looked at"
        warm_at_s = samples[0].at_s + _WARM_UP_SHARE * (samples[-1].at_s - samples[0].at_s)
        warm = [sample for sample in samples if sample.at_s >= warm_at_s]
        return cls(
            (warm[-1].at_s - warm[0].at_s) / 60,
            _slope((sample.at_s / 60, sample.memory_kb) for sample in warm),
            _slope((sample.at_s / 60, sample.descriptors) for sample in warm),
            statistics.median(sample.memory_kb for sample in warm),
        )

    def growth(self) -> list[str]:
        """Return what grew by more than it may."""
        found = []
        memory_kb = self.memory_kb_a_minute * self.minutes
        if memory_kb > max(MOST_KB, MOST_SHARE * self.memory_kb):
            found.append(f"memory grew by {memory_kb:,.0f} KB in {self.minutes:.1f} minutes")
        descriptors = self.descriptors_a_minute * self.minutes
        if descriptors > MOST_DESCRIPTORS:
            found.append(f"{descriptors:.1f} more open files in {self.minutes:.1f} minutes")
        return found


def _slope(points: Iterable[tuple[float, float]]) -> float:
    """Return the median of the slopes between any two points."""
    return statistics.median(
        (later - sooner) / (after - before)
        for (before, sooner), (after, later) in itertools.combinations(points, 2)
        if after > before
    )
