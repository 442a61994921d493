"""``creditgate purchase``: add bought credits to an account."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.config_file import load
from runtime.cli.options import account_option, actor_option, config_option, examples, json_option


@click.command(
    epilog=examples(
        "creditgate purchase --account acme --credits 300000 --reference invoice-2026-118",
        "creditgate purchase --account acme --credits 100000 --reference invoice-2026-119 \\",
        "    --actor ann@example.com",
    )
)
@config_option
@account_option
@click.option(
    "--credits",
    "amount",
    type=int,
    required=True,
    help="The number of credits: a multiple of the pack in the config (100000).",
)
@click.option(
    "--reference",
    required=True,
    metavar="TEXT",
    help="The name of the payment. The same reference adds credits only once.",
)
@actor_option
@json_option
def purchase(
    config_path: Path, account_id: str, amount: int, reference: str, actor: str, as_json: bool
) -> None:
    """Add bought credits to an account. They never expire.

    The same payment reference adds them only once.
    """
    from pricing.offers import MC_PER_CREDIT
    from runtime.cli.ledger import with_ledger
    from runtime.cli.views.granted import show_granted

    granted = with_ledger(
        load(config_path),
        lambda ledger: ledger.accounts.purchase(
            account_id, credits=amount, payment_reference=reference, actor=actor
        ),
    )
    show_granted(account_id, amount * MC_PER_CREDIT, granted, as_json=as_json)
