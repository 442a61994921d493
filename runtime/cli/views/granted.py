"""The output of ``grant`` and ``purchase``."""

from __future__ import annotations

import click

from runtime.cli.ledger import print_json
from runtime.credits.results import Granted
from runtime.wording.amounts import credits_text


def show_granted(account_id: str, amount_mc: int, granted: Granted, *, as_json: bool) -> None:
    """Print what was granted, or that this reference was used before."""
    if as_json:
        print_json(
            {
                "account_id": account_id,
                "grant_id": granted.grant_id,
                "amount_mc": amount_mc,
                "available_mc": granted.available_mc,
                "new": granted.new,
            }
        )
        return
    given = f"{credits_text(amount_mc)} credits"
    if granted.new:
        click.echo(f"{account_id} received {given}.")
    else:
        click.echo(f"{account_id} already received these {given}; nothing was added.")
    click.echo(f"Available: {credits_text(granted.available_mc)}")
