"""Reports: what an account used, how its actions performed, what it had at any time.

They read the archive alone, so they cost the ledger nothing, and are as new as the archive is.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from pricing.offers import check_timezone
from runtime.archive.balances import past_balance
from runtime.archive.figures import PastBalance, PerformanceReport, UsageReport
from runtime.archive.opening import open_written_archive
from runtime.archive.performance import performance_report
from runtime.archive.snapshot import snapshot_of
from runtime.archive.spans import Span
from runtime.archive.usage import check_by, usage_report
from runtime.config import Config
from runtime.credits.installation_key import identity_of
from runtime.store.database import Database


@asynccontextmanager
async def open_reports(config: Config) -> AsyncIterator[Reports]:
    """Open the reports of the configured archive.

    Example::

        async with open_reports(config) as reports:
            report = await reports.usage("acme", by=["model"], from_ms=..., to_ms=...)
            for row in report.rows:
                print(row.keys[0], row.sums.executions, row.sums.charged_mc)

    Raises:
        StoreUnavailable: the archive can't be reached.
        StoreError: nothing was archived yet, its schema is newer, or it is another installation's.
        InstallationKeyTooShort, NotPrivate: as ``open_ledger``.
    """
    async with open_written_archive(config, identity_of(config).check_value()) as database:
        yield Reports(database, config)


class Reports:
    """The reports of an installation's accounts, as far as they are archived.

    Usage and performance count each execution at the time at which it ended, and what was charged
    at the time at which the ledger charged it. What fell back before the ledger was asked, such
    as ``prompt_error``, is not there: it is in the results that hosts get.

    Args:
        config: names the classes of models, and the options of actions.
        clock_ms: this process's clock.

    Raises (all methods):
        NotArchived: the archive does not know the account.
        StoreUnavailable: the archive does not answer.
    """

    def __init__(
        self,
        database: Database,
        config: Config,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._class_of_model = {
            model_id: str(model.model_class) for model_id, model in config.models.items()
        }
        self._actions = config.actions

    async def timezone(self, account_id: str) -> str:
        """Return the time zone of an account, as far as it is archived."""
        async with snapshot_of(self._database, account_id) as snapshot:
            return snapshot.account.timezone

    async def usage(
        self,
        account_id: str,
        *,
        by: Iterable[str] = ("day",),
        from_ms: int,
        to_ms: int | None = None,
        timezone: str | None = None,
    ) -> UsageReport:
        """Return what was used in a window of time, exactly.

        Args:
            by: any of ``day``, ``month``, ``model``, ``class``, ``workspace``, ``campaign``,
                ``action``, ``source``, ``outcome``, ``reason``; none for the total alone.
            from_ms: the window's first instant, in milliseconds since 1970.
            to_ms: the first instant after it; ``None`` for now.
            timezone: of its days and months; ``None`` for the account's.

        Raises:
            ValueError: an argument is not allowed; the message names it.
        """
        checked = check_by(by)
        window = self._window(from_ms, to_ms)
        if timezone is not None:
            check_timezone(timezone)
        async with snapshot_of(self._database, account_id) as snapshot:
            zone = timezone or snapshot.account.timezone
            return await usage_report(snapshot, window, zone, checked, self._class_of_model)

    async def performance(
        self, account_id: str, *, from_ms: int, to_ms: int | None = None
    ) -> PerformanceReport:
        """Return how actions performed in a window of time, by their version and model.

        Raises:
            ValueError: the window ends before it begins, or is in the future.
        """
        window = self._window(from_ms, to_ms)
        async with snapshot_of(self._database, account_id) as snapshot:
            return await performance_report(snapshot, window, self._actions)

    async def balance_at(self, account_id: str, at_ms: int) -> PastBalance:
        """Return an account's balance at an instant, in milliseconds since 1970.

        What had expired by then is not in it, even if the ledger wrote that down only later, or
        has not done so yet.

        Raises:
            ValueError: the instant is in the future.
            NotArchived: the account was opened later.
        """
        now_ms = self._clock_ms()
        if at_ms > now_ms:
            raise ValueError(f"at_ms: {at_ms} is in the future, it is {now_ms} now")
        async with snapshot_of(self._database, account_id) as snapshot:
            return await past_balance(snapshot, at_ms)

    def _window(self, from_ms: int, to_ms: int | None) -> Span:
        now_ms = self._clock_ms()
        if from_ms > now_ms:
            raise ValueError(f"from_ms: {from_ms} is in the future, it is {now_ms} now")
        after_ms = now_ms if to_ms is None else to_ms
        if to_ms is not None and to_ms <= from_ms:
            raise ValueError(f"to_ms: {to_ms} is not after from_ms, which is {from_ms}")
        return Span("", from_ms, max(after_ms, from_ms + 1))
