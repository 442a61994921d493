"""``creditgate account``: open, switch, move and close accounts."""

from __future__ import annotations

from dataclasses import asdict
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
    reference_option,
)

if TYPE_CHECKING:
    from datetime import date

    from runtime.credits.ledger import CreditLedger
    from runtime.credits.results import Balance, Switched

_id_argument = click.argument("account_id", metavar="ID")
_plan_option = click.option("--plan", required=True, help="A plan of the config.")
_paying_since_option = click.option(
    "--paying-since",
    type=click.DateTime(formats=["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="The first paid day; it decides which offers apply.  [default: today]",
)


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate account open acme --plan growth",
        "creditgate account switch acme off --workspace retail --reference incident-12",
    ),
)
def account() -> None:
    """Open accounts, change their plans, switch them off, and close them."""


@account.command(
    "open",
    epilog=examples(
        "creditgate account open acme --plan growth",
        "creditgate account open acme --plan growth --timezone Europe/Berlin",
        "creditgate account open acme --plan growth --paying-since 2026-03-01",
    ),
)
@_id_argument
@config_option
@_plan_option
@click.option(
    "--timezone",
    default="UTC",
    metavar="NAME",
    help="The account's IANA time zone, by which its offers expire.",
)
@_paying_since_option
@actor_option
@json_option
def open_account(
    account_id: str,
    config_path: Path,
    plan: str,
    timezone: str,
    paying_since: object,
    actor: str,
    as_json: bool,
) -> None:
    """Open an account and grant the offers that it is entitled to.

    ID is 1 to 64 characters from A-Z a-z 0-9 _ . -. Opening an account again changes nothing.
    """
    from runtime.cli.ledger import with_ledger

    async def ask(ledger: CreditLedger) -> tuple[bool, Balance]:
        opened = await ledger.accounts.open_account(
            account_id, plan=plan, timezone=timezone, paying_since=_day(paying_since), actor=actor
        )
        return opened, await ledger.accounts.balance(account_id)

    opened, balance = with_ledger(load(config_path), ask)
    known = (
        "was already open"
        if balance.state == "open"
        else f"is {balance.state} and can't be opened again"
    )
    done = f"{account_id} is open." if opened else f"{account_id} {known}."
    _show(done, opened, balance, as_json=as_json)


@account.command(
    "plan",
    epilog=examples(
        "creditgate account plan acme --plan enterprise --reference upgrade-2026-06",
        "creditgate account plan acme --plan growth --paying-since 2026-06-01 \\",
        "    --reference trial-ended",
    ),
)
@_id_argument
@config_option
@_plan_option
@_paying_since_option
@reference_option
@actor_option
@json_option
def change_plan(
    account_id: str,
    config_path: Path,
    plan: str,
    paying_since: object,
    reference: str,
    actor: str,
    as_json: bool,
) -> None:
    """Change an account's plan.

    On a plan without AI credits, new executions get fallback values. The account keeps its credits,
    and they expire as before. On a plan with AI credits, the account is granted the offers that it
    is entitled to.
    """
    from runtime.cli.ledger import with_ledger
    from runtime.wording.accounts import repeated_text

    async def ask(ledger: CreditLedger) -> tuple[bool, Balance]:
        changed = await ledger.accounts.change_plan(
            account_id,
            plan=plan,
            reference=reference,
            paying_since=_day(paying_since),
            actor=actor,
        )
        return changed, await ledger.accounts.balance(account_id)

    changed, balance = with_ledger(load(config_path), ask)
    done = f"{account_id} is on the {plan} plan." if changed else repeated_text(reference)
    _show(done, changed, balance, as_json=as_json)


@account.command(
    "timezone",
    epilog=examples(
        "creditgate account timezone acme --timezone Europe/Berlin --reference moved-2026-06",
    ),
)
@_id_argument
@config_option
@click.option("--timezone", required=True, metavar="ZONE", help="IANA time zone.")
@reference_option
@actor_option
@json_option
def change_timezone(
    account_id: str, config_path: Path, timezone: str, reference: str, actor: str, as_json: bool
) -> None:
    """Move an account to another time zone.

    Caps count by its days and months once the windows that have begun are over. Offers that are
    given from now on expire by it; credits that the account has expire as before.
    """
    from runtime.cli.ledger import with_ledger
    from runtime.wording.accounts import repeated_text

    async def ask(ledger: CreditLedger) -> tuple[bool, Balance]:
        changed = await ledger.accounts.change_timezone(
            account_id, timezone=timezone, reference=reference, actor=actor
        )
        return changed, await ledger.accounts.balance(account_id)

    changed, balance = with_ledger(load(config_path), ask)
    done = f"{account_id} is in the time zone {timezone}."
    _show(done if changed else repeated_text(reference), changed, balance, as_json=as_json)


