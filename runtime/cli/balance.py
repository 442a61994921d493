"""``creditgate balance``: what an account has, grant by grant."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.options import account_option, config_option, examples, json_option, load


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
    """Show an account's credits: the parts of its balance, and each grant.

    Grants come in the order in which they are used, with what is left of them and when they
    expire, by the account's time zone. Amounts are credits; with --json, millicredits.
    """
    from runtime.cli.books import balance_json, books_lines, grants_lines
    from runtime.cli.ledger import emit, with_ledger

    found = with_ledger(load(config_path), lambda ledger: ledger.balance(account_id))
    if as_json:
        emit(balance_json(found))
        return
    running = found.open_reservations
    click.echo("\n".join(books_lines(found)))
    if running:
        click.echo(f"  {running:,} {'execution is' if running == 1 else 'executions are'} running")
    click.echo()
    click.echo("\n".join(grants_lines(found)))
