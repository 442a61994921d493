"""``creditgate void``: take back what is left of a grant."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    account_option,
    actor_option,
    config_option,
    examples,
    json_option,
    reason_option,
    reference_option,
)


@click.command(
    epilog=examples(
        "creditgate void --account acme --grant g2 --reference chargeback-31 \\",
        "    --reason 'invoice-7 was charged back' --actor ann@example.com",
    )
)
@config_option
@account_option
@click.option(
    "--grant",
    "grant_id",
    required=True,
    metavar="ID",
    help="The id of the grant, such as g2; creditgate balance shows it.",
)
@reference_option
@reason_option
@actor_option
@json_option
def void(
    config_path: Path,
    account_id: str,
    grant_id: str,
    reference: str,
    reason: str,
    actor: str,
    as_json: bool,
) -> None:
    """Take back what is left of a grant, for good.

    What the grant has already paid for stays charged. Running executions can still be paid from
    what they have reserved of it; whatever they release is taken back too.
    """
    from dataclasses import asdict

    from runtime.cli.ledger import print_json, with_ledger
    from runtime.wording.accounts import repeated_text
    from runtime.wording.amounts import credits_text

    voided = with_ledger(
        load(config_path),
        lambda ledger: ledger.accounts.void(
            account_id, grant_id, reference=reference, reason=reason, actor=actor
        ),
    )
    if as_json:
        print_json({"account_id": account_id, **asdict(voided)})
        return
    taken = credits_text(voided.amount_mc)
    if voided.new:
        click.echo(f"{taken} credits of grant {grant_id} were taken back.")
    else:
        click.echo(f"{repeated_text(reference)} It took back {taken} credits of grant {grant_id}.")
    click.echo(f"Available: {credits_text(voided.available_mc)}")
