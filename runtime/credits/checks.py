"""Checks of what the ledger's callers pass, made before Redis is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from pricing.offers import MAX_MC
from runtime.ids import ID_RULE, is_reference, is_strict_id

_Choice = TypeVar("_Choice", bound=StrEnum)

MAX_PRIORITY = 1_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MARK = re.compile(r"p[1-9][0-9]?|a[1-9][0-9]{0,15}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_account_id(account_id: str) -> None:
    """Raise ``ValueError`` unless the id may be part of a key's name."""
    if not is_strict_id(account_id):
        raise ValueError(f"account_id: found {account_id!r}, allowed are {ID_RULE}")


def check_reference(text: str, field: str) -> None:
    """Raise ``ValueError`` unless a reference or an actor may be kept."""
    if not is_reference(text):
        raise ValueError(f"{field}: found {text!r}, allowed are 1 to 200 printable characters")


@lru_cache(maxsize=4_096)
def check_dimension(value: str) -> str:
    """Return a dimension of an execution, checked to fit into a column of the journal.

    Raises:
        ValueError: the value holds a control character, which would break the columns.
    """
    check_column(value, "a dimension")
    value.encode()
    return value


def check_column(value: str, field: str) -> None:
    """Raise ``ValueError`` unless the value may be a column of the journal."""
    if _CONTROL.search(value):
        raise ValueError(f"{field}: {value!r} holds a control character")


def check_whole(value: int, field: str, least: int = 0, most: int = MAX_MC) -> None:
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


def expires_ms(expires_at: datetime | None) -> int:
    """Return an expiry as milliseconds since 1970, 0 for never.

    Raises:
        ValueError: it has no time zone.
    """
    if expires_at is None:
        return 0
    if expires_at.tzinfo is None:
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
    except ValueError:
        names = ", ".join(allowed)
        raise ValueError(f"{field}: found {value!r}, allowed are {names}") from None
