"""A running load on stderr: a live table on a terminal, else a line now and then; its summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from runtime.cli.terminal import harmless, terminal
from runtime.load.page import load_text
from runtime.load.running import Progress
from runtime.load.settings import LoadSettings
from runtime.wording.amounts import credits_text

_LINE_EVERY_S = 5.0


class LoadDisplay:
    """Shows how a load is doing."""

    def __init__(self, settings: LoadSettings) -> None:
        self._settings = settings
        self._console = Console(file=terminal(sys.stderr), highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._line_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def say(self, text: str) -> None:
        """Show what happens now."""
        self._end()
        self._console.print(harmless(text), style="dim", markup=False)

    def update(self, progress: Progress) -> None:
        """Show the state."""
        if not self._console.is_terminal:
            if time.monotonic() - self._line_s >= _LINE_EVERY_S:
                self._line_s = time.monotonic()
                self._console.print(_line(progress), markup=False)
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(_table(self._settings, progress), refresh=True)

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _line(progress: Progress) -> str:
    total, money = progress.total, progress.sample.credits
    rate = progress.latest.ended
    left = "..." if money is None else _whole(money.available_mc)
    [p50, p99] = progress.latest.latencies.percentiles([0.5, 0.99])
    return (
        f"{progress.elapsed_s:.0f} s: {total.ended:,} executions, {rate:,} in the last second, "
        f"latency {_ms(p50)} median, {_ms(p99)} p99, fallbacks {total.statuses['fallback']:,}, "
        f"credits left {left}"
    )


def _table(settings: LoadSettings, progress: Progress) -> Table:
    total, latest, money = progress.total, progress.latest, progress.sample.credits
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    left_s = max(0.0, settings.seconds - progress.elapsed_s)
    table.add_row("load", f"{load_text(settings.to_json())}, {left_s:.0f} s to go")
    table.add_row(
        "executions",
        f"[bold]{total.ended:,}[/bold] ended, {total.started - total.ended:,} running, "
        f"{latest.ended:,} in the last second",
    )
    [p50, p95, p99] = latest.latencies.percentiles([0.5, 0.95, 0.99])
    table.add_row("latency", f"{_ms(p50)} median, {_ms(p95)} p95, {_ms(p99)} p99")
    table.add_row(
        "ended with",
        f"[green]model {total.statuses['model']:,}[/green], "
        f"[yellow]in part {total.statuses['mixed']:,}, fallback {total.statuses['fallback']:,}"
        f"[/yellow], [red]failed {total.statuses['failed']:,}[/red]",
    )
    if total.reasons:
        shown = ", ".join(f"{name} {count:,}" for name, count in total.reasons.most_common(4))
        table.add_row("reasons", shown)
    if money is not None:
        table.add_row(
            "credits",
            f"available {_whole(money.available_mc)}, reserved {_whole(money.reserved_mc)}, "
            f"charged {_whole(money.charged_mc)}; {money.empty:,} accounts have none",
        )
    return table


def _whole(amount_mc: int) -> str:
    return credits_text(amount_mc // 1000 * 1000)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the end of a load as text."""
    executions, latency, verdict = report["executions"], report["latency_ms"], report["verdict"]
    provider = report["provider"]
    ended = (
        f"{executions['ended']:,} executions in {report['elapsed_s']:g} s "
        f"({executions['per_second']:,} a second): {executions['model']:,} answered, "
        f"{executions['mixed']:,} in part, {executions['fallback']:,} fallbacks, "
        f"{executions['pending']:,} running elsewhere, {executions['failed']:,} failed"
    )
    latencies = (
        f"Latency: {_ms(latency['p50'])} median, {_ms(latency['p95'])} p95, "
        f"{_ms(latency['p99'])} p99, {_ms(latency['max'])} at most"
    )
    counted = (
        f"The mock provider counted {provider['requests']:,} calls and {provider['answers']:,} "
        "answers"
    )
    judged = (
        f"Overspent {credits_text(verdict['overspent_mc'])} credits, leaked reservations "
        f"{verdict['leaks']:,}, double charges {verdict['double_charges']:,}, lost settlements "
        f"{verdict['lost_settlements']:,}, audit differences {verdict['audit_differences']:,} "
        f"({verdict['entries']:,} entries)"
    )
    lines = [ended, latencies]
    if executions["unstarted"]:
        lines.append(f"Not started in time: {executions['unstarted']:,}")
    if report["reasons"]:
        named = ", ".join(f"{name} {count:,}" for name, count in report["reasons"].items())
        lines.append(f"Reasons: {named}")
    lines += [counted, judged, *(f"  {detail}" for detail in verdict["details"])]
    lines += [f"Problem: {problem}" for problem in report["problems"]]
    holds = verdict["holds"] and not report["problems"]
    lines.append("Every promise was kept." if holds else "Not every promise was kept.")
    return lines
