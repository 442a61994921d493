"""``creditgate repair``: go on with an account after Redis lost data or its clock was wrong."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    COMMAND_SETTINGS,
    account_option,
    actor_option,
    config_option,
    examples,
    json_option,
    reason_option,
)


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate repair loss --account acme --reason 'failover of 12 May' --actor ann",
        "creditgate repair clock --account acme --reason 'clock of redis-2 was wrong' --actor ann",
    ),
)
def repair() -> None:
    """Go on with an account that was stopped: it lost writes, or its clock ran ahead.

    The log names such an account, and says what was seen and what is found.
    """


@repair.command(
    "loss",
    epilog=examples(
        "creditgate repair loss --account acme --reason 'failover of 12 May' \\",
        "    --actor ann@example.com",
    ),
)
@config_option
@account_option
@reason_option
@actor_option
@json_option
def repair_loss(config_path: Path, account_id: str, reason: str, actor: str, as_json: bool) -> None:
    """Accept that an account lost writes, and go on with what Redis has of it now.

    First restore what you can: once the data is back, processes go on by themselves. What was
    lost stays lost; grants and purchases among it can be given again under their references.
    Charges that wait in the spool are booked after this, also those whose reservation was lost.
    """
    from runtime.cli.ledger import print_json, with_ledger

    seq = with_ledger(
        load(config_path),
        lambda ledger: ledger.repairs.accept_loss(account_id, reason=reason, actor=actor),
    )
    if as_json:
        print_json({"account_id": account_id, "journal_seq": seq})
        return
    click.echo(f"Account {account_id} goes on from sequence {seq} of its journal.")


@repair.command(
    "clock",
    epilog=examples(
        "creditgate repair clock --account acme --reason 'clock of redis-2 was wrong' \\",
        "    --actor ann@example.com",
    ),
)
@config_option
@account_option
@reason_option
@actor_option
@json_option
def repair_clock(
    config_path: Path, account_id: str, reason: str, actor: str, as_json: bool
) -> None:
    """Set an account's clock, which a wrong server clock moved ahead, back to the server's.

    Check the server's clock first. Credits that expired too early stay expired: give them back with
    creditgate grant --kind adjustment.
    """
    from runtime.cli.ledger import print_json, with_ledger

    ahead_ms = with_ledger(
        load(config_path),
        lambda ledger: ledger.repairs.repair_clock(account_id, reason=reason, actor=actor),
    )
    if as_json:
        print_json({"account_id": account_id, "was_ahead_ms": ahead_ms})
        return
    if ahead_ms:
        click.echo(f"The clock of account {account_id} was {ahead_ms / 1000:,.1f} s ahead.")
    else:
        click.echo(f"The clock of account {account_id} is not ahead; nothing was changed.")
