"""Usage and the performance of actions, as tables, bars, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pricing.offers import MC_PER_CREDIT
from runtime.archive.figures import ActionPerformance, PerformanceReport, UsageReport
from runtime.cli.views.table import table
from runtime.wording.amounts import credits_text
from runtime.wording.usage import NOT_COUNTED, complete_text, why_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BAR, _NO_VALUE = 32, "-"
_EIGHTHS = " ▏▎▍▌▋▊▉"
_COLUMNS = {
    "charged": "charged_mc",
    "free": "free_mc",
    "overage": "overage_mc",
    "exposure": "exposure_mc",
}


def usage_lines(report: UsageReport, zone: ZoneInfo, *, bars: bool) -> Iterator[str]:
    """Yield the report as a table; ``bars`` draws what was charged beside it."""
    yield _title(report, zone)
    shown = [
        (title, name)
        for title, name in _COLUMNS.items()
        if name == "charged_mc" or getattr(report.total, name)
    ]
    header = (*report.by, "executions", *(t for t, _ in shown), "input tokens", "output tokens")
    rows = [header]
    groups = [(row.keys, row.sums) for row in report.rows]
    total = ("total", *("" for _ in report.by[1:]))[: len(report.by)]
    named = [(tuple(key or _NO_VALUE for key in keys), sums) for keys, sums in groups]
    for keys, sums in (*named, (total, report.total)):
        rows.append(
            (
                *keys,
                f"{sums.executions:,}",
                *(credits_text(getattr(sums, name)) for _, name in shown),
                f"{sums.input_tokens:,}",
                f"{sums.output_tokens:,}",
            )
        )
    right = range(len(report.by), len(header))
    if bars and report.by and report.rows:
        most_mc = max(sums.charged_mc for _, sums in groups)
        drawn = ["", *(_bar(sums.charged_mc, most_mc) for _, sums in groups), ""]
        rows = [(*row, bar) for row, bar in zip(rows, drawn, strict=True)]
    yield from table(rows, right=right)
    yield from _notes(report, zone)


def performance_lines(report: PerformanceReport, zone: ZoneInfo) -> Iterator[str]:
    """Yield how actions performed: a table, then reasons and options by action."""
    yield _title(report, zone)
    if report.actions:
        header = (
            "action",
            "version",
            "model",
            "runs",
            "answered",
            "credits an answer",
            "p50",
            "p95",
        )
        rows = [header, *map(_performance_row, report.actions)]
        yield from table(rows, right=range(3, len(header)))
    for action in report.actions:
        yield from _details(action)
    yield from _notes(report, zone)


def _performance_row(action: ActionPerformance) -> tuple[str, ...]:
    an_answer = action.charged_mc_per_answer
    return (
        action.action or _NO_VALUE,
        action.action_version or _NO_VALUE,
        action.model or _NO_VALUE,
        f"{action.runs:,}",
        _share(action.answered, action.runs),
        _NO_VALUE if an_answer is None else f"{an_answer / MC_PER_CREDIT:,.3f}",
        *(
            _NO_VALUE if latency_ms is None else f"{latency_ms / 1000:,.2f} s"
            for latency_ms in (action.latency_p50_ms, action.latency_p95_ms)
        ),
    )


def _details(action: ActionPerformance) -> Iterator[str]:
    if not action.fell_back and not action.options:
        return
    yield f"{action.action} {action.action_version} on {action.model}"
    rows = [
        (reason, _share(count, action.runs), why_text(reason))
        for reason, count in action.fell_back.items()
    ]
    chosen: dict[int, int] = {}
    for one in action.options:
        chosen[one.output] = chosen.get(one.output, 0) + one.count
    for one in sorted(action.options, key=lambda one: (one.output, -one.count)):
        output = one.output_name or f"output {one.output}"
        option = one.option_name or f"option {one.option}"
        rows.append((f"{output} = {option}", _share(one.count, chosen[one.output]), ""))
    yield from table(rows, right=(1,))


def _share(count: int, of: int) -> str:
    return f"{count:,} ({count / of:4.0%})" if of else f"{count:,}"


def _bar(value: int, most: int) -> str:
    """Return a bar as long as the value, to an eighth of a character."""
    eighths = 0 if most <= 0 or value <= 0 else max(1, value * _BAR * 8 // most)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _title(report: UsageReport | PerformanceReport, zone: ZoneInfo) -> str:
    begin, end = (
        f"{_instant(ms).astimezone(zone):%Y-%m-%d %H:%M}" for ms in (report.from_ms, report.to_ms)
    )
    return (
        f"Account {report.account_id}, {begin} to {end} (times in {zone.key}; amounts in credits)"
    )


def _notes(report: UsageReport | PerformanceReport, zone: ZoneInfo) -> Iterator[str]:
    yield NOT_COUNTED
    complete = None if report.complete_to_ms is None else _instant(report.complete_to_ms)
    text = complete_text(complete and complete.astimezone(zone))
    if text is not None:
        yield text


def _instant(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)
