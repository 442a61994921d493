"""``creditgate rebuild``: make accounts in Redis again from the archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    BadInput,
    actor_option,
    config_option,
    examples,
    json_option,
    reason_option,
)

if TYPE_CHECKING:
    from runtime.archive.rebuild import Rebuilt, RebuiltAll
    from runtime.cli.archive import OpenArchive

_LEFT = 1


@click.command(
    epilog=examples(
        "creditgate rebuild --all --dry-run --reason 'redis-1 lost its disk' --actor ann",
        "creditgate rebuild --all --reason 'redis-1 lost its disk' --actor ann@example.com",
        "creditgate rebuild --account acme --reason 'a damaged key' --actor ann@example.com",
    )
)
@config_option
@click.option("--account", "account_id", metavar="ID", help="One account.")
@click.option("--all", "all_accounts", is_flag=True, help="All accounts that Redis has not.")
@click.option("--dry-run", is_flag=True, help="Say what would be restored, and write nothing.")
@reason_option
@actor_option
@json_option
@click.pass_context
def rebuild(
    ctx: click.Context,
    config_path: Path,
    account_id: str | None,
    all_accounts: bool,
    dry_run: bool,
    reason: str,
    actor: str,
    as_json: bool,
) -> None:
    """Make accounts again from the archive, after Redis lost them.

    Balances, grants, references, caps and switches come back as the last archived entry left them,
    and so do the ids of recent executions: none is charged twice, but their values are lost. What
    was booked after that entry is lost, and what was reserved is free again. An account that Redis
    has is not touched. Repeat it if it was broken off. Exit status 1 if an account could not be
    made again.
    """
    from runtime.cli.archive import with_archive
    from runtime.cli.ledger import print_json

    if (account_id is None) != all_accounts:
        raise BadInput("name one account with --account ID, or all with --all")

    async def ask(opened: OpenArchive) -> RebuiltAll:
        from runtime.archive.rebuild import Rebuilder, RebuiltAll

        rebuilder = Rebuilder(opened.ledger, opened.database)
        if account_id is None:
            return await rebuilder.rebuild_all(reason=reason, actor=actor, dry_run=dry_run)
        one = await rebuilder.rebuild(account_id, reason=reason, actor=actor, dry_run=dry_run)
        return RebuiltAll([one])

    found = with_archive(load(config_path), ask, may_be_lost=True)
    if as_json:
        print_json(_to_json(found, dry_run=dry_run))
    else:
        click.echo("\n".join(_lines(found, dry_run=dry_run)))
    if found.left:
        ctx.exit(_LEFT)


def _lines(found: RebuiltAll, *, dry_run: bool) -> list[str]:
    lines = [_line(one, dry_run=dry_run) for one in found.rebuilt]
    lines += [f"Not restored: {why}" for why in found.left.values()]
    if found.there:
        lines.append(
            f"{found.there:,} account{'s are' if found.there != 1 else ' is'} in Redis, and not "
            "touched."
        )
    return lines or ["The archive has no accounts."]


def _line(one: Rebuilt, *, dry_run: bool) -> str:
    from runtime.wording.amounts import credits_text

    restored = "would be restored" if dry_run else "is restored"
    at = _instant(one.archived_ms)
    # Outcomes are read as they are written.
    outcomes = "" if dry_run else f", {one.outcomes:,} recent outcomes"
    return (
        f"Account {one.account_id} {restored} up to entry {one.archived_seq:,} of {at}; nothing "
        f"that was booked after it is known. {credits_text(one.left_mc)} credits left, "
        f"{one.grants:,} grants, {one.references:,} references{outcomes}."
    )


def _instant(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _to_json(found: RebuiltAll, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "rebuilt": [
            {
                "account_id": one.account_id,
                "archived_seq": one.archived_seq,
                "archived_at": _instant(one.archived_ms),
                "journal_seq": one.seq,
                "left_mc": one.left_mc,
                "grants": one.grants,
                "references": one.references,
                "outcomes": one.outcomes,
            }
            for one in found.rebuilt
        ],
        "there": found.there,
        "left": found.left,
    }
