"""The ways in which accounts get credits: packs, offers, and the expiry of grants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pricing.errors import CreditgateError

MC_PER_CREDIT = 1000
MAX_MC = 2**53 - 1
"""The largest amount: the last integer that Redis' Lua numbers (doubles) hold exactly."""

_MAX_EXPIRES_AFTER_DAYS = 36_500


class GrantKind(StrEnum):
    """The origin of granted credits."""

    INTRODUCTORY = "introductory"
    PROMOTIONAL = "promotional"
    PLAN = "plan"
    PURCHASED = "purchased"
    ADJUSTMENT = "adjustment"


DEFAULT_PRIORITY: Mapping[GrantKind, int] = MappingProxyType(
    {
        GrantKind.INTRODUCTORY: 10,
        GrantKind.PROMOTIONAL: 20,
        GrantKind.PLAN: 30,
        GrantKind.ADJUSTMENT: 40,
        GrantKind.PURCHASED: 50,
    }
)
"""Burn order by kind: the lowest number is used first."""


class PurchaseRefused(CreditgateError, ValueError):
    """A purchase of an amount that is not sold; the message says which amounts are."""


@dataclass(frozen=True)
class Offer:
    """The rule by which accounts on a paid plan get a grant, once.

    ``paying_from``: accounts that already pay on this day get the grant on this day, later ones
    on their first paid day; ``None``: every account gets it on its first paid day.
    ``paying_until``: the latest first paid day for which the offer holds; ``None``: no end.
    ``expires_after_days``: the grant expires when this many days after its own day are over, in
    the account's time zone; ``None``: never.

    Raises:
        ValueError: naming the field, what was found and what is allowed.
    """

    id: str
    kind: GrantKind
    amount_mc: int
    paying_from: date | None = None
    paying_until: date | None = None
    expires_after_days: int | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id: an offer must have one")
        if self.kind is GrantKind.PURCHASED:
            raise ValueError("kind: an offer gives credits away, it can't be 'purchased'")
        check_amount_mc(self.amount_mc, "amount_mc")
        for name in ("paying_from", "paying_until"):
            if getattr(self, name) is not None:
                check_date(getattr(self, name), name)
        if self.expires_after_days is not None:
            _check_days(self.expires_after_days, "expires_after_days")
        if self.paying_from and self.paying_until and self.paying_until < self.paying_from:
            raise ValueError(
                f"paying_until: found {self.paying_until}, which is before "
                f"paying_from {self.paying_from}"
            )


@dataclass(frozen=True)
class OfferGrant:
    """The grant that an offer gives to one account. ``expires_at`` is in UTC."""

    offer_id: str
    kind: GrantKind
    amount_mc: int
    granted_on: date
    expires_at: datetime | None


@dataclass(frozen=True)
class Pack:
    """The unit in which credits are sold.

    Raises:
        ValueError: the size or the price is not a positive integer.
    """

    credits: int
    price_cents: int

    def __post_init__(self) -> None:
        for name in ("credits", "price_cents"):
            value = getattr(self, name)
            if type(value) is not int or value <= 0:
                raise ValueError(f"{name}: found {value!r}, allowed is an integer above 0")


def offer_grants(offers: Iterable[Offer], *, paying_since: date, timezone: str) -> list[OfferGrant]:
    """Return the grants that an account on a paid plan gets, in the order of the offers.

    The caller checks the plan. A grant may have expired already: an account that has paid for a
    long time gets its offers with their original dates, and the ledger's clock decides.

    Args:
        paying_since: the account's first paid day, in its own time zone.
        timezone: the account's IANA time zone.

    Raises:
        ValueError: ``paying_since`` is not a date, or the time zone does not exist.
    """
    check_date(paying_since, "paying_since")
    check_timezone(timezone)
    grants = []
    for offer in offers:
        if offer.paying_until is not None and paying_since > offer.paying_until:
            continue
        granted_on = max(paying_since, offer.paying_from or paying_since)
        days = offer.expires_after_days
        expires_at = None if days is None else expiry_instant(granted_on, days, timezone)
        grants.append(OfferGrant(offer.id, offer.kind, offer.amount_mc, granted_on, expires_at))
    return grants


