"""Automatic top-ups: what an account has set, and when a payment is due. Nothing is stored here."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from pricing.offers import MAX_MC, MC_PER_CREDIT, Pack, check_amount_mc, windows_around

MOST_AN_HOUR = 2
"""Payments that may begin within an hour; before a third one, top-ups stop."""
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Stopped:
    """The reason why top-ups stopped, until a person sets them again."""

    reason: str
    at_ms: int
    payment_id: str | None = None


@dataclass(frozen=True, slots=True)
class TopUpSettings:
    """Settings of an account.

    Args:
        below_mc: a top-up is due when what is left (available and reserved) is this or less.
        target_mc: how much it brings the account to, in whole packs.
        monthly_limit_cents: the most that is paid by itself in a month of the account's time zone.
        limited_in: the month in which the limit was told to be reached, such as ``2026-11``.
    """

    enabled: bool = False
    below_mc: int = 0
    target_mc: int = 0
    monthly_limit_cents: int = 0
    stopped: Stopped | None = None
    limited_in: str | None = None

    def check(self, pack: Pack) -> None:
        """Raise ``ValueError``, which names the field, unless these can be set."""
        check_amount_mc(self.below_mc, "below_mc")
        check_amount_mc(self.target_mc, "target_mc")
        if self.target_mc <= self.below_mc:
            raise ValueError(
                f"target_mc: found {self.target_mc:,}, it must be above below_mc, {self.below_mc:,}"
            )
        if not pack.price_cents <= self.monthly_limit_cents <= MAX_MC:
            raise ValueError(
                f"monthly_limit_cents: found {self.monthly_limit_cents:,}, allowed are at least "
                f"{pack.price_cents:,}, the price of one pack"
            )

    def stop(self, reason: str, at_ms: int, payment_id: str | None = None) -> TopUpSettings:
        """Return the same, stopped."""
        return replace(self, stopped=Stopped(reason, at_ms, payment_id))

    @property
    def is_active(self) -> bool:
        """True while top-ups are made."""
        return self.enabled and self.stopped is None

    def text(self) -> str:
        """Return it as it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read_settings(text: str) -> TopUpSettings:
    """Return stored settings; what a newer release added is left out."""
    found: dict[str, Any] = json.loads(text)
    stopped = found.pop("stopped", None)
    known = {name: found[name] for name in found if name in TopUpSettings.__slots__}
    return TopUpSettings(**known, stopped=None if stopped is None else Stopped(**stopped))


def wanted_packs(settings: TopUpSettings, left_mc: int, pack: Pack) -> int:
    """Return how many packs bring an account to its target; 0 while it is above the threshold."""
    if left_mc > settings.below_mc:
        return 0
    pack_mc = pack.credits * MC_PER_CREDIT
    return max(1, -(-(settings.target_mc - left_mc) // pack_mc))


def affordable_packs(settings: TopUpSettings, wanted: int, spent_cents: int, pack: Pack) -> int:
    """Return how many of them the month's limit still allows."""
    return min(wanted, max(0, settings.monthly_limit_cents - spent_cents) // pack.price_cents)


def month_of(at_ms: int, timezone: str) -> tuple[str, int]:
    """Return the month of an instant in a time zone: its name, and the instant it began at."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    _, month = windows_around(at, timezone)
    name = month[0].astimezone(ZoneInfo(timezone)).strftime("%Y-%m")
    return name, int(month[0].timestamp() * 1_000)
