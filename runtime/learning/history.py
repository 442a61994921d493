"""Histories of an action's answers: their lengths and real token counts.

Lengths are counted in logarithmic buckets, which give any quantile with a relative accuracy of 2%
in little memory; the counts of several processes are merged by adding them. The scheme is
DDSketch's: Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
Relative-Error Guarantees", PVLDB 12(12), 2019, https://arxiv.org/abs/1908.10693. A history also
holds sums, whose means are exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pricing.usage import TokenUsage

ACCURACY = 0.02
ENOUGH_TO_RESERVE = 50
"""The number of answers that adaptive reservations need; with fewer, the worst case is reserved."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)

MOST_TOKENS = 1_000_000
"""Longer inputs and answers count as if they had so many tokens, so that the sums of their squares
stay whole numbers that Lua, which adds in floating point, keeps exactly."""

_QUANTILE = 0.995
_HEADROOM = 1.2

Counts = Mapping[str, int]
"""The fields of a history's hash: digits name a bucket, letters a sum."""


def bucket_of(tokens: int) -> int:
    """Return the bucket ``i`` of a length, with ``gamma^(i-1) < tokens <= gamma^i``."""
    return math.ceil(math.log(tokens) / _LOG_GAMMA) if tokens > 1 else 0


def upper_edge(bucket: int) -> int:
    """Return the longest length in a bucket."""
    # Rounding must not move an edge below the lengths in its bucket.
    return math.floor(_GAMMA**bucket + 1e-6)


def observed(
    usage: TokenUsage,
    counted_input_tokens: int,
    max_output_tokens: int,
    *,
    cut: bool,
    charged: bool,
) -> dict[str, int]:
    """Return the counts and sums that one answer adds to its history.

    Args:
        counted_input_tokens: our own count, margin included.
        max_output_tokens: the action's own limit.
        cut: the answer was cut off by a limit that we lowered. Its full length is unknown and
            counts as the longest possible.
        charged: the account pays for the answer; only such answers are added to the sums.
    """
    length = max_output_tokens if cut else usage.output_tokens
    added = {str(bucket_of(min(length, MOST_TOKENS))): 1}
    if cut:
        added["cut"] = 1
    if charged:
        output = min(usage.output_tokens, MOST_TOKENS)
        counted = min(counted_input_tokens, MOST_TOKENS)
        real = min(usage.input_tokens, MOST_TOKENS)
        cached = min(usage.cached_input_tokens, MOST_TOKENS)
        added |= {
            "n": 1,
            "o": output,
            "oo": output * output,
            "r": min(usage.reasoning_tokens, MOST_TOKENS),
            "x": counted,
            "xx": counted * counted,
            "y": real,
            "yy": real * real,
            "xy": counted * real,
            "c": cached,
            "cc": cached * cached,
            "w": min(usage.cache_write_tokens, MOST_TOKENS),
        }
    return added


_MOST_BUCKET = bucket_of(MOST_TOKENS)
_SUM = re.compile("[a-z]{1,3}", re.ASCII)
_BUCKET = re.compile("[0-9]{1,4}", re.ASCII)


def is_field(name: str) -> bool:
    """Return whether a field is a bucket or a sum; others in a stored hash are not ours."""
    if _BUCKET.fullmatch(name):
        return int(name) <= _MOST_BUCKET
    return _SUM.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class History:
    """The answers of one version of an action on one model, as counts and sums."""

    counts: Counts = field(default_factory=dict)

    @property
    def answers(self) -> int:
        """The number of answers, including those cut off; old ones fade out."""
        return sum(count for name, count in self.counts.items() if name.isdigit())

    @property
    def cut(self) -> int:
        """The number of answers that a lowered limit cut off."""
        return self.counts.get("cut", 0)

    @property
    def charged(self) -> int:
        """The number of answers in the sums."""
        return self.counts.get("n", 0)

    def quantile(self, share: float) -> int | None:
        """Return a length that this share of the answers does not exceed, at most 4% too high.

        An answer that was cut off counts as the longest possible. ``None`` without answers.
        """
        buckets = sorted((int(name), n) for name, n in self.counts.items() if name.isdigit())
        rank = math.ceil(share * sum(count for _, count in buckets))
        for bucket, count in buckets:
            rank -= count
            if rank <= 0:
                return upper_edge(bucket)
        return None

    def output_tokens_to_reserve(self) -> int | None:
        """Return the output tokens to reserve for an execution, or ``None`` for the worst case.

        They are the 99.5% quantile plus 20%. The worst case is reserved while too few answers are
        known. If more than 0.5% of the answers were cut off, the quantile is the longest
        possible length, so the worst case is reserved until longer answers are known.
        """
        if self.answers < ENOUGH_TO_RESERVE:
            return None
        length = self.quantile(_QUANTILE)
        return None if length is None else math.ceil(length * _HEADROOM)

    def plus(self, added: Counts) -> History:
        """Return this history plus these counts."""
        if not added:
            return self
        counts = dict(self.counts)
        for name, count in added.items():
            counts[name] = counts.get(name, 0) + count
        return History(counts)
