"""``creditgate audit``: check the books, by replaying the journal of each account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import PATH, config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.archive.audit import Audit
    from runtime.config import Config

_DIFFERS = 1


@click.command(
    epilog=examples(
        "creditgate audit",
        "creditgate audit --account acme --json",
        "creditgate audit --told /srv/worker-2/told --told /srv/worker-3/told",
    )
)
@config_option
@click.option("--account", "account_id", metavar="ID", help="One account; without it, all.")
@click.option(
    "--told",
    "folders",
    type=PATH,
    multiple=True,
    metavar="DIR",
    help="One more folder with what processes were told: data_dir/told of another machine.",
)
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    config_path: Path,
    account_id: str | None,
    folders: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Replay every journal, and compare what it adds up to with the ledger.

    Entries are read from the archive, and those that are not archived yet from Redis. Every chain
    is computed anew, and every part of every grant compared, to the millicredit. So is what the
    processes were told: an entry that was acknowledged and is not there is named by account and
    sequence. Nothing is changed. Exit status 1 if the books do not balance.
    """
    from runtime.cli.ledger import print_json, run_async
    from runtime.cli.options import BadInput

    config = load(config_path)
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"--told: there is no folder {click.format_filename(folder)}")
    found = run_async(_audit(config, account_id, [config.data_dir / "told", *folders]))
    if as_json:
        print_json(_to_json(found))
    else:
        click.echo("\n".join(_lines(found)))
    if not found.balances:
        ctx.exit(_DIFFERS)


async def _audit(config: Config, account_id: str | None, folders: list[Path]) -> Audit:
    from runtime.archive.audit import Auditor
    from runtime.archive.opening import open_archive_if_any
    from runtime.cli.failures import refusals
    from runtime.credits.told import read_told
    from runtime.ledger_opening import open_ledger

    progress = _Progress()
    async with (
        open_ledger(config, may_be_lost=True) as ledger,
        open_archive_if_any(config, ledger.key_check) as database,
    ):
        told = read_told(folders, config.redis.key_prefix)
        auditor = Auditor(ledger.inspection, database, told, progress.add)
        with refusals():
            account_ids = await auditor.accounts() if account_id is None else [account_id]
            found = await auditor.audit(account_ids)
    progress.end()
    return found


class _Progress:
    """Says on stderr how many entries were replayed, every few seconds."""

    _EVERY_S = 5.0

    def __init__(self) -> None:
        import time

        self._clock = time.monotonic
        self._entries = 0
        self._said = 0
        self._next_s = self._clock() + self._EVERY_S

    def add(self, entries: int) -> None:
        self._entries += entries
        if self._clock() >= self._next_s:
            self.end()
            self._next_s = self._clock() + self._EVERY_S

    def end(self) -> None:
        if self._entries > self._said:
            self._said = self._entries
            click.echo(f"{self._entries:,} entries replayed", err=True)


def _lines(found: Audit) -> list[str]:
    lines = [f"Damaged, and left out: {what}" for what in found.damaged_told]
    if found.balances:
        lines.append(
            f"The books balance: {found.accounts:,} account{'s' * (found.accounts != 1)}, "
            f"{found.entries:,} entries replayed ({found.rate:,.0f} a second)."
        )
        return lines
    for difference in found.differences:
        at = "" if difference.seq is None else f", entry {difference.seq}"
        lines.append(f"Account {difference.account_id}{at}: {difference.what}.")
    for lost in found.lost:
        one = lost.count == 1
        span = f"{lost.first_seq}" if one else f"{lost.first_seq} to {lost.last_seq}"
        lines.append(
            f"Account {lost.account_id}: {lost.count:,} {'entry' if one else 'entries'} of epoch "
            f"{lost.epoch} that a process was told of {'is' if one else 'are'} lost: {span}."
        )
    lines.append(
        f"The books do not balance: {found.accounts:,} account{'s' * (found.accounts != 1)}, "
        f"{found.entries:,} entries replayed ({found.rate:,.0f} a second)."
    )
    return lines


def _to_json(found: Audit) -> dict[str, Any]:
    return {
        "balances": found.balances,
        "accounts": found.accounts,
        "entries": found.entries,
        "entries_per_s": round(found.rate),
        "differences": [
            {"account_id": one.account_id, "seq": one.seq, "what": one.what}
            for one in found.differences
        ],
        "lost": [
            {
                "account_id": one.account_id,
                "epoch": one.epoch,
                "first_seq": one.first_seq,
                "last_seq": one.last_seq,
                "entries": one.count,
            }
            for one in found.lost
        ],
        "told_files": found.told_files,
        "damaged_told": found.damaged_told,
    }
