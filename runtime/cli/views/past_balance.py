"""A balance of the past, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from runtime.archive.figures import PastBalance
from runtime.cli.views.table import table
from runtime.wording.amounts import credits_text
from runtime.wording.usage import complete_text

_PARTS = ("left", "charged", "expired", "voided")
_MEANINGS = {
    "granted": "",
    "left": "available or reserved",
    "charged": "used",
    "expired": "expired before they were used",
    "voided": "taken back",
}


def past_balance_lines(balance: PastBalance, zone: ZoneInfo) -> Iterator[str]:
    """Yield the balance and its grants, in the order in which they were given."""
    yield f"Account {balance.account_id} at {_when(balance.at_ms, zone)} (times in {zone.key})"
    yield from table(
        [
            (name, credits_text(getattr(balance, f"{name}_mc")), meaning)
            for name, meaning in _MEANINGS.items()
        ],
        right=(1,),
    )
    if balance.grants:
        yield ""
        header = ("id", "grant", "kind", "granted", *_PARTS, "expires")
        rows = [
            (
                grant.grant_id,
                grant.reference,
                grant.kind,
                credits_text(grant.amount_mc),
                *(credits_text(getattr(grant, f"{part}_mc")) for part in _PARTS),
                "never" if grant.expires_at_ms is None else _when(grant.expires_at_ms, zone),
            )
            for grant in balance.grants
        ]
        yield from table([header, *rows], right=range(3, 4 + len(_PARTS)))
    complete = balance.complete_to_ms and _instant(balance.complete_to_ms).astimezone(zone)
    text = complete_text(complete or None)
    if text is not None:
        yield text


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _when(at_ms: int, zone: ZoneInfo) -> str:
    return f"{_instant(at_ms).astimezone(zone):%Y-%m-%d %H:%M:%S}"
