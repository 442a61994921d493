"""``creditgate statement``: each movement of an account, with the balance after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    BadInput,
    account_option,
    config_option,
    examples,
    json_option,
)

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from runtime.archive.lines import StatementLine
    from runtime.archive.statement import Statements
    from runtime.config import Config

_USUAL_LINES = 50
_ROWS_AT_ONCE = 500


@click.command(
    epilog=examples(
        "creditgate statement --account acme",
        "creditgate statement --account acme --from 2026-05-01 --to 2026-06-01 --csv > may.csv",
        "creditgate statement --account acme --entry 17",
    )
)
@config_option
@account_option
@click.option("--from", "since", metavar="TIME", help="The first instant, such as 2026-05-01.")
@click.option("--to", "until", metavar="TIME", help="The first instant after it.")
@click.option(
    "--tz", "zone_name", metavar="ZONE", help="The time zone; by default the account's own."
)
@click.option(
    "--oldest-first", is_flag=True, help="Begin with the oldest entry, as a CSV always does."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="The most entries, 1 to 10,000; by default 50, and all of them for a CSV.",
)
@click.option("--cursor", metavar="C", help="Go on where a page ended that showed this cursor.")
@click.option("--entry", "seq", type=click.IntRange(1), metavar="SEQ", help="Open this one entry.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout.")
@json_option
def statement(config_path: Path, account_id: str, as_json: bool, **asked: Any) -> None:
    """Show each movement of an account, from the archive, with the balance after it.

    Each entry says what it was, who did it or which grants paid, and what the account had left
    after it (available and reserved credits together). The newest entry comes first. --entry
    opens one: an execution's tokens and rates, what was reserved, and when. Amounts are credits;
    with --json and --csv, millicredits.
    """
    from runtime.archive.statement import open_statements
    from runtime.cli.ledger import run_async

    wanted = _Wanted(account_id, as_json=as_json, **asked)
    wanted.check()
    config = load(config_path)

    async def show() -> None:
        async with open_statements(config) as statements:
            account = await statements.account(account_id)
            zone = _zone(account.timezone if wanted.zone_name is None else wanted.zone_name)
            if wanted.seq is not None:
                line = await statements.entry(account_id, wanted.seq)
                _print_entry(line, config, zone, as_json)
                return
            window = _window(wanted.since, wanted.until, zone)
            if wanted.as_csv and wanted.limit is None and wanted.cursor is None:
                await _print_all(statements, account_id, window)
            else:
                await _print_page(statements, wanted, window, zone)

    run_async(show())


@dataclass(frozen=True)
class _Wanted:
    """The options of the command."""

    account_id: str
    as_json: bool
    since: str | None
    until: str | None
    zone_name: str | None
    oldest_first: bool
    limit: int | None
    cursor: str | None
    seq: int | None
    as_csv: bool

    def check(self) -> None:
        if self.as_csv and self.as_json:
            raise BadInput("--csv and --json exclude each other")
        choices = (self.since, self.until, self.limit, self.cursor)
        chosen = self.oldest_first or self.as_csv or any(c is not None for c in choices)
        if self.seq is not None and chosen:
            raise BadInput("--entry opens one entry: it goes only with --tz and --json")

    @property
    def newest_first(self) -> bool:
        return not (self.oldest_first or self.as_csv)


def _zone(name: str) -> ZoneInfo:
    from runtime.cli.failures import refusals
    from runtime.formats.times import parse_zone

    with refusals():
        return parse_zone(name)


def _window(since: str | None, until: str | None, zone: ZoneInfo) -> tuple[int | None, int | None]:
    from runtime.cli.failures import refusals
    from runtime.formats.times import check_window, parse_instant

    with refusals():
        begins = None if since is None else parse_instant(since, zone, "--from")
        ends = None if until is None else parse_instant(until, zone, "--to")
        check_window(begins, ends, datetime.now(UTC), ("--from", "--to"))
    return _ms(begins), _ms(ends)


def _ms(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp() * 1000)


def _print_entry(line: StatementLine, config: Config, zone: ZoneInfo, as_json: bool) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.charge import charge_lines
    from runtime.formats.charge import charge_json

    if as_json:
        print_json(charge_json(line, config))
    else:
        click.echo("\n".join(charge_lines(line, config, zone)))


async def _print_page(
    statements: Statements, wanted: _Wanted, window: tuple[int | None, int | None], zone: ZoneInfo
) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.statement import statement_lines
    from runtime.formats.csv_cells import csv_text
    from runtime.formats.statement import CSV_HEADER, account_json, csv_row, line_json

    page = await statements.page(
        wanted.account_id,
        from_ms=window[0],
        to_ms=window[1],
        newest_first=wanted.newest_first,
        limit=wanted.limit or _USUAL_LINES,
        cursor=wanted.cursor,
    )
    if wanted.as_json:
        lines = [line_json(line) for line in page.lines]
        found = {"lines": lines, "next_cursor": page.next_cursor}
        print_json(account_json(page.account) | found)
        return
    if wanted.as_csv:
        click.echo(csv_text([CSV_HEADER, *map(csv_row, page.lines)]), nl=False)
    else:
        click.echo("\n".join(statement_lines(page.account, page.lines, zone)))
    if page.next_cursor is not None:
        click.echo(f"There is more: --cursor {page.next_cursor}", err=True)


async def _print_all(
    statements: Statements, account_id: str, window: tuple[int | None, int | None]
) -> None:
    from runtime.formats.csv_cells import csv_text
    from runtime.formats.statement import CSV_HEADER, csv_row

    rows: list[tuple[str | int | None, ...]] = [CSV_HEADER]
    async for line in statements.lines(
        account_id, from_ms=window[0], to_ms=window[1], newest_first=False
    ):
        rows.append(tuple(csv_row(line)))
        if len(rows) >= _ROWS_AT_ONCE:
            click.echo(csv_text(rows), nl=False)
            rows.clear()
    click.echo(csv_text(rows), nl=False)
