"""An account's balance and grants, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from runtime.cli.views.table import table
from runtime.credits.results import Balance, GrantBalance
from runtime.wording.accounts import BALANCE_PARTS, clock_ahead_text, conserved_text
from runtime.wording.amounts import credits_text

PARTS = ("available", "reserved", "charged", "expired", "voided")


def balance_lines(balance: Balance) -> Iterator[str]:
    """Yield the parts of the balance and whether they add up."""
    ai_credits = "" if balance.ai_credits else ", without AI credits"
    state = "" if balance.state == "open" else f", {balance.state}"
    yield f"Account {balance.account_id} ({balance.plan} plan{ai_credits}{state})"
    names = ("granted", *PARTS, "overage", "exposure")
    amounts = [(name, getattr(balance, f"{name}_mc")) for name in names]
    shown = [(n, a) for n, a in amounts if a or n not in ("overage", "exposure")]
    yield from table([(n, credits_text(a), BALANCE_PARTS[n]) for n, a in shown], right=(1,))
    yield f"  {conserved_text(balance.conserved)}"
    if balance.clock_ahead_ms:
        yield f"  {clock_ahead_text(balance.account_id, balance.clock_ahead_ms)}"


def grants_lines(balance: Balance) -> Iterator[str]:
    """Yield each grant in burn order, with its remaining amounts and its expiry."""
    if not balance.grants:
        yield "No credits have been granted yet."
        return
    zone = ZoneInfo(balance.timezone)
    yield f"Grants, in the order of use (times in {balance.timezone})"
    parts = [p for p in PARTS if p not in ("expired", "voided") or getattr(balance, f"{p}_mc")]
    header = ("id", "grant", "kind", "granted", *parts, "expires")
    rows = [
        (
            grant.grant_id,
            grant.reference,
            grant.kind.value,
            credits_text(grant.amount_mc),
            *(credits_text(getattr(grant, f"{part}_mc")) for part in parts),
            _end(grant, balance.at_ms, zone),
        )
        for grant in balance.grants
    ]
    yield from table([header, *rows], right=range(3, 4 + len(parts)))


def _end(grant: GrantBalance, at_ms: int, zone: ZoneInfo) -> str:
    """Return when a grant expires, expired or was voided, whichever ended it."""
    expires_ms, voided_ms = grant.expires_at_ms, grant.voided_at_ms
    if voided_ms is not None and (expires_ms is None or voided_ms < expires_ms):
        return f"voided {_when(voided_ms, zone)}"
    if expires_ms is None:
        return "never"
    return f"expired {_when(expires_ms, zone)}" if expires_ms <= at_ms else _when(expires_ms, zone)


def _when(at_ms: int, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone):%Y-%m-%d %H:%M}"
