"""``creditgate cap``: limit what is charged in a day, in a month or in total."""

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
    """The options that name a cap: its window, and the charges that it counts."""
    for option in (
        click.option(
            "--source",
            type=click.Choice(["live", "test", "preview"]),
            help="Count only this source.",
        ),
        click.option("--action", metavar="ID", help="Count only this action."),
        click.option("--campaign", "campaign_id", metavar="ID", help="Count only this campaign."),
        click.option(
            "--workspace", "workspace_id", metavar="ID", help="Count only this workspace."
        ),
        click.option(
            "--window",
            type=click.Choice(["day", "month", "total"]),
            required=True,
            help="The period that the limit covers, by the account's time zone.",
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
    """Cap what an account, a workspace, a campaign, an action or a source is charged.

    Once a cap is reached, new executions get fallback values; running executions finish.
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
    help="The most credits to charge in one window, with up to three decimals.",
)
@click.option(
    "--used",
    "used_mc",
    type=Credits(least_mc=0),
    default="0",
    help="Credits to count as already charged in a new cap's window.",
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
    """Set a cap, or change the limit of an existing one.

    A cap counts the charges of executions that match every option given (workspace, campaign,
    action, source); with none of them, it counts the whole account. A new cap starts to count now;
    a changed one keeps its count.
    """
    from runtime.cli.ledger import with_ledger
    from runtime.wording.caps import cap_text

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
    """Remove the cap with exactly this window and these options, and forget its count."""
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
    """Show an account's caps and what counts towards each of them now.

    Excess is the amount above the limit. It comes from an answer that cost more than its quote, a
    charge that arrived late, or a limit that was lowered.
    """
    from runtime.cli.ledger import print_json, with_ledger
    from runtime.cli.views.caps import caps_lines
    from runtime.formats.accounts import caps_json

    caps = with_ledger(load(config_path), lambda ledger: ledger.accounts.caps(account_id))
    if as_json:
        print_json({"account_id": account_id, "caps": caps_json(caps)})
        return
    click.echo("\n".join(caps_lines(caps)))


def _cap(window: str, named: Mapping[str, str | None]) -> Cap:
    """Return the cap that the options name.

    Raises:
        ValueError: an id in it is not valid.
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
    from runtime.cli.views.caps import caps_lines
    from runtime.formats.accounts import caps_json
    from runtime.wording.accounts import repeated_text

    if as_json:
        print_json({"account_id": account_id, "new": new, "caps": caps_json(caps)})
        return
    click.echo(done if new else repeated_text(reference))
    click.echo("\n".join(caps_lines(caps)))
