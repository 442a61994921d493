"""Amounts and durations as people read them."""

from __future__ import annotations

from pricing.offers import MC_PER_CREDIT

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000}


def credits_text(amount_mc: int) -> str:
    """Return an amount in credits, with up to three decimals.

    >>> credits_text(2_500_500)
    '2,500.5'
    """
    whole, rest = divmod(abs(amount_mc), MC_PER_CREDIT)
    decimals = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{'-' if amount_mc < 0 else ''}{whole:,}{decimals}"


def duration_text(duration_ms: int) -> str:
    """Return a duration in its two largest units, down to the minute.

    >>> duration_text(5_400_000)
    '1 h 30 min'
    """
    parts: list[tuple[int, str]] = []
    for unit, unit_ms in _UNITS_MS.items():
        count, duration_ms = divmod(duration_ms, unit_ms)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "under 1 min"
