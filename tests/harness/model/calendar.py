"""Days and months of a time zone, found by looking at what its clocks show."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No day has more than 26 hours, and none in the reach of a test is left out.
_LONGEST_MS = {"day": 27 * HOUR_MS, "month": 32 * DAY_MS}
_LETTERS_OF_A_DATE = {"day": len("2026-10-25"), "month": len("2026-10")}


def local_date(at: int, timezone: str) -> date:
    """The date that clocks show."""
    return _local(at, timezone).date()


@lru_cache(maxsize=65_536)
def window_end(window: str, at: int, timezone: str = "UTC") -> int | None:
    """When the next day or month begins; all of time is one window."""
    if window == "total":
        return None
    letters = _LETTERS_OF_A_DATE[window]

    def shown(instant: int) -> str:
        return local_date(instant, timezone).isoformat()[:letters]

    now = shown(at)
    return _first(at, at + _LONGEST_MS[window], lambda instant: shown(instant) > now)


@lru_cache(maxsize=65_536)
def clocks_change(at: int, timezone: str) -> int | None:
    """When clocks are put forward or back next, if they are within 200 days."""
    for day in range(200):
        begin = at + day * DAY_MS
        before = _local(begin, timezone).utcoffset()
        if _local(begin + DAY_MS, timezone).utcoffset() != before:
            return _first(
                begin,
                begin + DAY_MS,
                lambda instant: _local(instant, timezone).utcoffset() != before,  # noqa: B023 - used at once
            )
    return None


def _local(at: int, timezone: str) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at)).astimezone(ZoneInfo(timezone))


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first instant after ``low`` at which something holds that holds at ``high``."""
    assert holds(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
