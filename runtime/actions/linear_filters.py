"""Liquid filters that take time in proportion to their input, instead of the library's own.

The library's ``strip_html`` takes 23 s for 900 kB of ``<![CDATA[``, and its ``uniq`` compares each
element with each other one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liquid.exceptions import FilterArgumentError
from liquid.filter import sequence_filter, string_filter
from liquid.limits import to_int
from liquid.undefined import is_undefined

from runtime.actions.render_budget import Budget, TooLarge

ITEMS_LIMIT = 10_000
"""The most elements of a list that goes into a filter or comes out of it."""

_TAG = re.compile(r"<(?:(!--)|(script|style)(?![a-z0-9])|[a-z/!?])", re.IGNORECASE)
_ENDS = {
    "!--": re.compile("-->"),
    "script": re.compile(r"</script[^>]*>", re.IGNORECASE),
    "style": re.compile(r"</style[^>]*>", re.IGNORECASE),
    "": re.compile(">"),
}


def strip_html(text: str, budget: Budget) -> str:
    """Return a text without tags and comments, scripts and styles; what never ends is text."""
    kept: list[str] = []
    start = 0
    endless: set[str] = set()
    for tag in _TAG.finditer(text):
        budget.step()
        if tag.start() < start:
            continue
        kind = (tag[1] or tag[2] or "").lower()
        for name in (kind, "") if kind else ("",):
            # What has no end from here on has none further on: it is looked for once.
            end = None if name in endless else _ENDS[name].search(text, tag.end())
            if end is not None:
                kept.append(text[start : tag.start()])
                start = end.end()
                break
            endless.add(name)
    kept.append(text[start:])
    return "".join(kept)


def check_items(count: int) -> None:
    """Raise ``TooLarge`` if a list has more elements than filters take or make."""
    if count > ITEMS_LIMIT:
        raise TooLarge(f"a list has more than {ITEMS_LIMIT:,} elements")


@string_filter
def _split(text: str, separator: object) -> list[str]:
    if is_undefined(separator) or separator is None or separator == "":
        check_items(len(text))
        return list(text)
    by = str(separator)
    if not text or text == by:
        return []
    parts = text.split(None if by == " " else by, ITEMS_LIMIT)
    check_items(len(parts))
    return parts


@string_filter
def _truncate_words(text: str, count: Any = 15, end: object = "...") -> str:
    try:
        most = max(to_int(count), 1)
    except (ValueError, TypeError):
        raise FilterArgumentError("truncatewords needs a whole number", token=None) from None
    words = text.split(None, min(most, ITEMS_LIMIT))
    if len(words) < most:
        check_items(len(words))
        return " ".join(words)
    return " ".join(words[:most]) + str(end)


@string_filter
def _squish(text: str) -> str:
    return " ".join(text.split())


@string_filter
def _newlines_to_br(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "<br />\n")


@string_filter
def _strip_newlines(text: str) -> str:
    return text.replace("\r\n", "").replace("\n", "")


@sequence_filter
def _uniq(items: Sequence[Any], key: object = None) -> list[Any]:
    """Return the first of all elements that are equal, or that have equal values for a key."""
    found: dict[object, Any] = {}
    for item in items:
        if key is None:
            value = item
        elif isinstance(item, Mapping):
            value = item.get(key)
        else:
            raise FilterArgumentError("an element has no properties", token=None)
        found.setdefault(_frozen(value), item)
    return list(found.values())


def _frozen(value: object) -> object:
    """Return something hashable that is equal for equal values.

    Numbers become text: others than text can be chosen so that all have one hash.
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        whole = isinstance(value, int) or value.is_integer()
        return ("number", str(int(value)) if whole else repr(value))
    if isinstance(value, (list, tuple)):
        return ("list", tuple(map(_frozen, value)))
    if isinstance(value, Mapping):
        return ("object", frozenset((name, _frozen(item)) for name, item in value.items()))
    return ("other", str(value))


LINEAR_FILTERS: Mapping[str, Callable[..., Any]] = {
    "newline_to_br": _newlines_to_br,
    "split": _split,
    "squish": _squish,
    "strip_newlines": _strip_newlines,
    "truncatewords": _truncate_words,
    "uniq": _uniq,
}
