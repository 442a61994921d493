"""Each instant of a window is in one piece of it, wherever days overlap and clocks change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.archive.rollup import QUARTER_MS, day_around
from runtime.archive.spans import Edge, Run, Span, days_of, pieces_of, spans_of
from tests.harness.ledger.instants import ZONES

DAY_MS = 96 * QUARTER_MS
# A week with changes of clocks in some of the zones.
BEGIN_MS = int(datetime(2026, 10, 23, tzinfo=UTC).timestamp() * 1_000)

instants = st.integers(BEGIN_MS, BEGIN_MS + 12 * DAY_MS) | st.builds(
    lambda quarter, off: BEGIN_MS + quarter * QUARTER_MS + off,
    st.integers(0, 12 * 96),
    st.sampled_from((-1, 0, 1)),
)
# Entries, each with the time zone that the account had when it was archived.
written = st.lists(st.tuples(instants, st.sampled_from(ZONES[:5])), max_size=40)


def counted(
    entries: Sequence[tuple[int, str]], spans: Sequence[Span], *, has_quarters: bool
) -> list[int]:
    """Count entries by span, as the roll-ups' rows and the edges have them."""
    days_of_entries = [day_around(at_ms // QUARTER_MS, zone) for at_ms, zone in entries]
    days = days_of(sorted(set(days_of_entries)))
    counts = [0] * len(spans)
    for piece in pieces_of(spans, days, has_quarters=has_quarters):
        if isinstance(piece, Edge):
            found = sum(piece.from_ms <= at_ms < piece.after_ms for at_ms, _ in entries)
        elif piece.quarters == 1:
            slots = range(piece.first_slot, piece.last_slot + 1)
            found = sum(at_ms // QUARTER_MS in slots for at_ms, _ in entries)
        else:
            found = sum(
                quarters == piece.quarters and piece.first_slot <= first <= piece.last_slot
                for first, quarters in days_of_entries
            )
        counts[piece.span] += found
    return counts


@settings(max_examples=120, deadline=None)
@given(
    written,
    instants,
    instants,
    st.sampled_from((None, "day", "month")),
    st.sampled_from(ZONES),
    st.booleans(),
)
def test_every_entry_of_a_span_is_counted_once(
    entries: list[tuple[int, str]],
    one_ms: int,
    other_ms: int,
    unit: str | None,
    timezone: str,
    has_quarters: bool,
) -> None:
    window = Span("", min(one_ms, other_ms), max(one_ms, other_ms) + 1)
    spans = spans_of(window, timezone, unit)
    assert counted(entries, spans, has_quarters=has_quarters) == [
        sum(span.from_ms <= at_ms < span.after_ms for at_ms, _ in entries) for span in spans
    ]
    assert spans[0].from_ms == window.from_ms
    assert spans[-1].after_ms == window.after_ms
    assert [span.after_ms for span in spans[:-1]] == [span.from_ms for span in spans[1:]]


def test_a_day_has_as_many_quarters_as_clocks_give_it() -> None:
    changed = BEGIN_MS + 2 * DAY_MS + DAY_MS // 2  # noon of 25 October
    first, quarters = day_around(changed // QUARTER_MS, "Europe/Berlin")
    assert quarters == 100
    begins = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=first * QUARTER_MS)
    assert begins == datetime(2026, 10, 24, 22, tzinfo=UTC)


@pytest.mark.parametrize("timezone", ["Mars/Olympus", ""])
def test_days_are_those_of_utc_where_a_time_zone_is_not_known(timezone: str) -> None:
    assert day_around(100, timezone) == (96, 96)


def test_whole_days_of_the_same_zone_are_one_run() -> None:
    entries = [(BEGIN_MS + day * DAY_MS, "UTC") for day in range(12)]
    days = days_of(sorted({day_around(at_ms // QUARTER_MS, zone) for at_ms, zone in entries}))
    window = Span("", BEGIN_MS - 5, BEGIN_MS + 12 * DAY_MS)
    assert list(pieces_of([window], days, has_quarters=True)) == [
        Edge(0, BEGIN_MS - 5, BEGIN_MS),
        Run(0, 96, BEGIN_MS // QUARTER_MS, BEGIN_MS // QUARTER_MS + 11 * 96),
    ]


def test_a_day_that_another_one_overlaps_is_counted_by_quarters() -> None:
    entries = [(BEGIN_MS, "UTC"), (BEGIN_MS + 20 * 4 * QUARTER_MS, "Asia/Kathmandu")]
    day = Span("", BEGIN_MS, BEGIN_MS + DAY_MS)
    assert counted(entries, [day], has_quarters=True) == [2]
    assert counted(entries, [day], has_quarters=False) == [2]
