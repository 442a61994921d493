"""Usage: sums of what executions ended with, by any of their dimensions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from runtime.archive.figures import UsageReport, UsageRow, UsageSums
from runtime.archive.rollup import QUARTER_MS
from runtime.archive.snapshot import Snapshot
from runtime.archive.spans import Edge, Run, Span, pieces_of, spans_of
from runtime.credits.identity import Dimensions
from runtime.store.schema import SUMS

TIMES = ("month", "day")
BY = (
    *("day", "month", "model", "class", "workspace", "campaign", "action"),
    *("source", "outcome", "reason"),
)
OUTCOMES = ("answered", "fell_back", "cancelled", "expired", "exposure", "corrected")

_ROWS_AT_ONCE = 1_000
_COLUMNS_OF = {"class": ("model",), "outcome": ("kind", "reason")}


def check_by(by: Iterable[str]) -> tuple[str, ...]:
    """Return what a report is by, without repetitions.

    Raises:
        ValueError: it is nothing that a report can be by.
    """
    checked = tuple(dict.fromkeys(by))
    for name in checked:
        if name not in BY:
            raise ValueError(f"by: found {name!r}, allowed are {', '.join(BY)}")
    return checked


def outcome_of(kind: str, reason: str) -> str:
    """Return the word for what an entry says that an execution ended with.

    A settlement with a reason charged the tokens of an answer of which at least one output fell
    back.
    """
    if kind == "s":
        return "fell_back" if reason else "answered"
    if kind in "fr":
        return "fell_back" if reason else "cancelled"
    return {"e": "expired", "b": "exposure"}.get(kind, "corrected")


async def usage_report(
    snapshot: Snapshot,
    window: Span,
    timezone: str,
    by: Sequence[str],
    class_of_model: Mapping[str, str],
) -> UsageReport:
    """Return an account's usage; the window's time zone decides what its days are."""
    account = snapshot.account
    unit = next((time for time in reversed(TIMES) if time in by), None)
    groups = _Groups(by, class_of_model)
    archived = account.archived_part(window)
    if archived is not None:
        spans = spans_of(archived, timezone, unit)
        runs, edges = await pieces(snapshot, spans)
        keys = list(dict.fromkeys(column for name in by for column in _columns_of(name)))
        days = [run for run in runs if run.quarters > 1]
        quarters = [run for run in runs if run.quarters == 1]
        found = await snapshot.sums(_table_of_days(keys), days, keys, SUMS)
        found += await snapshot.sums("usage", quarters, keys, SUMS)
        for number, (span, *row) in enumerate(found):
            values = dict(zip(keys, row, strict=False))
            groups.add(spans[span].label, values, row[len(keys) :])
            if not number % _ROWS_AT_ONCE:
                await asyncio.sleep(0)
        for span, dims, kind, reason, sums in await _of_edges(snapshot, edges):
            values = {**dims._asdict(), "kind": kind, "reason": reason}
            groups.add(spans[span].label, values, sums)
    rows = groups.rows()
    return UsageReport(
        account_id=account.account_id,
        timezone=timezone,
        from_ms=window.from_ms,
        to_ms=window.after_ms,
        by=tuple(by),
        rows=rows,
        total=UsageSums(*groups.total),
        complete_to_ms=account.complete_to_ms(window.after_ms),
    )


async def pieces(
    snapshot: Snapshot, spans: Sequence[Span], *, has_quarters: bool = True
) -> tuple[list[Run], list[Edge]]:
    """Return the rows of roll-ups and the edges that spans are made of."""
    first, after = spans[0].from_ms // QUARTER_MS, -(-spans[-1].after_ms // QUARTER_MS)
    days = await snapshot.days(first, after)
    found = list(pieces_of(spans, days, has_quarters=has_quarters))
    runs = [piece for piece in found if isinstance(piece, Run)]
    return runs, [piece for piece in found if isinstance(piece, Edge)]


async def _of_edges(
    snapshot: Snapshot, edges: Sequence[Edge]
) -> list[tuple[int, Dimensions, str, str, list[int]]]:
    rolled_up = await snapshot.entries(edges)
    names = await snapshot.names(dims for _, found in rolled_up for dims, *_ in found.usage())
    return [
        (span, names[dims], kind, reason, sums)
        for span, found in rolled_up
        for dims, kind, reason, sums in found.usage()
    ]


def _table_of_days(keys: Sequence[str]) -> str:
    """Return the table with the fewest rows that has these columns, or is joined with them."""
    if not any(key in Dimensions._fields for key in keys):
        return "outcomes"
    return "usage" if "kind" in keys or "reason" in keys else "totals"


def _columns_of(name: str) -> tuple[str, ...]:
    return () if name in TIMES else _COLUMNS_OF.get(name, (name,))


class _Groups:
    """The sums of a report, by their keys."""

    def __init__(self, by: Sequence[str], class_of_model: Mapping[str, str]) -> None:
        self.total = [0] * len(SUMS)
        self._by = by
        self._class_of_model = class_of_model
        self._groups: dict[tuple[str, ...], list[int]] = {}

    def add(self, span: str, values: Mapping[str, str | None], sums: Sequence[int]) -> None:
        key = tuple(self._key(name, span, values) for name in self._by)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = [0] * len(SUMS)
        for i, number in enumerate(sums):
            group[i] += number
            self.total[i] += number

    def rows(self) -> tuple[UsageRow, ...]:
        return tuple(
            UsageRow(key, UsageSums(*sums))
            for key, sums in sorted(self._groups.items())
            if any(sums)
        )

    def _key(self, name: str, span: str, values: Mapping[str, str | None]) -> str:
        match name:
            case "day":
                return span
            case "month":
                return span[: len("2026-05")]
            case "class":
                return self._class_of_model.get(values["model"] or "", "")
            case "outcome":
                return outcome_of(values["kind"] or "", values["reason"] or "")
        return values[name] or ""
