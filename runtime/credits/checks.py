"""Checks of what the ledger's callers pass, made before Redis is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from pricing.offers import MAX_MC
from runtime.ids import ID_RULE, ID_TEXT_RULE, is_id_text, is_reference, is_strict_id

_Choice = TypeVar("_Choice", bound=StrEnum)

MAX_PRIORITY = 1_000
_MOST_NAMED = 1_000
"""More than ids of executions may have, for what earlier releases stored."""
# Half a surrogate pair has no UTF-8 form.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_MARK = re.compile(r"p[1-9][0-9]?|a[1-9][0-9]{0,15}")
_CAP_MARK = re.compile(r"c(?:[1-9][0-9]?|100)")
MOST_MARKS = 20
"""The most alert marks of one account, those of caps included."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_account_id(account_id: object) -> None:
    """Raise ``ValueError`` unless the id may be part of a key's name."""
    if not isinstance(account_id, str) or not is_strict_id(account_id):
        raise ValueError(f"account_id: found {account_id!r}, allowed are {ID_RULE}")


def check_reference(text: object, field: str) -> None:
    """Raise ``ValueError`` unless a reference or an actor may be kept."""
    if not isinstance(text, str) or not is_reference(text):
        raise ValueError(f"{field}: found {text!r}, allowed are 1 to 200 printable characters")


def check_person_id(person_id: object) -> None:
    """Raise ``ValueError``, which does not show the id, unless it can be a person's."""
    if not isinstance(person_id, str) or not is_id_text(person_id):
        raise ValueError(f"person_id: what was given is not {ID_TEXT_RULE}")


def check_named(value: object, field: str) -> None:
    """Raise ``ValueError`` unless the value can be a workspace, a campaign, an action or such."""
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_NAMED:
        rule = f"text of 1 to {_MOST_NAMED:,} characters"
        raise ValueError(f"{field}: found {value!r}, allowed is {rule}")
    check_column(value, field)


def check_is(value: object, kind: type, field: str) -> None:
    """Raise ``ValueError`` unless the value is of this very kind."""
    if type(value) is not kind:
        raise ValueError(f"{field}: found {value!r}, expected {_named(kind)}")


def _named(kind: type) -> str:
    return "True or False" if kind is bool else f"a {kind.__name__}"


def check_dimension(value: str, field: str) -> str:
    """Return a dimension of an execution, checked to fit into a column of the journal.

    Raises:
        ValueError: the value is not text, or holds a control character, which would break the
            columns.
    """
    try:
        return _dimension(value, field)
    except TypeError:  # can't be looked up
        raise ValueError(f"{field}: found {value!r}, expected text") from None


@lru_cache(maxsize=4_096)
def _dimension(value: str, field: str) -> str:
    check_column(value, field)
    return value


def check_column(value: object, field: str) -> None:
    """Raise ``ValueError`` unless the value may be a column of the journal."""
    if not isinstance(value, str):
        raise ValueError(f"{field}: found {value!r}, expected text")
    if _CONTROL.search(value):
        raise ValueError(f"{field}: {value!r} holds a control character")


def check_whole(value: object, field: str, least: int = 0, most: int = MAX_MC) -> None:
    """Raise ``ValueError`` unless the value is an integer within its bounds."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{field}: found {value!r}, allowed are whole numbers {least} to {most}")


def check_marks(marks: Iterable[str]) -> None:
    """Raise ``ValueError`` unless alert marks are ``p1`` to ``p99`` or ``a1`` and up."""
    for mark in marks:
        if not _MARK.fullmatch(mark) or int(mark[1:]) > MAX_MC:
            raise ValueError(
                f"low_marks: found {mark!r}, allowed are p1 to p99 (per cent of the last top-up) "
                f"and a1 to a{MAX_MC} (millicredits)"
            )


def check_cap_marks(marks: Iterable[str]) -> None:
    """Raise ``ValueError`` unless alert marks of caps are ``c1`` to ``c100``."""
    for mark in marks:
        if not _CAP_MARK.fullmatch(mark):
            raise ValueError(
                f"cap_marks: found {mark!r}, allowed are c1 to c100 (per cent of the cap's limit)"
            )


def expires_ms(expires_at: datetime | None) -> int:
    """Return an expiry as milliseconds since 1970, 0 for never.

    Raises:
        ValueError: it is not a datetime, or has no time zone.
    """
    if expires_at is None:
        return 0
    if not isinstance(expires_at, datetime):
        raise ValueError(f"expires_at: found {expires_at!r}, expected a datetime with a time zone")
    if expires_at.utcoffset() is None:
        raise ValueError(f"expires_at: {expires_at.isoformat()} has no time zone")
    # Law 8: credits never expire early, so round up to the next millisecond.
    return max(1, -((_EPOCH - expires_at) // timedelta(milliseconds=1)))


def choice(value: str, allowed: type[_Choice], field: str) -> _Choice:
    """Return the member of an enum that a text names, or the member itself.

    Raises:
        ValueError: no member has this name; the message lists the names.
    """
    try:
        return allowed(value)
    except (ValueError, TypeError):
        names = ", ".join(allowed)
        raise ValueError(f"{field}: found {value!r}, allowed are {names}") from None
