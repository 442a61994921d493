"""``creditgate payments``: list payments, look at one, and go on with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli.config_file import load
from runtime.cli.options import COMMAND_SETTINGS, BadInput, config_option, examples, json_option

if TYPE_CHECKING:
    from runtime.config import Config
    from runtime.payments.payment import Payment
    from runtime.payments.payments import Payments

_T = TypeVar("_T")
_MOST = 1_000
_ID = click.argument("payment_id", metavar="PAYMENT")


@click.group(
    context_settings=COMMAND_SETTINGS,
    epilog=examples(
        "creditgate payments list --account acme",
        "creditgate payments retry pm0123456789abcdef0123",
    ),
)
def payments() -> None:
    """List payments through Stripe, and go on with one that waits.

    Payments are made by checkouts and automatic top-ups of `creditgate serve`.
    """


@payments.command(
    "list",
    epilog=examples(
        "creditgate payments list",
        "creditgate payments list --account acme --limit 500 --json",
    ),
)
@config_option
@click.option("--account", "account_id", metavar="ID", help="One account; without it, all.")
@click.option(
    "--limit", type=click.IntRange(1, _MOST), default=100, help="The most payments to list."
)
@json_option
def list_payments(config_path: Path, account_id: str | None, limit: int, as_json: bool) -> None:
    """List payments, newest first."""
    from runtime.cli.ledger import print_json
    from runtime.cli.views.table import table
    from runtime.payments.plain import instant_text, payment_json

    found = _with_payments(
        load(config_path), lambda payments: payments.page(account_id, limit=limit)
    )
    if as_json:
        print_json({"payments": [payment_json(payment) for payment in found]})
        return
    if not found:
        click.echo("There are no payments.")
        return
    head = ("payment", "account", "kind", "credits", "price", "state", "created")
    rows = [
        (
            payment.payment_id,
            payment.account_id,
            payment.kind.value,
            f"{payment.amount_mc // 1_000:,}",
            _price(payment.price_cents),
            payment.state.value,
            instant_text(payment.created_ms),
        )
        for payment in found
    ]
    click.echo("\n".join(table([head, *rows], right=(3, 4))))


@payments.command("show", epilog=examples("creditgate payments show pm0123456789abcdef0123"))
@config_option
@_ID
@json_option
def show_payment(config_path: Path, payment_id: str, as_json: bool) -> None:
    """Show a payment, and what a person has to look at."""
    found = _with_payments(load(config_path), lambda payments: payments.look_up(payment_id))
    _show(found, as_json=as_json)


@payments.command("retry", epilog=examples("creditgate payments retry pm0123456789abcdef0123"))
@config_option
@_ID
@json_option
def retry_payment(config_path: Path, payment_id: str, as_json: bool) -> None:
    """Go on with a payment now: ask Stripe about it, credit it, take credits back.

    Nothing is paid or credited a second time, however often this is called.
    """
    found = _with_payments(load(config_path), lambda payments: payments.retry(payment_id))
    _show(found, as_json=as_json)


def _with_payments(config: Config, ask: Callable[[Payments], Awaitable[_T]]) -> _T:
    from runtime.archive.opening import open_archive
    from runtime.cli.ledger import run_async
    from runtime.ledger_opening import open_ledger
    from runtime.payments.opening import open_payments
    from runtime.store.reopening import Store

    stripe = config.stripe
    if stripe is None:
        raise BadInput("the config has no section stripe: there are no payments")

    async def run() -> _T:
        async with open_ledger(config) as ledger:
            store = Store(lambda: open_archive(config, ledger.key_check))
            try:
                async with open_payments(
                    stripe,
                    store,
                    ledger.accounts,
                    config.build_pack(),
                    ledger.key_check,
                    pause_s=None,
                ) as opened:
                    return await ask(opened)
            finally:
                await store.aclose()

    return run_async(run())


def _show(payment: Payment, *, as_json: bool) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.table import table
    from runtime.payments.plain import payment_json

    found: dict[str, Any] = payment_json(payment)
    if as_json:
        print_json(found)
        return
    click.echo("\n".join(table([(name, _text(found[name])) for name in found])))


def _text(value: object) -> str:
    return "-" if value is None else f"{value:,}" if type(value) is int else str(value)


def _price(cents: int) -> str:
    return f"${cents / 100:,.2f}"
