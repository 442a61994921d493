"""``creditgate balance``: what an account has, grant by grant, and what limits it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import BadInput, account_option, config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.config import Config
    from runtime.credits.caps import CapStatus
    from runtime.credits.ledger import CreditLedger
    from runtime.credits.results import Balance


@click.command(
    epilog=examples(
        "creditgate balance --account acme",
        "creditgate balance --account acme --json | jq .available_mc",
        "creditgate balance --account acme --at 2026-05-01",
    )
)
@config_option
@account_option
@click.option(
    "--at", metavar="TIME", help="A moment of the past, such as 2026-05-01, from the archive."
)
@click.option(
    "--tz", "zone_name", metavar="ZONE", help="The zone of --at; by default the account's own."
)
@json_option
def balance(
    config_path: Path, account_id: str, at: str | None, zone_name: str | None, as_json: bool
) -> None:
    """Show an account's credits: the parts of its balance, each grant, and its limits.

    Grants come in the order in which they are used, with what is left of them and when they
    expire, by the account's time zone. Limits are what is switched off, and the caps with what
    their windows hold. --at shows what the account had at a moment of the past, expiries included;
    there, reserved credits count as left. Amounts are credits; with --json, millicredits.
    """
    if at is not None:
        _show_past(load(config_path), account_id, (at, zone_name), as_json=as_json)
        return
    if zone_name is not None:
        raise BadInput("--tz is the time zone of --at")
    from runtime.cli.ledger import print_json, with_ledger
    from runtime.cli.views.balance import balance_lines, grants_lines
    from runtime.cli.views.caps import caps_lines
    from runtime.formats.accounts import balance_json, caps_json
    from runtime.wording.caps import switched_off_text

    async def ask(ledger: CreditLedger) -> tuple[Balance, tuple[CapStatus, ...]]:
        return await ledger.accounts.balance(account_id), await ledger.accounts.caps(account_id)

    found, caps = with_ledger(load(config_path), ask)
    if as_json:
        print_json({**balance_json(found), "caps": caps_json(caps)})
        return
    running = found.open_reservations
    click.echo("\n".join(balance_lines(found)))
    if running:
        click.echo(f"  {running:,} {'execution is' if running == 1 else 'executions are'} running")
    if found.switched_off:
        click.echo(f"  {switched_off_text(found.switched_off)}")
    click.echo()
    click.echo("\n".join(grants_lines(found)))
    if caps:
        click.echo()
        click.echo("\n".join(caps_lines(caps)))


def _show_past(
    config: Config, account_id: str, moment: tuple[str, str | None], *, as_json: bool
) -> None:
    from runtime.archive.reports import open_reports
    from runtime.cli.failures import refusals
    from runtime.cli.ledger import print_json, run_async
    from runtime.cli.views.past_balance import past_balance_lines
    from runtime.formats.accounts import past_balance_json
    from runtime.formats.times import check_window, instant_ms, parse_instant, parse_zone

    at, zone_name = moment

    async def show() -> None:
        async with open_reports(config) as reports:
            known = zone_name or await reports.timezone(account_id)
            with refusals():
                zone = parse_zone(known)
                instant = parse_instant(at, zone, "--at")
                check_window(instant, None, datetime.now(UTC), ("--at", ""))
            found = await reports.balance_at(account_id, instant_ms(instant))
        if as_json:
            print_json(past_balance_json(found))
        else:
            click.echo("\n".join(past_balance_lines(found, zone)))

    run_async(show())
