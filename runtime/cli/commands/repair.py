"""``creditgate repair``: go on with an account after Redis lost data or its clock was wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from runtime.archive.booking_again import ForkRepair
    from runtime.cli.archive import OpenArchive

_LEFT = 1


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate repair loss --account acme --reason 'failover of 12 May' --actor ann",
        "creditgate repair clock --account acme --reason 'clock of redis-2 was wrong' --actor ann",
        "creditgate repair fork --account acme --reason 'failover of 12 May' --actor ann",
    ),
)
def repair() -> None:
    """Go on with an account that was stopped: it lost writes, its clock ran ahead, or it forked.

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


@repair.command(
    "fork",
    epilog=examples(
        "creditgate repair fork --account acme --dry-run --reason 'failover of 12 May' \\",
        "    --actor ann@example.com",
        "creditgate repair fork --account acme --reason 'failover of 12 May' \\",
        "    --actor ann@example.com",
    ),
)
@config_option
@account_option
@click.option("--dry-run", is_flag=True, help="Say what was lost, and change nothing.")
@reason_option
@actor_option
@json_option
@click.pass_context
def repair_fork(
    ctx: click.Context,
    config_path: Path,
    account_id: str,
    dry_run: bool,
    reason: str,
    actor: str,
    as_json: bool,
) -> None:
    """Bring ledger and archive together after Redis lost entries that were archived.

    The ledger's journal becomes the archive's. What only the archive had is kept beside it, and
    booked again in the ledger: grants, purchases and voids under their references, charges under
    their executions, each once. Then the account goes on. Other changes that were lost are named,
    for you to make again. Repeat it if it was broken off. Exit status 1 if something was not
    booked again.
    """
    from dataclasses import asdict

    from runtime.cli.archive import with_archive
    from runtime.cli.ledger import print_json

    async def ask(opened: OpenArchive) -> ForkRepair | None:
        from runtime.archive.repair_fork import ForkRepairer

        repairer = ForkRepairer(opened.ledger, opened.database)
        return await repairer.repair(account_id, reason=reason, actor=actor, dry_run=dry_run)

    done = with_archive(load(config_path), ask)
    if as_json:
        print_json(
            {"account_id": account_id, "forked": False}
            if done is None
            else {"forked": True, "dry_run": dry_run, **asdict(done)}
        )
    else:
        click.echo("\n".join(_fork_lines(account_id, done, dry_run=dry_run)))
    if done is not None and done.left:
        ctx.exit(_LEFT)


def _fork_lines(account_id: str, done: ForkRepair | None, *, dry_run: bool) -> list[str]:
    from runtime.wording.amounts import credits_text

    if done is None:
        return [f"Ledger and archive of account {account_id} agree; nothing was changed."]
    again = "Would be booked again" if dry_run else "Booked again"
    lines = [
        (
            f"Ledger and archive of account {account_id} agree up to entry {done.common_seq:,}; "
            f"{done.lost:,} archived entries after it were lost in Redis."
        ),
        (
            f"{again}: {done.grants:,} grants, {done.voids:,} voids, {done.charges:,} charges: "
            f"{credits_text(done.charged_mc)} credits, {credits_text(done.overage_mc)} of overage."
        ),
        *(f"Not booked again: {what}." for what in done.left),
    ]
    if done.seq is not None:
        lines.append(f"The account goes on from sequence {done.seq:,} of its journal.")
    return lines
