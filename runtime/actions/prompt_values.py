"""The printing of values in prompts, and the filters of templates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import wraps
from typing import Any

from liquid import Environment, FalsyStrictUndefined
from liquid.exceptions import UndefinedError
from liquid.filter import sequence_filter, string_filter

from runtime.actions.linear_filters import LINEAR_FILTERS, check_items, strip_html
from runtime.actions.render_budget import TEXT_LIMIT, Budget, TooLarge, size_of

SLOW_TEXT_LIMIT = 50_000
"""The most characters of a text for the filters that Python does letter by letter."""
_SLOW_FILTERS = frozenset({"escape_once", "url_decode", "url_encode"})

_INTEGER_BITS_LIMIT = 4_096
_DIGITS_LIMIT = 1_000
_STEPS_OF_A_FILTER = 2
_LAYOUT_LIMIT = 1_000
"""The most characters of a date's layout, which can ask for more than it has."""

_REMOVED_FILTERS = ("safe", "escapejs")
"""Filters for HTML escaping, which prompts don't do."""
_REPLACING_FILTERS = frozenset({"replace", "replace_first", "replace_last"})


def as_text(value: object) -> str:
    """Return a value as it prints: booleans as true and false, numbers without an exponent.

    Raises:
        liquid.exceptions.UndefinedError: the path has no value.
        TooLarge: it is larger than a prompt may be.
    """
    if type(value) is str:
        return value
    if value is None:
        raise UndefinedError("null", token=None)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, dict)):
        size_of(value)
        return json.dumps(value, ensure_ascii=False, default=as_text)
    if isinstance(value, Decimal) and value.is_finite():
        _check_digits(abs(value.adjusted()) + len(value.as_tuple().digits))
    text = str(value)
    if isinstance(value, (float, Decimal)) and "e" in text.lower():
        return format(Decimal(text), "f")
    return text


def _check_digits(count: int) -> None:
    if count > _DIGITS_LIMIT:
        raise TooLarge(f"a number has more than {_DIGITS_LIMIT:,} digits")


@sequence_filter
def _join(items: Sequence[object], separator: object = " ") -> str:
    between = as_text(separator)
    room = TEXT_LIMIT - len(between) * (len(items) - 1)
    texts = []
    for item in items:
        texts.append(as_text(item))
        room -= len(texts[-1])
        _check_length(TEXT_LIMIT - room)
    return between.join(texts)


def _check_length(length: int, most: int = TEXT_LIMIT) -> None:
    if length > most:
        raise TooLarge(f"a text has more than {most:,} characters")


@string_filter
def _strip_html(text: str, *, budget: Budget) -> str:
    return strip_html(text, budget)


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
    """Format a date in UTC. Liquid's own guesses formats, and uses the machine's time zone."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).strftime(as_text(layout))
    if isinstance(value, date):
        return value.strftime(as_text(layout))
    text = as_text(value).strip()
    if text in ("now", "today"):
        return datetime.now(UTC).strftime(as_text(layout))
    if text.isdecimal():
        return datetime.fromtimestamp(int(text), UTC).strftime(as_text(layout))
    try:
        return datetime.fromisoformat(text).strftime(as_text(layout))
    except ValueError:
        return text  # as it is, like everywhere in Liquid


def _guarded(name: str, function: Callable[..., Any], *, texts: slice) -> Callable[..., Any]:
    """Wrap a filter so that it refuses missing values, and too large arguments and results.

    Args:
        texts: the arguments that the filter would turn into text in its own way.
    """
    most_text = SLOW_TEXT_LIMIT if name in _SLOW_FILTERS else TEXT_LIMIT

    @wraps(function)
    def guarded(*given: Any, context: Any, **options: Any) -> Any:
        arguments = list(given)
        for argument in (*arguments, *options.values()):
            if isinstance(argument, FalsyStrictUndefined):
                raise UndefinedError(argument.msg, token=argument.token)
            _check_argument(argument, most_text)
            context.budget.read(argument)
        arguments[texts] = [
            as_text(a) if isinstance(a, (bool, float, list, tuple, dict)) else a
            for a in arguments[texts]
        ]
        if name in _REPLACING_FILTERS and len(arguments) > 2:
            text, old, new = (str(argument) for argument in arguments[:3])
            _check_length(len(text) + text.count(old) * len(new))
        if name == "date" and len(arguments) > 1:
            _check_length(len(as_text(arguments[1])), _LAYOUT_LIMIT)
        if name == "strip_html":
            options["budget"] = context.budget
        result = function(*arguments, **options)
        if result is None:
            return FalsyStrictUndefined(name, token=None)
        _check_argument(result, TEXT_LIMIT)
        context.budget.step(_STEPS_OF_A_FILTER)
        return result

    guarded.with_context = True  # type: ignore[attr-defined]  # so Liquid knows to give it
    return guarded


def _check_argument(value: object, most_text: int) -> None:
    if isinstance(value, str):
        _check_length(len(value), most_text)
    elif isinstance(value, (list, tuple, range)):
        check_items(len(value))
    elif isinstance(value, int) and value.bit_length() > _INTEGER_BITS_LIMIT:
        raise TooLarge(f"a whole number has more than {_INTEGER_BITS_LIMIT:,} bits")


def _texts_of(name: str, function: Callable[..., Any]) -> slice:
    if not function.__module__.endswith((".string", ".linear_filters")) or name in (
        "slice",
        "uniq",
    ):
        return slice(0)  # `slice` takes lists
    # The options of `truncate` are numbers.
    return slice(1 if name in ("truncate", "truncatewords") else None)


def _filters() -> dict[str, Callable[..., Any]]:
    standard = Environment().filters
    for name in (*_REMOVED_FILTERS, "default"):
        del standard[name]
    standard.update(LINEAR_FILTERS, date=_date, join=_join, map=_map, strip_html=_strip_html)
    guarded = {
        name: _guarded(name, function, texts=_texts_of(name, function))
        for name, function in standard.items()
    }
    # Not guarded: it is there for missing values.
    return {**guarded, "default": _default}


FILTERS: Mapping[str, Callable[..., Any]] = _filters()
"""The standard filters of Liquid by name, except those for HTML escaping."""
