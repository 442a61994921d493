"""``creditgate sweep``: end expired reservations and grants of accounts that are not in use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.credits.ledger import CreditLedger

_LONGEST_PAUSE_S = 86_400


@click.command(
    epilog=examples(
        "creditgate sweep",
        "creditgate sweep --every 30",
        "creditgate sweep --json",
    )
)
@config_option
@click.option(
    "--every",
    "pause_s",
    type=click.IntRange(1, _LONGEST_PAUSE_S),
    metavar="SECONDS",
    help="Sweep again after so many seconds, until Ctrl-C or SIGTERM. Without it, sweep once.",
)
@json_option
def sweep(config_path: Path, pause_s: int | None, as_json: bool) -> None:
    """End expired reservations and grants, and raise the alerts that are due.

    Balances and charges are right without it: it lets accounts that nobody uses catch up. Every
    process that runs actions sweeps about once a minute, so a command is needed only where none
    runs. Several sweeps at a time do no harm.
    """
    from runtime.cli.ledger import with_ledger

    with_ledger(load(config_path), lambda ledger: _sweep(ledger, pause_s, as_json=as_json))


async def _sweep(ledger: CreditLedger, pause_s: int | None, *, as_json: bool) -> None:
    import asyncio

    from runtime.cli.interruption import Interruption
    from runtime.credits.results import LedgerUnavailable

    if pause_s is None:
        _show(await ledger.sweep(), as_json=as_json)
        return
    with Interruption():
        while True:
            try:
                _show(await ledger.sweep(), as_json=as_json)
            except LedgerUnavailable as error:
                click.echo(f"warning: nothing is swept this time: {error}", err=True)
            await asyncio.sleep(pause_s)


def _show(accounts: int, *, as_json: bool) -> None:
    from runtime.cli.ledger import print_json

    if as_json:
        print_json({"accounts": accounts})
    else:
        click.echo(f"Swept {accounts:,} account{'s' * (accounts != 1)} with something due.")
