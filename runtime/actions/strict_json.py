"""JSON from outside: UTF-8, finite numbers, bounded nesting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

MAX_DEPTH = 200
"""Levels of nesting, as pydantic's parser has them."""


class NotJson(ValueError):
    """A text that is not JSON. The message goes on after the text's name: ``is not valid ...``."""


def parse_json(text: bytes) -> Any:
    """Return a text in plain JSON types.

    Raises:
        NotJson: it is not valid, or goes beyond what is read; its content is not in the message.
    """
    try:
        value = from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError as exc:
        raise NotJson(_fault(text, str(exc))) from None
    if not _is_finite(value):
        raise NotJson("has a number that is larger than any float")
    return value


def parts_of(text: bytes) -> int:
    """Return the commas and opening brackets of a text, which has at most one value more."""
    return text.count(b",") + text.count(b"{") + text.count(b"[")


def _fault(text: bytes, fault: str) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        return f"is not valid UTF-8, at byte {exc.start:,}"
    if text.startswith(b"\xef\xbb\xbf"):
        return "begins with a byte order mark: leave it out"
    if fault.startswith("recursion limit"):
        return f"is nested more than {MAX_DEPTH} levels deep"
    return f"is not valid JSON: {fault}"


def _is_finite(value: Any) -> bool:
    left: list[Iterable[Any]] = [[value]]
    while left:
        for found in left.pop():
            kind = type(found)
            if kind is dict:
                left.append(found.values())
            elif kind is list:
                left.append(found)
            elif kind is float and not math.isfinite(found):
                return False
    return True
