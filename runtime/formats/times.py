"""Instants and windows of time as people write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


def parse_zone(name: str, param: str = "--tz") -> ZoneInfo:
    """Return the time zone of an IANA name.

    Raises:
        ValueError: there is no such zone.
    """
    from pricing.offers import check_timezone

    try:
        return check_timezone(name)
    except ValueError:
        raise ValueError(
            f"{param}: there is no time zone {name!r}; write it like UTC or Europe/Berlin"
        ) from None


def parse_instant(text: str, zone: ZoneInfo, param: str) -> datetime:
    """Return the instant of a text, in UTC.

    A date is its midnight in ``zone``; a date with a time needs an offset, or Z.

    >>> parse_instant("2026-05-01", ZoneInfo("Europe/Berlin"), "--from")
    datetime.datetime(2026, 4, 30, 22, 0, tzinfo=datetime.timezone.utc)

    Raises:
        ValueError: it is neither; the message names ``param``.
    """
    try:
        if len(text) <= len("2026-05-01"):
            return datetime.combine(date.fromisoformat(text), time(), zone).astimezone(UTC)
        instant = datetime.fromisoformat(text)
        if instant.utcoffset() is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{param}: found {text!r}; write a date like 2026-05-01, or an instant with its offset "
        "like 2026-05-01T12:00:00+02:00"
    )


def month_begin(end: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which the month begins whose last instant is before ``end``.

    >>> month_begin(datetime(2026, 6, 1, tzinfo=UTC), ZoneInfo("UTC"))
    datetime.datetime(2026, 5, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    from pricing.offers import midnight

    last = (end - timedelta(microseconds=1)).astimezone(zone)
    return midnight(last.date().replace(day=1), zone)


def instant_ms(instant: datetime) -> int:
    """Return the milliseconds since 1970 of an instant."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def check_window(
    since: datetime | None, until: datetime | None, now: datetime, names: tuple[str, str]
) -> None:
    """Check that a window of time begins before its end, and before now.

    Raises:
        ValueError: it does not; the message names the option.
    """
    if since is not None and since > now:
        raise ValueError(f"{names[0]}: {_shown(since)} is in the future, it is {_shown(now)} now")
    if since is not None and until is not None and since >= until:
        raise ValueError(
            f"{names[1]}: {_shown(until)} is not after {names[0]}, which is {_shown(since)}"
        )


def _shown(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
