"""Windows of time, in the pieces that roll-ups can answer: days, quarters, single entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pricing.offers import check_timezone, midnight
from runtime.archive.rollup import QUARTER_MS

LONGEST_DAY_QUARTERS = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a window that has a row of its own: the whole of it, a month or a day.

    Instants are milliseconds since 1970; ``after_ms`` is the first that does not belong to it.
    """

    label: str
    from_ms: int
    after_ms: int


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of a roll-up that are next to each other: of days of equal length, or of quarters."""

    span: int
    quarters: int
    first_slot: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A piece of a window that begins or ends between two quarters: its entries are read."""

    span: int
    from_ms: int
    after_ms: int


@dataclass(frozen=True, slots=True)
class Day:
    """A day that roll-ups have rows of; ``alone`` is false where another one overlaps it."""

    first_slot: int
    quarters: int
    alone: bool

    @property
    def after_slot(self) -> int:
        """The first quarter that does not belong to it."""
        return self.first_slot + self.quarters


def days_of(rows: Sequence[tuple[int, int]]) -> tuple[Day, ...]:
    """Return the days of rows of first slot and quarters, which are in order."""
    days = []
    reached = 0
    for i, (first, quarters) in enumerate(rows):
        following = rows[i + 1][0] if i + 1 < len(rows) else None
        alone = first >= reached and (following is None or following >= first + quarters)
        days.append(Day(first, quarters, alone))
        reached = max(reached, first + quarters)
    return tuple(days)


def spans_of(window: Span, timezone: str, unit: str | None) -> tuple[Span, ...]:
    """Return a window's spans: its days, its months, or itself where ``unit`` is ``None``.

    Raises:
        ValueError: the time zone does not exist.
    """
    if unit is None:
        return (window,)
    zone = check_timezone(timezone)
    day = (_EPOCH + timedelta(milliseconds=window.from_ms)).astimezone(zone).date()
    if unit == "month":
        day = day.replace(day=1)
    spans = []
    while (begins_ms := instant_ms(midnight(day, zone))) < window.after_ms:
        following = _following(day, unit)
        ends_ms = instant_ms(midnight(following, zone))
        span = Span(
            f"{day:%Y-%m}" if unit == "month" else f"{day:%Y-%m-%d}",
            max(begins_ms, window.from_ms),
            min(ends_ms, window.after_ms),
        )
        # A day that clocks skipped has no time at all.
        if span.from_ms < span.after_ms:
            spans.append(span)
        day = following
    return tuple(spans)


def pieces_of(
    spans: Sequence[Span], days: Sequence[Day], *, has_quarters: bool
) -> Iterator[Run | Edge]:
    """Yield what spans are made of; each entry of a span is in one of its pieces.

    Args:
        days: those that overlap the spans, in order.
        has_quarters: whether the roll-up has rows of quarters too; else entries stand for them.
    """
    next_day = 0
    for number, span in enumerate(spans):
        first, last_ms = -(-span.from_ms // QUARTER_MS), span.after_ms
        after = last_ms // QUARTER_MS
        if first >= after:
            yield Edge(number, span.from_ms, last_ms)
            continue
        if span.from_ms < first * QUARTER_MS:
            yield Edge(number, span.from_ms, first * QUARTER_MS)
        while next_day < len(days) and days[next_day].first_slot < first:
            next_day += 1
        reached = first
        run: Run | None = None
        while next_day < len(days) and days[next_day].after_slot <= after:
            day = days[next_day]
            next_day += 1
            if not day.alone:
                continue
            if run is not None and (day.first_slot, day.quarters) == (reached, run.quarters):
                run = Run(number, day.quarters, run.first_slot, day.first_slot)
            else:
                if run is not None:
                    yield run
                yield from _between(number, reached, day.first_slot, has_quarters)
                run = Run(number, day.quarters, day.first_slot, day.first_slot)
            reached = day.after_slot
        if run is not None:
            yield run
        yield from _between(number, reached, after, has_quarters)
        if after * QUARTER_MS < last_ms:
            yield Edge(number, after * QUARTER_MS, last_ms)


def instant_ms(instant: datetime) -> int:
    """Return the milliseconds since 1970 of an instant."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _between(span: int, first: int, after: int, has_quarters: bool) -> Iterator[Run | Edge]:
    if first >= after:
        return
    if has_quarters:
        yield Run(span, 1, first, after - 1)
    else:
        yield Edge(span, first * QUARTER_MS, after * QUARTER_MS)


def _following(day: date, unit: str) -> date:
    if unit == "day":
        return day + timedelta(days=1)
    return (day + timedelta(days=31)).replace(day=1)
