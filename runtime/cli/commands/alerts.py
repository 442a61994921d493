"""``creditgate alerts``: what was sent to whom, a test, and sending again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.config_file import load
from runtime.cli.options import COMMAND_SETTINGS, config_option, examples, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.alerts.deliveries import Delivery
    from runtime.alerts.sender import AlertSender

_account_option = click.option(
    "--account", "account_id", metavar="ID", help="One account's. Without it, the operator's own."
)


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate alerts list --state dead",
        "creditgate alerts test --account acme",
    ),
)
def alerts() -> None:
    """List alerts that were sent or wait, send a test, and send again what was given up.

    Alerts are sent by creditgate serve: by email and webhook, to an account's contacts and
    destinations, or to the operator.
    """


@alerts.command(
    "list",
    epilog=examples(
        "creditgate alerts list --account acme",
        "creditgate alerts list --state dead --json",
    ),
)
@config_option
@click.option("--account", "account_id", metavar="ID", help="One account's. Without it, all.")
@click.option(
    "--state",
    type=click.Choice(["waiting", "delivered", "dead"]),
    help="Only those on their way, those that arrived, or those that were given up.",
)
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, help="The most to list.")
@click.option("--cursor", metavar="TEXT", help="Go on where a list ended.")
@json_option
def list_alerts(
    config_path: Path,
    account_id: str | None,
    state: str | None,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List deliveries of the last 90 days, the newest first."""
    from runtime.cli.alerts import with_sender

    async def listed(sender: AlertSender) -> tuple[list[Delivery], str | None]:
        return await sender.deliveries.listed(
            account_id, state=state, cursor=cursor, limit=limit, everybody=account_id is None
        )

    found, following = with_sender(load(config_path), listed)
    _show(found, following, as_json=as_json)


@alerts.command(
    "test",
    epilog=examples("creditgate alerts test", "creditgate alerts test --account acme"),
)
@config_option
@_account_option
@json_option
@click.pass_context
def send_test(ctx: click.Context, config_path: Path, account_id: str | None, as_json: bool) -> None:
    """Send a test wherever alerts of an account go, now, and show what came of it.

    Exits with 2 if one did not arrive, or nobody is there to be told.
    """
    from runtime.cli.alerts import send_now, with_sender

    async def test(sender: AlertSender) -> list[Delivery]:
        return await send_now(sender, await sender.test_all(account_id))

    found = with_sender(load(config_path), test)
    if not found and not as_json:
        click.echo("Nobody is there to be told: no contact, no destination.", err=True)
    else:
        _show(found, None, as_json=as_json)
    if not found or any(each.state != "delivered" for each in found):
        ctx.exit(2)


@alerts.command(
    "resend",
    epilog=examples("creditgate alerts resend msg_0f4c8a1b2d3e5f60718293a4b5c6d7e8"),
)
@config_option
@click.argument("delivery_id", metavar="DELIVERY")
@json_option
@click.pass_context
def resend(ctx: click.Context, config_path: Path, delivery_id: str, as_json: bool) -> None:
    """Send a delivery again that arrived or was given up, now, and show what came of it.

    Exits with 2 if it did not arrive; it is tried again as at first.
    """
    from runtime.cli.alerts import send_now, with_sender

    async def send(sender: AlertSender) -> list[Delivery]:
        await sender.deliveries.resend(await sender.deliveries.find(delivery_id))
        return await send_now(sender, [delivery_id])

    found = with_sender(load(config_path), send)
    _show(found, None, as_json=as_json)
    if any(each.state != "delivered" for each in found):
        ctx.exit(2)


def _show(found: Sequence[Delivery], following: str | None, *, as_json: bool) -> None:
    from runtime.alerts.events import instant_text
    from runtime.cli.ledger import print_json
    from runtime.cli.views.table import table

    if as_json:
        print_json({"deliveries": [_json(each) for each in found], "next_cursor": following})
        return
    if not found:
        click.echo("No alerts.")
        return
    rows = [("delivery", "at", "account", "event", "to", "state", "attempts")]
    rows += [
        (
            each.delivery_id,
            instant_text(each.created_ms)[:16] + "Z",
            each.account_id or "-",
            each.event,
            each.target or "nobody",
            each.state,
            str(each.attempts),
        )
        for each in found
    ]
    click.echo("\n".join(table(rows, right=(6,))))
    for each in found:
        if each.fault:
            click.echo(f"  {each.delivery_id}: {each.fault}")
    if following:
        click.echo(f"More: --cursor {following}")


def _json(each: Delivery) -> dict[str, Any]:
    import json

    from runtime.alerts.events import instant_text

    ended = None if each.ended_ms is None else instant_text(each.ended_ms)
    return {
        "delivery_id": each.delivery_id,
        "account_id": each.account_id,
        "kind": each.kind,
        "target": each.target,
        "event": each.event,
        "subject": json.loads(each.body)["data"]["subject"],
        "state": each.state,
        "attempts": each.attempts,
        "created_at": instant_text(each.created_ms),
        "next_at": instant_text(each.next_ms) if each.state == "waiting" else None,
        "ended_at": ended,
        "fault": each.fault,
    }
