"""``creditgate usage``: what an account used, and how its actions performed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import BadInput, account_option, config_option, examples, json_option

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from runtime.archive.reports import Reports

_BY = (
    *("day", "month", "model", "class", "workspace", "campaign", "action"),
    *("source", "outcome", "reason"),
)


@click.command(
    epilog=examples(
        "creditgate usage --account acme",
        "creditgate usage --account acme --by campaign,action --from 2026-05-01 --to 2026-06-01",
        "creditgate usage --account acme --by month --from 2026-01-01 --csv > usage.csv",
        "creditgate usage --account acme --performance",
    )
)
@config_option
@account_option
@click.option("--by", metavar="NAMES", help=f"Any of {', '.join(_BY)}.  [default: day]")
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="The first instant, such as 2026-05-01; by default the first of the month.",
)
@click.option("--to", "until", metavar="TIME", help="The first instant after it; by default now.")
@click.option(
    "--tz", "zone_name", metavar="ZONE", help="The time zone; by default the account's own."
)
@click.option("--performance", is_flag=True, help="Show how each action performed instead.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout.")
@json_option
def usage(config_path: Path, account_id: str, as_json: bool, **asked: Any) -> None:
    """Show what an account used in a window of time, from the archive.

    Each execution counts at the time at which it ended. A terminal gets bars beside the table.
    --performance shows, for each version of an action and each model, how many runs were answered,
    why the others fell back, what an answer took in credits and time, and which options were
    chosen. Amounts are credits; with --json and --csv, millicredits.
    """
    from runtime.archive.reports import open_reports
    from runtime.cli.ledger import run_async

    wanted = _Wanted(account_id, as_json=as_json, **asked)
    wanted.check()
    config = load(config_path)

    async def show() -> None:
        async with open_reports(config) as reports:
            await _show(reports, wanted)

    run_async(show())


@dataclass(frozen=True)
class _Wanted:
    """The options of the command."""

    account_id: str
    as_json: bool
    by: str | None
    since: str | None
    until: str | None
    zone_name: str | None
    performance: bool
    as_csv: bool

    def check(self) -> None:
        if self.as_csv and self.as_json:
            raise BadInput("--csv and --json exclude each other")
        if self.performance and self.by is not None:
            raise BadInput("--performance is by action, version and model: it takes no --by")
        for name in self.names:
            if name not in _BY:
                from runtime.hints import did_you_mean

                raise BadInput(f"--by: there is no {name!r}{did_you_mean(name, _BY)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the report is by."""
        return ("day",) if self.by is None else tuple(name.strip() for name in self.by.split(","))


async def _show(reports: Reports, wanted: _Wanted) -> None:
    from runtime.cli.failures import refusals
    from runtime.formats.times import parse_zone

    with refusals():
        zone = parse_zone(wanted.zone_name or await reports.timezone(wanted.account_id))
    from_ms, to_ms = _window(wanted, zone)
    if wanted.performance:
        await _show_performance(reports, wanted, zone, (from_ms, to_ms))
    else:
        await _show_usage(reports, wanted, zone, (from_ms, to_ms))


def _window(wanted: _Wanted, zone: ZoneInfo) -> tuple[int, int | None]:
    from runtime.cli.failures import refusals
    from runtime.formats.times import check_window, instant_ms, month_begin, parse_instant

    now = datetime.now(UTC)
    with refusals():
        ends = None if wanted.until is None else parse_instant(wanted.until, zone, "--to")
        if wanted.since is None:
            begins = month_begin(now if ends is None else min(now, ends), zone)
        else:
            begins = parse_instant(wanted.since, zone, "--from")
        check_window(begins, ends, now, ("--from", "--to"))
    return instant_ms(begins), None if ends is None else instant_ms(ends)


async def _show_usage(
    reports: Reports, wanted: _Wanted, zone: ZoneInfo, window: tuple[int, int | None]
) -> None:
    from runtime.cli.failures import refusals
    from runtime.cli.ledger import print_json
    from runtime.cli.views.usage import usage_lines
    from runtime.formats.csv_cells import csv_text
    from runtime.formats.usage import usage_cells, usage_json

    with refusals():
        report = await reports.usage(
            wanted.account_id,
            by=wanted.names,
            from_ms=window[0],
            to_ms=window[1],
            timezone=zone.key,
        )
    if wanted.as_json:
        print_json(usage_json(report))
    elif wanted.as_csv:
        click.echo(csv_text(usage_cells(report)), nl=False)
    else:
        click.echo("\n".join(usage_lines(report, zone, bars=sys.stdout.isatty())))


async def _show_performance(
    reports: Reports, wanted: _Wanted, zone: ZoneInfo, window: tuple[int, int | None]
) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.usage import performance_lines
    from runtime.formats.csv_cells import csv_text
    from runtime.formats.usage import performance_cells, performance_json

    report = await reports.performance(wanted.account_id, from_ms=window[0], to_ms=window[1])
    if wanted.as_json:
        print_json(performance_json(report))
    elif wanted.as_csv:
        click.echo(csv_text(performance_cells(report)), nl=False)
    else:
        click.echo("\n".join(performance_lines(report, zone)))
