"""``creditgate migrate``: take the data of an earlier release to the schema of this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import BadInput, config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.config import Config
    from runtime.credits.ledger import CreditLedger
    from runtime.credits.migration import Schemas, Upgrade
    from runtime.processes.running import Running
    from runtime.redis.primaries import Client

_MOST_SHOWN = 20
_PROGRESS_EVERY_S = 1.0


@click.command(
    epilog=examples(
        "creditgate migrate",
        "creditgate migrate --json | jq .older_accounts",
        "creditgate migrate --finish",
    )
)
@config_option
@click.option("--finish", is_flag=True, help="Upgrade the installation and all its accounts.")
@click.option("--force", is_flag=True, help="Finish although older processes still run.")
@json_option
@click.pass_context
def migrate(
    ctx: click.Context, config_path: Path, finish: bool, force: bool, as_json: bool
) -> None:
    """Show which accounts an earlier release wrote, and upgrade them with --finish.

    Processes of this release and of the one before can run side by side on one Redis: until
    --finish, this one writes what the other reads. There is no way back from --finish: the earlier
    release then refuses the accounts, and what it could not charge waits in its spool for a process
    of this release. It goes account by account while processes run, and does no harm when it is
    stopped: start it again. The exit status is 2 if an account could not be upgraded.
    """
    from runtime.cli.ledger import run_async

    if run_async(_migrate(load(config_path), finish=finish, force=force, as_json=as_json)):
        ctx.exit(BadInput.exit_code)


async def _migrate(config: Config, *, finish: bool, force: bool, as_json: bool) -> bool:
    """Show, and finish if that is wanted; return whether something could not be upgraded."""
    from runtime.cli.ledger import print_json
    from runtime.ledger_opening import connected, open_ledger

    async with connected(config, None) as client, open_ledger(config, redis=client) as ledger:
        schemas = await ledger.migration.look()
        running, older = await _processes(config, client)
        if finish and older and not force:
            raise BadInput(
                f"{_processes_text(older)} an earlier release, which would refuse the accounts: "
                "stop or upgrade them first, or add --force"
            )
        upgrade = await _finish(ledger) if finish else None
    if as_json:
        print_json(_to_json(schemas, running, older, upgrade))
    else:
        click.echo("\n".join(_lines(schemas, running, older, upgrade)))
    return bool(upgrade.left if upgrade else schemas.unreadable)


async def _processes(config: Config, client: Client) -> tuple[list[Running], list[Running]]:
    """Return the processes that run, and those of them that can't read the newest schema."""
    from runtime.credits.schema import FIRST, NEWEST
    from runtime.processes.running import exchange, exchange_schemas
    from runtime.redis.keys import Keys

    keys, timeout_s = Keys(config.redis.key_prefix), config.redis.timeout_ms / 1000
    running = await exchange(client, keys, timeout_s)
    schemas = await exchange_schemas(client, keys, timeout_s)
    older = [one for one in running if schemas.get(one.process, FIRST) < NEWEST]
    return running, older


async def _finish(ledger: CreditLedger) -> Upgrade:
    import time

    from runtime.cli.interruption import Interruption
    from runtime.credits.migration import Upgrade
    from runtime.redis.keys import BUCKETS

    upgrade, told_s = Upgrade(), time.monotonic()
    with Interruption():
        async for upgrade in ledger.migration.finish():
            if time.monotonic() - told_s >= _PROGRESS_EVERY_S:
                told_s = time.monotonic()
                click.echo(
                    f"{upgrade.upgraded:,} accounts upgraded, {upgrade.buckets:,} of {BUCKETS:,} "
                    "buckets",
                    err=True,
                )
    return upgrade


def _lines(
    schemas: Schemas, running: list[Running], older: list[Running], upgrade: Upgrade | None
) -> list[str]:
    from runtime.credits.schema import NEWEST

    if upgrade is not None:
        found = [f"Schema {NEWEST}: {_count(upgrade.upgraded, 'account')} upgraded."]
        if upgrade.left:
            found.append(f"{_count(len(upgrade.left), 'account')} could not be upgraded:")
        return [*found, *_named(upgrade.left)]
    found = [f"The installation has schema {schemas.installation}; this release reads {NEWEST}."]
    found += [
        f"  schema {schema}: {_count(number, 'account')}"
        for schema, number in sorted(schemas.accounts.items())
    ]
    found += _named(dict.fromkeys(schemas.older, "has an earlier schema"))
    found += _named(schemas.unreadable)
    if older:
        found.append(f"{_processes_text(older)} an earlier release.")
    elif running:
        found.append(f"{_count(len(running), 'process', 'processes')} run, all of this release.")
    if schemas.installation < NEWEST or schemas.older:
        found.append(
            f"Once no process of an earlier release runs, creditgate migrate --finish takes them "
            f"to schema {NEWEST}."
        )
    return found


def _named(reasons: dict[str, str]) -> list[str]:
    shown = [f"  {name}: {why}" for name, why in list(reasons.items())[:_MOST_SHOWN]]
    more = len(reasons) - len(shown)
    return [*shown, f"  ... and {more:,} more; all of them: --json"] if more else shown


def _processes_text(older: list[Running]) -> str:
    hosts = sorted({one.host for one in older})
    run = "runs" if len(older) == 1 else "run"
    return f"{_count(len(older), 'process', 'processes')} (on {', '.join(hosts[:3])}) {run}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _to_json(
    schemas: Schemas, running: list[Running], older: list[Running], upgrade: Upgrade | None
) -> dict[str, Any]:
    from runtime.credits.schema import NEWEST

    found: dict[str, Any] = {
        "schema": schemas.installation,
        "newest": NEWEST,
        "accounts": {str(schema): number for schema, number in sorted(schemas.accounts.items())},
        "older_accounts": schemas.older,
        "unreadable": schemas.unreadable,
        "processes": {"running": len(running), "older": len(older)},
        "finished": upgrade is not None,
    }
    if upgrade is not None:
        found |= {"upgraded": upgrade.upgraded, "left": upgrade.left}
    return found
