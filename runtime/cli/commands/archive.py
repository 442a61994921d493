"""``creditgate archive``: copy the journal of every account into the archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.archive.copier import Archived
    from runtime.archive.lag import Lag
    from runtime.cli.archive import OpenArchive

_LONGEST_PAUSE_S = 86_400
_TELL_EVERY_S = 2.0
_MOST_TOLD = 20


@click.command(
    epilog=examples(
        "creditgate archive",
        "creditgate archive --every 5",
        "creditgate archive --status --json",
    )
)
@config_option
@click.option(
    "--every",
    "pause_s",
    type=click.IntRange(1, _LONGEST_PAUSE_S),
    metavar="SECONDS",
    help="Archive again after so many seconds, until Ctrl-C or SIGTERM. Without it, archive once.",
)
@click.option("--status", "only_status", is_flag=True, help="Archive nothing; tell the lag.")
@json_option
@click.pass_context
def archive(
    ctx: click.Context, config_path: Path, pause_s: int | None, only_status: bool, as_json: bool
) -> None:
    """Copy what is new in every account's journal into the archive, and trim it in Redis.

    Nothing is trimmed before it is committed. Several at a time do no harm. The exit status is 2
    if an account stays behind; the others are archived all the same.
    """
    from runtime.cli.archive import archive_forever, read_status, with_archive

    if only_status and pause_s is not None:
        raise click.UsageError("--status and --every can't be used together")
    config = load(config_path)
    if only_status:
        status = read_status(config)
        found = {
            "lag": _lag_json(status.lag),
            "forked": list(status.forked),
            "fault": status.fault or None,
        }
        _print(found, _lag_lines(status.lag, status.forked, status.fault), as_json=as_json)
        if status.fault or status.forked:
            ctx.exit(2)
        return
    if pause_s is not None:
        archive_forever(
            config,
            pause_s,
            lambda archived: _show_news(archived, as_json=as_json),
            on_progress=_told_now_and_then(),
            on_fault=lambda fault: click.echo(f"warning: nothing is archived: {fault}", err=True),
        )
        return

    async def once(opened: OpenArchive) -> tuple[Archived, Lag]:
        archived = await opened.copier.run_once(_told_now_and_then())
        archived.left.update(await _missing(opened))
        return archived, await opened.copier.lag()

    archived, lag = with_archive(config, once)
    _show(archived, lag, as_json=as_json)
    if archived.left:
        ctx.exit(2)


async def _missing(opened: OpenArchive) -> dict[str, str]:
    """Return the accounts that the archive has and Redis has not, each with what to do."""
    from runtime.archive.entries import archived_accounts

    known = set(await opened.ledger.inspection.accounts())
    return {
        account_id: f"Redis has no such account: creditgate rebuild --account {account_id}"
        for account_id in await archived_accounts(opened.database)
        if account_id not in known
    }


def _told_now_and_then() -> Callable[[Archived], None]:
    """Return what tells of a long round's progress on stderr."""
    import time

    told_s, last = time.monotonic(), None

    def tell(archived: Archived) -> None:
        nonlocal told_s, last
        if archived is not last:
            told_s, last = time.monotonic(), archived
        if time.monotonic() - told_s >= _TELL_EVERY_S:
            told_s = time.monotonic()
            click.echo(f"{archived.entries:,} entries archived ...", err=True)

    return tell


def _show_news(archived: Archived, *, as_json: bool) -> None:
    """Show one round of many, unless nothing was new."""
    if archived.entries or archived.left:
        _show(archived, None, as_json=as_json)


def _show(archived: Archived, lag: Lag | None, *, as_json: bool) -> None:
    found: dict[str, Any] = {
        "accounts": archived.accounts,
        "entries": archived.entries,
        "left": [{"name": name, "why": why} for name, why in sorted(archived.left.items())],
    }
    accounts = f"{archived.accounts:,} account{'s' * (archived.accounts != 1)}"
    entries = f"{archived.entries:,} {'entry' if archived.entries == 1 else 'entries'}"
    lines = [f"Archived {entries} of {accounts}."]
    lines += [f"  {name}: {why}" for name, why in sorted(archived.left.items())[:_MOST_TOLD]]
    if len(archived.left) > _MOST_TOLD:
        lines.append(f"  ... and {len(archived.left) - _MOST_TOLD:,} more that stay behind")
    if lag is not None:
        found["lag"] = _lag_json(lag)
        lines += _lag_lines(lag, (), "")
    _print(found, lines, as_json=as_json)


def _lag_json(lag: Lag) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "entries": lag.entries,
        "seconds": round(lag.seconds, 3),
        "accounts": [asdict(account) for account in lag.accounts],
    }


def _lag_lines(lag: Lag, forked: tuple[str, ...], fault: str) -> list[str]:
    from runtime.cli.views.table import table

    if lag.accounts:
        lines = [f"Behind by {lag.entries:,} entries; the oldest waits for {lag.seconds:,.0f} s."]
        rows = [("account", "entries", "waits for")]
        rows += [
            (
                one.account_id,
                "?" if one.entries is None else f"{one.entries:,}",
                f"{one.seconds:,.0f} s",
            )
            for one in lag.accounts[:_MOST_TOLD]
        ]
        lines += table(rows, right=(1, 2))
        if len(lag.accounts) > _MOST_TOLD:
            lines.append(f"  ... and {len(lag.accounts) - _MOST_TOLD:,} more")
    else:
        lines = ["Nothing waits to be archived."]
    lines += [
        f"Account {account_id} has forked: creditgate repair fork --account {account_id}"
        for account_id in forked
    ]
    if fault:
        lines.append(f"The archive can't be used: {fault}")
    return lines


def _print(found: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    from runtime.cli.ledger import print_json

    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(lines))
