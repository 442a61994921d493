"""``creditgate spool``: the endings that wait on disk, and those that could not be booked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    COMMAND_SETTINGS,
    actor_option,
    config_option,
    examples,
    json_option,
    reason_option,
)

if TYPE_CHECKING:
    from runtime.credits.ledger import CreditLedger
    from runtime.executions.spool import Replay
    from runtime.executions.spooled import Replayed, SpooledEnding


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate spool list",
        "creditgate spool replay",
        "creditgate spool retire 01799-ab12.json --reason 'a duplicate' --actor ann@example.com",
    ),
)
def spool() -> None:
    """List, replay or retire charges that wait on disk because Redis did not take them.

    They lie in the folder spool of the config's data_dir. What waits there is sent again every
    second by the processes that use the folder. What the ledger will never take by itself is dead.
    """


@spool.command(
    "list", epilog=examples("creditgate spool list", "creditgate spool list --json | jq .dead")
)
@config_option
@json_option
def list_spool(config_path: Path, as_json: bool) -> None:
    """List what waits and what is dead: its age, account and amount, and why it is dead.

    The values of answers are not shown.
    """
    from dataclasses import asdict

    from runtime.cli.ledger import print_json
    from runtime.executions.spooled import list_endings

    found = list_endings(_folder(config_path))
    if as_json:
        print_json(
            {
                "waiting": [asdict(ending) for ending in found if not ending.dead],
                "dead": [asdict(ending) for ending in found if ending.dead],
            }
        )
        return
    click.echo("\n".join(_lines(found)))


@spool.command(
    "replay",
    epilog=examples(
        "creditgate spool replay",
        "creditgate spool replay 01799000000000000000-ab12cd34.json --json",
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@config_option
@json_option
@click.pass_context
def replay_spool(
    ctx: click.Context, names: tuple[str, ...], config_path: Path, as_json: bool
) -> None:
    """Send what waits and what is dead to the ledger once more, or only the dead ones named.

    Each is charged at most once, however often it is sent. The exit status is 2 if something could
    not be booked.
    """
    from dataclasses import asdict

    from runtime.cli.ledger import print_json, with_ledger
    from runtime.executions.spool import Spool
    from runtime.executions.spooled import replay_dead

    config = load(config_path)
    folder = _folder(config_path)

    async def ask(ledger: CreditLedger) -> tuple[Replay | None, list[Replayed]]:
        waiting = None
        if not names:
            max_age_ms = config.executions.spool_max_age_hours * 3_600_000
            waiting = await Spool(folder, max_age_ms).replay(ledger)
        return waiting, await replay_dead(folder, ledger, names)

    waiting, dead = with_ledger(config, ask)
    booked = sum(each.booked for each in dead) + (waiting.done if waiting else 0)
    left = waiting.left if waiting else 0
    still_dead = [each for each in dead if not each.booked]
    if as_json:
        print_json({"booked": booked, "waiting": left, "dead": [asdict(each) for each in dead]})
    else:
        click.echo(f"Booked: {booked}. Still waiting: {left}. Dead: {len(still_dead)}.")
        for each in still_dead:
            click.echo(f"  {each.name}: {each.why}")
    if left or still_dead:
        ctx.exit(2)


@spool.command(
    "retire",
    epilog=examples(
        "creditgate spool retire 01799000000000000000-ab12cd34.json \\",
        "    --reason 'paid by invoice 31' --actor ann@example.com",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@config_option
@reason_option
@actor_option
@json_option
def retire_spool(
    names: tuple[str, ...], config_path: Path, reason: str, actor: str, as_json: bool
) -> None:
    """Give dead endings up for good: nobody is charged for them, and their files are deleted.

    A line in spool/retired.log keeps account, amount, actor and reason.
    """
    from dataclasses import asdict

    from runtime.cli.failures import refusals
    from runtime.cli.ledger import print_json
    from runtime.executions.spooled import retire

    folder = _folder(config_path)
    with refusals():
        retired = retire(folder, names, reason=reason, actor=actor)
    if as_json:
        print_json({"retired": [asdict(ending) for ending in retired]})
        return
    click.echo(f"Retired: {len(retired)}. spool/retired.log has a line for each.")


def _folder(config_path: Path) -> Path:
    """Return the configured spool folder, which nobody else can write to.

    Raises:
        NotPrivate: somebody else can.
    """
    from runtime.files.private import check_data_folders

    data_dir = load(config_path).data_dir
    check_data_folders(data_dir)
    return data_dir / "spool"


def _lines(found: Sequence[SpooledEnding]) -> Iterator[str]:
    from runtime.cli.views.table import table
    from runtime.wording.amounts import credits_text

    if not found:
        yield "The spool is empty."
        return
    rows = [("name", "age", "account", "kind", "credits", "state")]
    for ending in found:
        credits_of = "?" if ending.cost_mc is None else credits_text(ending.cost_mc)
        rows.append(
            (
                ending.name,
                "?" if ending.age_s is None else _age(ending.age_s),
                ending.account_id or "?",
                ending.kind or "?",
                credits_of,
                f"dead: {ending.why}" if ending.dead else "waiting",
            )
        )
    yield from table(rows, right=(4,))


def _age(seconds: int) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds // length_s} {unit}"
    return f"{seconds} s"
