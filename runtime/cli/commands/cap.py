"""``creditgate cap``: limits on what may be charged in a day, a month or in total."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    COMMAND_SETTINGS,
    Credits,
    account_option,
    actor_option,
    config_option,
    examples,
    json_option,
    reference_option,
)

if TYPE_CHECKING:
    from runtime.credits.caps import Cap, CapStatus
    from runtime.credits.ledger import CreditLedger

_F = TypeVar("_F", bound=Callable[..., Any])


def _cap_options(function: _F) -> _F:
    """The options that name a cap: its window, and whose charges it counts."""
    for option in (
        click.option(
            "--source",
            type=click.Choice(["live", "test", "preview"]),
            help="Count this source only.",
        ),
        click.option("--action", metavar="ID", help="Count this action only."),
        click.option("--campaign", "campaign_id", metavar="ID", help="Count this campaign only."),
        click.option(
            "--workspace", "workspace_id", metavar="ID", help="Count this workspace only."
        ),
        click.option(
            "--window",
            type=click.Choice(["day", "month", "total"]),
            required=True,
            help="What is counted together: a UTC day, a UTC month, or everything.",
        ),
    ):
        function = option(function)
    return function


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate cap set --account acme --window day --limit 20000 --reference cap-1",
        "creditgate cap list --account acme",
    ),
)
def cap() -> None:
    """Limit what workspaces, campaigns, actions or sources may charge.

    Where a cap is reached, new executions get their fallback values; those that run are answered.
    """


@cap.command(
    "set",
    epilog=examples(
        "creditgate cap set --account acme --window day --limit 20000 --reference cap-1",
        "creditgate cap set --account acme --window month --limit 5000 --workspace retail \\",
        "    --source preview --reference cap-2",
    ),
)
@config_option
@account_option
@_cap_options
@click.option(
    "--limit",
    "limit_mc",
    type=Credits(least_mc=0),
    required=True,
    help="The most credits that are charged in a window, with up to three decimals.",
)
@click.option(
    "--used",
    "used_mc",
    type=Credits(least_mc=0),
    default="0",
    help="The credits that a new cap's window holds already.",
)
@reference_option
@actor_option
@json_option
def set_cap(
    config_path: Path,
    account_id: str,
    window: str,
    limit_mc: int,
    used_mc: int,
    reference: str,
    actor: str,
    as_json: bool,
    **named: str | None,
) -> None:
    """Set a cap, or change the limit of one.

    A cap counts what is charged within its window by executions of the workspace, campaign,
    action and source that are given; without any, by all of the account. A new one counts from now
    on, a changed one keeps its count.
    """
    from runtime.cli.ledger import with_ledger
    from runtime.wording.limits import cap_text

    async def ask(ledger: CreditLedger) -> tuple[str, bool, tuple[CapStatus, ...]]:
        capped = _cap(window, named)
        new = await ledger.accounts.set_cap(
            account_id,
            capped,
            limit_mc=limit_mc,
            used_mc=used_mc,
            reference=reference,
            actor=actor,
        )
        return cap_text(capped, limit_mc), new, await ledger.accounts.caps(account_id)

    text, new, caps = with_ledger(load(config_path), ask)
    _show(account_id, reference, f"The cap is set: {text}.", new, caps, as_json=as_json)


@cap.command(
    "remove",
    epilog=examples(
        "creditgate cap remove --account acme --window day --reference cap-1-ends",
        "creditgate cap remove --account acme --window month --workspace retail \\",
        "    --source preview --reference cap-2-ends",
    ),
)
@config_option
@account_option
@_cap_options
@reference_option
@actor_option
@json_option
def remove_cap(
    config_path: Path,
    account_id: str,
    window: str,
    reference: str,
    actor: str,
    as_json: bool,
    **named: str | None,
) -> None:
    """Remove the cap of this window that names exactly what is given. Its count is forgotten."""
    from runtime.cli.ledger import with_ledger

    async def ask(ledger: CreditLedger) -> tuple[bool, tuple[CapStatus, ...]]:
        new = await ledger.accounts.remove_cap(
            account_id, _cap(window, named), reference=reference, actor=actor
        )
        return new, await ledger.accounts.caps(account_id)

    new, caps = with_ledger(load(config_path), ask)
    _show(account_id, reference, "The cap is removed.", new, caps, as_json=as_json)


@cap.command("list", epilog=examples("creditgate cap list --account acme"))
@config_option
@account_option
@json_option
def list_caps(config_path: Path, account_id: str, as_json: bool) -> None:
    """Show an account's caps, and what their windows hold now.

    Excess is what stands above the limit: a bill above its quote, one that came late, or a limit
    that was lowered.
    """
    from runtime.cli.ledger import print_json, with_ledger
    from runtime.cli.views.caps import caps_json, caps_lines

    caps = with_ledger(load(config_path), lambda ledger: ledger.accounts.caps(account_id))
    if as_json:
        print_json({"account_id": account_id, "caps": caps_json(caps)})
        return
    click.echo("\n".join(caps_lines(caps)))


def _cap(window: str, named: Mapping[str, str | None]) -> Cap:
    """Return the cap that the options name.

    Raises:
        ValueError: it can't be one.
    """
    from runtime.credits.caps import Cap, CapWindow

    return Cap(CapWindow(window), **named)


def _show(
    account_id: str,
    reference: str,
    done: str,
    new: bool,
    caps: tuple[CapStatus, ...],
    *,
    as_json: bool,
) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.caps import caps_json, caps_lines
    from runtime.wording.accounts import repeated_text

    if as_json:
        print_json({"account_id": account_id, "new": new, "caps": caps_json(caps)})
        return
    click.echo(done if new else repeated_text(reference))
    click.echo("\n".join(caps_lines(caps)))