@account.command(
    "close",
    epilog=examples(
        "creditgate account close acme --reference contract-ended-2026 \\",
        "    --reason 'the customer cancelled'",
    ),
)
@_id_argument
@config_option
@reference_option
@reason_option
@actor_option
@json_option
def close_account(
    account_id: str, config_path: Path, reference: str, reason: str, actor: str, as_json: bool
) -> None:
    """Close an account for good and take back its remaining credits.

    New executions get fallback values. Running executions can still be paid from what they have
    reserved. A closed account can't be opened again.
    """
    from runtime.cli.ledger import with_ledger

    async def ask(ledger: CreditLedger) -> tuple[bool, Balance]:
        closed = await ledger.accounts.close_account(
            account_id, reference=reference, reason=reason, actor=actor
        )
        return closed, await ledger.accounts.balance(account_id)

    closed, balance = with_ledger(load(config_path), ask)
    done = f"{account_id} is closed." if closed else f"{account_id} was already closed."
    _show(done, closed, balance, as_json=as_json)


@account.command(
    "switch",
    epilog=examples(
        "creditgate account switch acme off --reference incident-12",
        "creditgate account switch acme on --reference incident-12-over",
        "creditgate account switch acme off --workspace retail --reference incident-13",
        "creditgate account switch acme off --campaign welcome --reference incident-15",
        "creditgate account switch acme off --action route_message --reference incident-14",
    ),
)
@_id_argument
@click.argument("state", type=click.Choice(["off", "on"]))
@config_option
@click.option("--workspace", "workspace_id", metavar="ID", help="Switch only this workspace.")
@click.option("--campaign", "campaign_id", metavar="ID", help="Switch only this campaign.")
@click.option("--action", metavar="ID", help="Switch only this action.")
@reference_option
@actor_option
@json_option
def switch(  # noqa: PLR0913 - one for each option
    account_id: str,
    state: str,
    config_path: Path,
    workspace_id: str | None,
    campaign_id: str | None,
    action: str | None,
    reference: str,
    actor: str,
    as_json: bool,
) -> None:
    """Switch an account, a workspace, a campaign or an action off or on, effective at once.

    While it is off, executions get fallback values, which are not kept: the same ids can be asked
    again once it is on. No model is called for it later than a second after this command has
    ended. Calls that are under way finish; the command says what they may cost. Each switch stands
    alone: a workspace, campaign or action that was switched off stays off when the account is
    switched on.
    """
    from runtime.cli.ledger import print_json, with_ledger
    from runtime.wording.accounts import repeated_text
    from runtime.wording.caps import still_open_text, switched_off_text

    async def ask(ledger: CreditLedger) -> tuple[Switched, Balance]:
        switched = await ledger.accounts.switch(
            account_id,
            off=state == "off",
            workspace_id=workspace_id,
            campaign_id=campaign_id,
            action=action,
            reference=reference,
            actor=actor,
        )
        return switched, await ledger.accounts.balance(account_id)

    switched, balance = with_ledger(load(config_path), ask)
    if as_json:
        done = asdict(switched)
        print_json({"account_id": account_id, **done, "switched_off": balance.switched_off})
        return
    if not switched.new:
        click.echo(repeated_text(reference))
    click.echo(switched_off_text(balance.switched_off))
    if state == "off":
        click.echo(still_open_text(switched))


def _day(instant: object) -> date | None:
    from datetime import datetime

    return instant.date() if isinstance(instant, datetime) else None


def _show(done: str, new: bool, balance: Balance, *, as_json: bool) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.balance import balance_lines, grants_lines
    from runtime.formats.accounts import balance_json

    if as_json:
        print_json({"new": new, "balance": balance_json(balance)})
        return
    click.echo(done)
    click.echo("\n".join([*balance_lines(balance), "", *grants_lines(balance)]))