def expiry_instant(granted_on: date, days: int, timezone: str) -> datetime:
    """Return the instant, in UTC, at which the last of ``days`` days after a grant's is over.

    Granted on 2026-04-08 for 90 days, credits expire as 2026-07-08 begins in the time zone.

    Raises:
        ValueError: the time zone does not exist, or ``days`` is not allowed.
    """
    check_date(granted_on, "granted_on")
    _check_days(days, "days")
    zone = check_timezone(timezone)
    try:
        return midnight(granted_on + timedelta(days=days + 1), zone)
    except OverflowError:
        raise ValueError(
            f"granted_on: {granted_on} and {days} days are beyond the end of the calendar"
        ) from None


def windows_around(
    instant: datetime, timezone: str
) -> tuple[tuple[datetime, datetime, datetime], tuple[datetime, datetime, datetime]]:
    """Return the day and the month of a time zone around an instant.

    Each is given by its beginning, its end, and the end of the one that follows, in UTC. A day has
    23 or 25 hours where clocks change.

    Raises:
        ValueError: the time zone does not exist, or the instant is beyond the calendar's end.
    """
    zone = check_timezone(timezone)
    try:
        today = instant.astimezone(zone).date()
        days = [today + timedelta(days=number) for number in range(3)]
        first = today.replace(day=1)
        months = [first]
        for _ in range(2):
            months.append((months[-1] + timedelta(days=31)).replace(day=1))
        day, month = ([midnight(date, zone) for date in dates] for dates in (days, months))
    except OverflowError:
        raise ValueError(f"instant: {instant} is beyond the end of the calendar") from None
    return (day[0], day[1], day[2]), (month[0], month[1], month[2])


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant, in UTC, at which a day begins in a time zone.

    Clocks may skip or repeat midnight. PEP 495 reads a skipped midnight with the offset before the
    change, which gives the instant of the change, and takes the first of a repeated one. In both
    cases the day before ends there.
    """
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def purchase_amount_mc(
    credits: int,  # noqa: A002 - the unit that is sold; nothing here calls site's credits()
    pack: Pack,
) -> int:
    """Return the millicredits of a purchase of whole packs.

    Raises:
        PurchaseRefused: not a positive multiple of the pack, or more than a balance can hold.
    """
    allowed = f"credits are sold in multiples of {pack.credits:,}"
    if type(credits) is not int:
        raise PurchaseRefused(f"credits: found {credits!r}, expected a whole number; {allowed}")
    if credits <= 0:
        raise PurchaseRefused(f"credits: found {credits!r}; {allowed}")
    if credits % pack.credits:
        raise PurchaseRefused(f"credits: found {credits:,}; {allowed}")
    if credits * MC_PER_CREDIT > MAX_MC:
        most = MAX_MC // MC_PER_CREDIT // pack.credits * pack.credits
        raise PurchaseRefused(f"credits: found {credits:,}; {allowed}, at most {most:,} at once")
    return credits * MC_PER_CREDIT


def check_amount_mc(value: object, field: str) -> int:
    """Return an amount of millicredits that is safe to book.

    Raises:
        ValueError: not an integer (a bool is not one either), not above 0, or above ``MAX_MC``.
    """
    if type(value) is not int or not 0 < value <= MAX_MC:
        raise ValueError(f"{field}: found {value!r}, allowed is an integer from 1 to {MAX_MC:,}")
    return value


def check_timezone(timezone: object) -> ZoneInfo:
    """Return the zone of an IANA name.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        if isinstance(timezone, str):
            return ZoneInfo(timezone)
    # The name of a folder ("Europe") and one that is too long raise OSError.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ValueError(
        f"timezone: found {timezone!r}, allowed is an IANA time zone such as 'UTC' or "
        "'Europe/Berlin'"
    )


def check_date(value: object, field: str) -> None:
    """Raise ``ValueError`` unless the value is a date without a time of day."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"{field}: found {value!r}, allowed is a date without a time of day")


def _check_days(value: object, field: str) -> None:
    if type(value) is not int or not 0 <= value <= _MAX_EXPIRES_AFTER_DAYS:
        raise ValueError(
            f"{field}: found {value!r}, allowed is an integer from 0 to {_MAX_EXPIRES_AFTER_DAYS:,}"
        )
