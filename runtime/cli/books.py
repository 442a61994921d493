"""An account's books, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from runtime.credits.answers import Balance, GrantBalance
from runtime.wording import BOOKS, books_verdict, credits_text

PARTS = ("available", "reserved", "charged", "expired", "voided")


def balance_json(balance: Balance) -> dict[str, Any]:
    """Return the balance in JSON types; amounts are millicredits."""
    plain = asdict(balance)
    for grant, found in zip(plain["grants"], balance.grants, strict=True):
        grant["expires_at"] = found.expires_at and found.expires_at.isoformat()
    plain["at"] = datetime.fromtimestamp(balance.at_ms / 1000, UTC).isoformat()
    plain["conserved"] = balance.conserved
    return plain


def books_lines(balance: Balance) -> Iterator[str]:
    """Yield the parts of the balance and whether they add up."""
    ai_credits = "" if balance.ai_credits else ", without AI credits"
    yield f"Account {balance.account_id} ({balance.plan} plan{ai_credits})"
    names = ("granted", *PARTS, "overage", "exposure")
    amounts = [(name, getattr(balance, f"{name}_mc")) for name in names]
    shown = [(n, a) for n, a in amounts if a or n not in ("overage", "exposure")]
    yield from table([(n, credits_text(a), BOOKS[n]) for n, a in shown], right=(1,))
    yield f"  {books_verdict(balance.conserved)}"


def grants_lines(balance: Balance) -> Iterator[str]:
    """Yield each grant in burn order, with what is left and when it expires."""
    if not balance.grants:
        yield "No credits were granted yet."
        return
    zone = ZoneInfo(balance.timezone)
    yield f"Grants, in the order in which they are used (times of {balance.timezone})"
    header = ("grant", "kind", "granted", "available", "reserved", "charged", "expires")
    rows = [
        (
            grant.reference,
            grant.kind.value,
            credits_text(grant.amount_mc),
            credits_text(grant.available_mc),
            credits_text(grant.reserved_mc),
            credits_text(grant.charged_mc),
            _expiry(grant, balance.at_ms, zone),
        )
        for grant in balance.grants
    ]
    yield from table([header, *rows], right=(2, 3, 4, 5))


def _expiry(grant: GrantBalance, at_ms: int, zone: ZoneInfo) -> str:
    if grant.expires_at is None or grant.expires_at_ms is None:
        return "never"
    local = grant.expires_at.astimezone(zone)
    when = f"{local:%Y-%m-%d %H:%M}"
    return f"expired {when}" if grant.expires_at_ms <= at_ms else when


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> Iterator[str]:
    """Yield the rows, indented and with aligned columns; those in ``right`` end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    flush_right = set(right)
    for row in rows:
        cells = [
            cell.rjust(width) if i in flush_right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()
