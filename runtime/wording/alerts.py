"""Sentences of alerts: what is left, how long it lasts, what happens at zero, where to buy.

Each function returns a subject and paragraphs, for somebody who has never seen a ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runtime.wording.amounts import credits_text

Text = tuple[str, tuple[str, ...]]
"""A subject, and paragraphs of one line each."""

RATE_DAYS = 7
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_GOES_ON = (
    "Campaigns go on: actions use their fallback values instead of asking a model, and nothing is "
    "charged"
)
_AT_ZERO = f"This is what happens when the credits are used up. {_GOES_ON}."


@dataclass(frozen=True, slots=True)
class Outlook:
    """The rest of an account's credits, and the time for which it lasts.

    Args:
        left_mc: available and reserved.
        per_day_mc: the mean of the last days; ``None`` if it is not known.
        runs_out_ms: when nothing is left at that rate; ``None`` if that can't be said.
    """

    left_mc: int
    timezone: str = "UTC"
    per_day_mc: int | None = None
    runs_out_ms: int | None = None


def day_text(at_ms: int, timezone: str) -> str:
    """Return the day of an instant in a time zone.

    >>> day_text(1_796_256_000_000, "Europe/Berlin")
    '3 December 2026'
    """
    try:
        zone: ZoneInfo | None = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = None
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone or UTC)
    return date_text(at.date())


def date_text(day: date) -> str:
    """Return a day in words."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def low_text(account_id: str, mark: str, threshold_mc: int, outlook: Outlook, buy: str) -> Text:
    """Return the sentences for credits that fell to a mark."""
    left, at = _credits(outlook.left_mc), _credits(threshold_mc)
    share = f" ({mark[1:]}% of what the last top-up left)" if mark.startswith("p") else ""
    return _with_advice(
        f"{left} left",
        f"Account {account_id} has {left} left. You asked to be told at {at}{share}.",
        outlook,
        buy,
    )


def exhausted_text(account_id: str, outlook: Outlook, buy: str) -> Text:
    """Return the sentences for credits that are used up, or too few for another answer."""
    dust = outlook.left_mc
    rest = f" What is left ({_credits(dust)}) does not pay for another answer." if dust else ""
    return (
        "Credits are used up",
        (
            f"The credits of account {account_id} are used up.{rest}",
            f"{_GOES_ON}.",
            *_where_to_buy(buy),
        ),
    )


def expiring_text(
    account_id: str, kind: str, amount_mc: int, expires_ms: int, outlook: Outlook, buy: str
) -> Text:
    """Return the sentences for a grant that expires soon."""
    day, amount = day_text(expires_ms, outlook.timezone), _credits(amount_mc)
    after = outlook.left_mc - amount_mc
    rest = f"{_credits(after)} are left after that." if after > 0 else "Nothing is left after that."
    return (
        f"{amount} expire on {day}",
        (
            f"{amount} of account {account_id} ({kind}) expire on {day} if they are not used.",
            rest,
            *_rate(outlook),
            *((_AT_ZERO, *_where_to_buy(buy)) if after <= 0 else ()),
        ),
    )


def forecast_text(account_id: str, outlook: Outlook, buy: str) -> Text:
    """Return the sentences for credits that will run out soon."""
    day = day_text(outlook.runs_out_ms or 0, outlook.timezone)
    left = _credits(outlook.left_mc)
    return _with_advice(
        f"Credits run out on {day}",
        f"Account {account_id} has {left} left.",
        outlook,
        buy,
    )


def cap_text(
    account_id: str,
    cap: str,
    percent: int,
    limit_mc: int,
    charged_mc: int,
    resets_ms: int,
    timezone: str,
) -> Text:
    """Return the sentences for a cap that was reached, or nearly.

    Args:
        cap: the cap as people read it.
        resets_ms: when its window ends; 0 for never.
    """
    used = f"{_credits(charged_mc)} of {credits_text(limit_mc)}"
    until = (
        f"Its count starts again on {day_text(resets_ms, timezone)}."
        if resets_ms
        else "It counts in total and does not start again."
    )
    if percent >= 100:
        subject, beyond = f"A cap is reached: {cap}", "Until then"
        if not resets_ms:
            beyond = "Until the cap is raised"
        then = (
            f"{beyond}, what it counts uses fallback values instead of asking a model, and nothing "
            "is charged. Everything else goes on."
        )
    else:
        subject = f"{percent}% of a cap are used: {cap}"
        then = (
            "When it is reached, what it counts uses fallback values instead of asking a model. "
            "Everything else goes on."
        )
    return (subject, (f"The cap {cap} of account {account_id} has used {used}.", until, then))


def retiring_text(model_id: str, retires_on: date, successor: str | None) -> Text:
    """Return the sentences for a model that retires soon."""
    day = date_text(retires_on)
    then = (
        f"Actions that allow it are answered by {successor} from then on."
        if successor
        else "Actions that name it use their fallback values from then on."
    )
    return (f"Model {model_id} retires on {day}", (f"Model {model_id} retires on {day}.", then))


def rates_text(model_id: str, effective: date, changes: Sequence[str]) -> Text:
    """Return the sentences for rates that change. ``changes`` are clauses like "output +10%"."""
    day = date_text(effective)
    return (
        f"The rates of model {model_id} change on {day}",
        (f"From {day} on, answers of model {model_id} cost other credits: {', '.join(changes)}.",),
    )


def lag_text(account_id: str, lag_entries: int) -> Text:
    """Return the sentences for an archive that is behind; for the operator."""
    behind = f"The archive is {lag_entries:,} entries behind"
    then = (
        "Above all of it, actions use their fallback values: check that the database answers and "
        "that creditgate archive runs."
    )
    where = f"{behind} account {account_id}, at least half of archive.max_lag."
    return (behind, (where, then))


def sample_text(where: str) -> Text:
    """Return the sentences of a test."""
    return (
        "A test of alerts",
        (f"Alerts of {where} arrive here. Nothing happened; somebody pressed the test button.",),
    )


def _with_advice(subject: str, first: str, outlook: Outlook, buy: str) -> Text:
    return (subject, (first, *_rate(outlook), _AT_ZERO, *_where_to_buy(buy)))


def _rate(outlook: Outlook) -> tuple[str, ...]:
    if outlook.per_day_mc is None:
        return ()
    if outlook.per_day_mc == 0:
        return (f"Nothing was used in the last {RATE_DAYS} days.",)
    per_day = _credits(max(1_000, round(outlook.per_day_mc, -3)))
    used = f"In the last {RATE_DAYS} days, about {per_day} a day were used."
    if outlook.runs_out_ms is None:
        return (used,)
    day = day_text(outlook.runs_out_ms, outlook.timezone)
    return (f"{used} At this rate they run out on {day}.",)


def _where_to_buy(buy: str) -> tuple[str, ...]:
    return (f"Buy credits: {buy}",) if buy else ("Buy credits, or ask your contact to add some.",)


def _credits(amount_mc: int) -> str:
    text = credits_text(amount_mc)
    return f"{text} credit" if text == "1" else f"{text} credits"
