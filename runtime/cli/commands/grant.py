"""``creditgate grant``: give credits to an account."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import load
from runtime.cli.options import (
    Credits,
    account_option,
    actor_option,
    config_option,
    examples,
    json_option,
)

if TYPE_CHECKING:
    from runtime.credits.ledger import CreditLedger
    from runtime.credits.results import Granted

_KINDS = ("introductory", "promotional", "plan", "adjustment")


@click.command(
    epilog=examples(
        "creditgate grant --account acme --credits 5000 --kind promotional --reference spring-26",
        "creditgate grant --account acme --credits 0.5 --kind adjustment --reference t-4711 \\",
        "    --expires-at 2026-12-31",
    )
)
@config_option
@account_option
@click.option(
    "--credits",
    "amount_mc",
    type=Credits(),
    required=True,
    help="The number of credits, with up to three decimals.",
)
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    required=True,
    help="Why the credits are given. For bought credits use creditgate purchase.",
)
@click.option(
    "--reference",
    required=True,
    metavar="TEXT",
    help="The name of this grant. The same reference grants only once.",
)
@click.option(
    "--expires-at",
    metavar="WHEN",
    help="A day (2026-12-31), from whose start in the account's time zone the credits are gone, or "
    "a time with its offset (2026-12-31T12:00:00Z).  [default: never]",
)
@click.option(
    "--priority",
    type=click.IntRange(0, 1000),
    help="The grant with the lowest priority is used first.  [default: by kind]",
)
@actor_option
@json_option
def grant(  # noqa: PLR0913 - one parameter an option
    config_path: Path,
    account_id: str,
    amount_mc: int,
    kind: str,
    reference: str,
    expires_at: str | None,
    priority: int | None,
    actor: str,
    as_json: bool,
) -> None:
    """Give credits to an account. The same reference grants only once."""
    from pricing.offers import GrantKind
    from runtime.cli.ledger import with_ledger
    from runtime.cli.views.granted import show_granted

    async def ask(ledger: CreditLedger) -> Granted:
        expiry = None
        if expires_at is not None:
            expiry = _instant(expires_at, (await ledger.accounts.balance(account_id)).timezone)
        return await ledger.accounts.grant(
            account_id,
            amount_mc=amount_mc,
            kind=GrantKind(kind),
            reference=reference,
            priority=priority,
            expires_at=expiry,
            actor=actor,
        )

    show_granted(account_id, amount_mc, with_ledger(load(config_path), ask), as_json=as_json)


def _instant(text: str, timezone: str) -> datetime:
    """Read a day, as its start in the time zone, or a time with its offset.

    Raises:
        ValueError: the text is neither.
    """
    from zoneinfo import ZoneInfo

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is not None and len(text) == len("2026-12-31"):
        return found.replace(tzinfo=ZoneInfo(timezone))
    if found is None or found.tzinfo is None:
        raise ValueError(
            f"--expires-at: found {text!r}, allowed are a day like 2026-12-31 and a time with "
            "its offset like 2026-12-31T12:00:00Z"
        )
    return found
