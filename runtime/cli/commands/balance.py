"""``creditgate balance``: what an account has, grant by grant, and what limits it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import account_option, config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.credits.caps import CapStatus
    from runtime.credits.ledger import CreditLedger
    from runtime.credits.results import Balance


@click.command(
    epilog=examples(
        "creditgate balance --account acme",
        "creditgate balance --account acme --json | jq .available_mc",
    )
)
@config_option
@account_option
@json_option
def balance(config_path: Path, account_id: str, as_json: bool) -> None:
    """Show an account's credits: the parts of its balance, each grant, and its limits.

    Grants come in the order in which they are used, with what is left of them and when they
    expire, by the account's time zone. Limits are what is switched off, and the caps with what
    their windows hold. Amounts are credits; with --json, millicredits.
    """
    from runtime.cli.ledger import print_json, with_ledger
    from runtime.cli.views.balance import balance_json, balance_lines, grants_lines
    from runtime.cli.views.caps import caps_json, caps_lines
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
