"""Balances and caps in JSON types; amounts are millicredits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from runtime.archive.figures import PastBalance
from runtime.credits.caps import CapStatus
from runtime.credits.results import Balance


def balance_json(balance: Balance) -> dict[str, Any]:
    """Return the balance in JSON types; amounts are millicredits."""
    plain = asdict(balance)
    for grant, found in zip(plain["grants"], balance.grants, strict=True):
        grant["expires_at"] = found.expires_at and found.expires_at.isoformat()
    plain["at"] = datetime.fromtimestamp(balance.at_ms / 1000, UTC).isoformat()
    plain["conserved"] = balance.conserved
    return plain


def past_balance_json(balance: PastBalance) -> dict[str, Any]:
    """Return the balance in JSON types; amounts are millicredits."""
    return {
        **asdict(balance),
        "at": _instant(balance.at_ms).isoformat(),
        "complete_to": balance.complete_to_ms and _instant(balance.complete_to_ms).isoformat(),
    }


def caps_json(caps: Sequence[CapStatus]) -> list[dict[str, Any]]:
    """Return caps in JSON types; amounts are millicredits."""
    found = []
    for status in caps:
        plain = asdict(status)
        named = {"id": str(status.cap), **plain.pop("cap")}
        found.append({**named, **plain, "cap_excess_mc": status.cap_excess_mc})
    return found


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
