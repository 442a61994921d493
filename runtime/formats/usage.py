"""Reports in JSON types and as CSV; amounts are millicredits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from runtime.archive.figures import PerformanceReport, UsageReport, UsageSums
from runtime.wording.usage import NOT_COUNTED

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_SUMS = tuple(field.name for field in fields(UsageSums))


PERFORMANCE_HEADER = (
    *("action", "action_version", "model", "runs", "answered", "fell_back", "charged_mc"),
    *("charged_mc_per_answer", "latency_p50_ms", "latency_p95_ms", "options"),
)


def usage_json(report: UsageReport) -> dict[str, Any]:
    """Return the report in JSON types; amounts are millicredits."""
    return {
        **_window_json(report),
        "timezone": report.timezone,
        "by": list(report.by),
        "rows": [
            {**dict(zip(report.by, row.keys, strict=True)), **asdict(row.sums)}
            for row in report.rows
        ],
        "total": asdict(report.total),
    }


def usage_cells(report: UsageReport) -> Iterator[Sequence[str | int]]:
    """Yield the report as rows of CSV, a header first; amounts are millicredits."""
    yield (*report.by, *_SUMS)
    for row in report.rows:
        yield (*row.keys, *(getattr(row.sums, name) for name in _SUMS))


def performance_json(report: PerformanceReport) -> dict[str, Any]:
    """Return the report in JSON types; amounts are millicredits."""
    return {
        **_window_json(report),
        "actions": [
            {**asdict(action), "charged_mc_per_answer": action.charged_mc_per_answer}
            for action in report.actions
        ],
        "not_counted": NOT_COUNTED,
    }


def performance_cells(report: PerformanceReport) -> Iterator[Sequence[str | int | None]]:
    """Yield the report as rows of CSV, a header first; amounts are millicredits."""
    yield PERFORMANCE_HEADER
    for action in report.actions:
        yield (
            *(action.action, action.action_version, action.model, action.runs, action.answered),
            ";".join(f"{reason}:{count}" for reason, count in action.fell_back.items()),
            action.charged_mc,
            _number(action.charged_mc_per_answer),
            _number(action.latency_p50_ms),
            _number(action.latency_p95_ms),
            ";".join(f"{one.output}.{one.option}:{one.count}" for one in action.options),
        )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _window_json(report: UsageReport | PerformanceReport) -> dict[str, Any]:
    return {
        "account_id": report.account_id,
        "from": _instant(report.from_ms).isoformat(),
        "to": _instant(report.to_ms).isoformat(),
        "complete_to": None
        if report.complete_to_ms is None
        else _instant(report.complete_to_ms).isoformat(),
    }


def _instant(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
