"""``creditgate account``: the accounts that pay."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.options import (
    COMMAND_SETTINGS,
    actor_option,
    config_option,
    examples,
    json_option,
    load,
)


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples("creditgate account open acme --plan growth"),
)
def account() -> None:
    """Open accounts."""


@account.command(
    "open",
    epilog=examples(
        "creditgate account open acme --plan growth",
        "creditgate account open acme --plan growth --timezone Europe/Berlin",
        "creditgate account open acme --plan growth --paying-since 2026-03-01",
    ),
)
@click.argument("account_id", metavar="ID")
@config_option
@click.option("--plan", required=True, help="One of the plans of the config.")
@click.option(
    "--timezone",
    default="UTC",
    metavar="NAME",
    help="The account's IANA time zone; its offers expire by it.",
)
@click.option(
    "--paying-since",
    type=click.DateTime(formats=["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The first paid day, which decides about offers.  [default: today]",
)
@actor_option
@json_option
def open_account(
    account_id: str,
    config_path: Path,
    plan: str,
    timezone: str,
    paying_since: object,
    actor: str,
    as_json: bool,
) -> None:
    """Open an account and give it the offers that it is entitled to.

    ID is 1 to 64 of the characters A-Z a-z 0-9 _ . -. Doing it again changes nothing.
    """
    from datetime import datetime

    from runtime.cli.books import balance_json, books_lines, grants_lines
    from runtime.cli.ledger import emit, with_ledger
    from runtime.credits.answers import Balance
    from runtime.credits.ledger import CreditLedger

    since = paying_since.date() if isinstance(paying_since, datetime) else None

    async def ask(ledger: CreditLedger) -> tuple[bool, Balance]:
        opened = await ledger.open_account(
            account_id, plan=plan, timezone=timezone, paying_since=since, actor=actor
        )
        return opened, await ledger.balance(account_id)

    opened, balance = with_ledger(load(config_path), ask)
    if as_json:
        emit({"new": opened, "balance": balance_json(balance)})
        return
    click.echo(f"{account_id} is open." if opened else f"{account_id} was open already.")
    click.echo("\n".join([*books_lines(balance), "", *grants_lines(balance)]))
