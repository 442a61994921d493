"""``creditgate archive``: copy the journal of every account into the archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.archive.copier import Archived
    from runtime.cli.archive import OpenArchive

_LONGEST_PAUSE_S = 86_400


@click.command(
    epilog=examples(
        "creditgate archive",
        "creditgate archive --every 5",
        "creditgate archive --json",
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
@json_option
def archive(config_path: Path, pause_s: int | None, as_json: bool) -> None:
    """Copy what is new in every account's journal into the archive, and trim it in Redis.

    Nothing is trimmed before it is committed. Several at a time do no harm. The exit status is 2
    if an account had to stay behind.
    """
    from runtime.cli.archive import with_archive

    with_archive(load(config_path), lambda opened: _archive(opened, pause_s, as_json=as_json))


async def _archive(opened: OpenArchive, pause_s: int | None, *, as_json: bool) -> None:
    _show(await opened.copier.run_once(), as_json=as_json)


def _show(archived: Archived, *, as_json: bool) -> None:
    from dataclasses import asdict

    from runtime.cli.ledger import print_json

    if as_json:
        print_json(asdict(archived))
        return
    click.echo(f"Archived {archived.entries:,} entries of {archived.accounts:,} accounts.")
