"""Tells scripts the windows of caps, by the time zones of the accounts that need them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pricing.offers import windows_around
from runtime.credits.clock import MOST_APART_MS
from runtime.redis.transport import bulk

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_ACCOUNTS = 100_000
_NOT_TOLD = bulk("")


class CapWindows:
    """The windows around this process's time, in the form of ``windows.lua``.

    Scripts count UTC windows by themselves. For another time zone they ask the caller, once: from
    then on each call for that account tells the window of now and the next one, of days and months.

    Args:
        clock_ms: this process's clock.
    """

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._zones: dict[str, str] = {}
        self._texts: dict[str, tuple[int, int, bytes]] = {}

    def learn(self, account_id: str, timezone: str) -> None:
        """Note the time zone of an account, as a script named it."""
        if len(self._zones) >= _MOST_ACCOUNTS:
            self._zones.clear()
        self._zones[account_id] = timezone

    def told(self, account_id: str) -> bytes:
        """Return the packed argument for a script call of this account.

        Raises:
            ValueError: this machine does not know the account's time zone.
        """
        timezone = self._zones.get(account_id)
        if timezone is None:
            return _NOT_TOLD
        # The windows reach from before midnight, for this clock may be ahead of the server's.
        now_ms = self._clock_ms() - MOST_APART_MS
        known = self._texts.get(timezone)
        if known is None or not known[0] <= now_ms < known[1]:
            known = self._texts[timezone] = _around(now_ms, timezone)
        return known[2]


def _around(now_ms: int, timezone: str) -> tuple[int, int, bytes]:
    """Return from when until when a text holds, and the text."""
    day, month = windows_around(_EPOCH + timedelta(milliseconds=now_ms), timezone)
    days, months = ([_ms(instant) for instant in window] for window in (day, month))
    text = f"{timezone};{','.join(map(str, days))};{','.join(map(str, months))}"
    return days[0], days[1], bulk(text)


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
