"""The printing of values in prompts, and the filters of templates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import wraps
from typing import Any

from liquid import Environment, FalsyStrictUndefined
from liquid.exceptions import OutputStreamLimitError, UndefinedError
from liquid.filter import sequence_filter

TEXT_LIMIT = 1_000_000
"""The most characters of a prompt, and of each text that its template makes."""

_ITEMS_LIMIT = 100_000
_UNIQ_ITEMS_LIMIT = 2_000
"""Liquid's ``uniq`` compares each element with each other one."""
_INTEGER_BITS_LIMIT = 4_096

_REMOVED_FILTERS = ("safe", "escapejs")
"""Filters for HTML escaping, which prompts don't do."""
_REPLACING_FILTERS = frozenset({"replace", "replace_first", "replace_last"})

_DIGITS_OF_A_DATE = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Layouts of dates and times that are digits alone, by their length."""


def without_nulls(value: Any) -> Any:
    """Return a list or an object without the nulls in it, at any depth; itself if it has none."""
    kind = type(value)
    if kind is list or kind is tuple:
        kept = [without_nulls(item) for item in value if item is not None]
        if len(kept) == len(value) and all(a is b for a, b in zip(kept, value, strict=True)):
            return value
        return kept
    if kind is dict:
        for item in value.values():
            if item is None or (type(item) in _NESTING and without_nulls(item) is not item):
                return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return value


_NESTING = frozenset({list, tuple, dict})


def as_text(value: object) -> str:
    """Return a value as it prints: booleans as true and false, numbers without an exponent.

    Raises:
        liquid.exceptions.UndefinedError: there is no value.
    """
    if type(value) is str:
        return value
    if value is None:
        raise UndefinedError("null", token=None)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=as_text)
    text = str(value)
    if isinstance(value, (float, Decimal)) and "e" in text.lower():
        return format(Decimal(text), "f")
    return text


@sequence_filter
def _join(items: Iterable[object], separator: object = " ") -> str:
    return as_text(separator).join(as_text(item) for item in items)


@sequence_filter
def _map(items: Iterable[object], key: object) -> list[object]:
    found = [item.get(key) if isinstance(item, Mapping) else None for item in items]
    if None in found:
        raise UndefinedError("an element lacks the name that is mapped", token=None)
    return found


def _default(value: object, substitute: object = "", *, allow_false: bool = False) -> object:
    if isinstance(value, FalsyStrictUndefined) or value is None:
        return substitute
    if value is False:
        return value if allow_false else substitute
    return substitute if isinstance(value, (str, list, tuple, dict)) and not value else value


def _date(value: object, layout: object) -> str:
    """Format a date in UTC. Liquid's own guesses formats, and uses the machine's time zone.

    Numbers are seconds since 1970, unless their digits are those of a date: 20260301.
    """
    try:
        found = _instant(value)
        if isinstance(found, datetime) and found.tzinfo is not None:
            found = found.astimezone(UTC)
    except (OSError, OverflowError, ValueError):
        return as_text(value).strip()  # as it is, like everywhere in Liquid
    return found.strftime(as_text(layout))


def _instant(value: object) -> date:
    """Return the date, or the time, that a value stands for.

    Raises:
        ValueError, OverflowError, OSError: it stands for none.
    """
    if isinstance(value, date):
        return value
    if isinstance(value, float):
        return datetime.fromtimestamp(value, UTC)
    text = as_text(value).strip()
    if text in ("now", "today"):
        return datetime.now(UTC)
    for length, layout in _DIGITS_OF_A_DATE.items():
        if len(text) == length and text.isdecimal():
            with suppress(ValueError):
                return datetime.strptime(text, layout).replace(tzinfo=UTC)
    if text.isdecimal() or (isinstance(value, int) and not isinstance(value, bool)):
        return datetime.fromtimestamp(int(text), UTC)
    return datetime.fromisoformat(text)


def _guarded(name: str, function: Callable[..., Any], *, takes_text: bool) -> Callable[..., Any]:
    """Wrap a filter so that it refuses missing values, and huge arguments and results."""
    items_limit = _UNIQ_ITEMS_LIMIT if name == "uniq" else _ITEMS_LIMIT

    @wraps(function)
    def guarded(*arguments: Any, **options: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, FalsyStrictUndefined):
                raise UndefinedError(argument.msg, token=argument.token)
            if isinstance(argument, (list, tuple, range)) and len(argument) > items_limit:
                raise OutputStreamLimitError("too many elements", token=None)
        if takes_text:
            arguments = tuple(
                as_text(a) if isinstance(a, (bool, float, list, tuple, dict)) else a
                for a in arguments
            )
        if name in _REPLACING_FILTERS and len(arguments) > 2:
            text, old, new = (str(argument) for argument in arguments[:3])
            if len(text) + text.count(old) * len(new) > TEXT_LIMIT:
                raise OutputStreamLimitError("too long", token=None)
        result = function(*arguments, **options)
        if result is None:
            return FalsyStrictUndefined(name, token=None)
        if isinstance(result, str) and len(result) > TEXT_LIMIT:
            raise OutputStreamLimitError("too long", token=None)
        if isinstance(result, int) and result.bit_length() > _INTEGER_BITS_LIMIT:
            raise OutputStreamLimitError("too large a number", token=None)
        return result

    return guarded


def _filters() -> dict[str, Callable[..., Any]]:
    standard = Environment().filters
    for name in (*_REMOVED_FILTERS, "default"):
        del standard[name]
    standard.update(date=_date, join=_join, map=_map)
    guarded = {
        name: _guarded(
            name,
            function,
            # `slice` takes lists, and the options of `truncate` are numbers: they convert alone.
            takes_text=function.__module__.endswith(".string")
            and name not in ("slice", "truncate", "truncatewords"),
        )
        for name, function in standard.items()
    }
    # Not guarded: it is there for missing values.
    return {**guarded, "default": _default}


FILTERS: Mapping[str, Callable[..., Any]] = _filters()
"""The standard filters of Liquid by name, except those for HTML escaping."""
