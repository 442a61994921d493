"""The time for which an account's credits last, at the rate of its last days."""

from __future__ import annotations

import time
from collections.abc import Sequence

from runtime.archive.errors import ArchiveError
from runtime.archive.reports import Reports
from runtime.config import Config
from runtime.credits.results import Balance, GrantBalance
from runtime.store.reopening import Store
from runtime.wording.alerts import RATE_DAYS, Outlook

_DAY_MS = 86_400_000


class Outlooks:
    """Reads the archive for the rate at which credits are used."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self.config = config

    async def of(self, balance: Balance) -> Outlook:
        """Return what is left of an account and how long it lasts.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        left_mc = balance.available_mc + balance.reserved_mc
        per_day_mc = await self._per_day_mc(balance.account_id)
        runs_out_ms = None
        if per_day_mc:
            runs_out_ms = runs_out(balance.grants, per_day_mc, _now_ms())
        return Outlook(left_mc, balance.timezone, per_day_mc, runs_out_ms)

    async def _per_day_mc(self, account_id: str) -> int | None:
        """Return the mean of the last days; an account that is younger counts its own days."""
        now_ms = _now_ms()
        reports = Reports(await self._store.database(), self.config)
        try:
            report = await reports.usage(
                account_id, by=(), from_ms=now_ms - RATE_DAYS * _DAY_MS, timezone="UTC"
            )
        except ArchiveError:
            return None
        return report.total.charged_mc // RATE_DAYS


def runs_out(grants: Sequence[GrantBalance], per_day_mc: int, now_ms: int) -> int | None:
    """Return when nothing is left of grants in burn order; ``None`` for more than ten years.

    What expires before its turn comes, or while it is used, is lost on that day.
    """
    at_ms = float(now_ms)
    for grant in grants:
        left_mc = grant.available_mc + grant.reserved_mc
        expires_ms = grant.expires_at_ms
        if not left_mc or (expires_ms is not None and expires_ms <= at_ms):
            continue
        until_ms = at_ms + left_mc / per_day_mc * _DAY_MS
        at_ms = until_ms if expires_ms is None else min(until_ms, expires_ms)
    return int(at_ms) if at_ms < now_ms + 3_653 * _DAY_MS else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
