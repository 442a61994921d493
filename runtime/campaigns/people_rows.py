"""One person: the id, the attributes by scope, and how a JSON object describes them."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from pricing.errors import CreditgateError
from runtime.actions.prompts import SCOPES
from runtime.hints import did_you_mean

PERSON_ID = "person_id"
LONGEST_ROW_BYTES = 1024 * 1024
"""Rows are read on the event loop, and no template reads more of a person."""
MOST_EMPTY_ROWS = 20_000
"""They are passed over on the event loop too, between two people."""

Data = dict[str, dict[str, Any]]


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is larger than any float")
    return number


# NaN and infinities are Python's addition to JSON.
_JSON = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


class PeopleError(CreditgateError, ValueError):
    """A mistake in a people file. The message names the place and holds no personal data."""


class Person(NamedTuple):
    """One person. ``data`` holds the scopes that templates read; ``line`` counts from 1."""

    person_id: str
    data: Data
    line: int


def normal_id(text: str) -> str:
    """Return a person's id in its one form; it may be empty.

    People whose ids look the same are one person: ids are in Unicode's composed form (NFC), without
    characters that format alone (category Cf, such as zero-width ones) and without blanks at their
    ends, and a run of blanks within them is one space. What is not allowed in an id stays.
    """
    if not text.isascii():
        kept = (character for character in text if unicodedata.category(character) != "Cf")
        text = unicodedata.normalize("NFC", "".join(kept))
    return _BLANKS.sub(" ", text.strip())


_BLANKS = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
"""Unicode's spaces (category Zs). Tabs and ends of lines are not allowed within ids."""


def parse_person(
    text: str,
    place: str,
    person_id: str | None = None,
    line: int = 1,
    id_key: str = PERSON_ID,
) -> Person:
    """Read a person from a JSON object: of attributes, or of scopes that hold attributes.

    Args:
        place: the name of the source in errors.
        person_id: the id to use if the object has none; with ``None`` the object must have one.
        id_key: the key of the id.

    Raises:
        PeopleError: the text is not valid JSON, or not a person.
    """
    try:
        row = _JSON.decode(text)
    except json.JSONDecodeError as error:
        raise PeopleError(f"{place}, column {error.colno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise PeopleError(f"{place}: JSON that can't be used: {why}") from None
    if not isinstance(row, dict):
        raise PeopleError(f"{place}: must be a JSON object, found {_kind(row)}")
    if id_key not in row and person_id is None:
        raise PeopleError(f"{place}: has no {id_key!r}{did_you_mean(id_key, row)}")
    found = row.pop(id_key, person_id)
    if type(found) is int:
        found = str(found)
    if isinstance(found, str):
        found = normal_id(found)
    if not isinstance(found, str) or not found:
        raise PeopleError(f"{place}: {id_key} must be text or a whole number, found {_kind(found)}")
    return Person(found, _scopes(row, place, id_key), line)


def _scopes(row: dict[str, Any], place: str, id_key: str) -> Data:
    if not any(isinstance(row[scope], dict) for scope in SCOPES & row.keys()):
        return {"customer": row}
    for name, value in row.items():
        if name not in SCOPES or not isinstance(value, dict):
            raise PeopleError(
                f"{place}: mixes scopes and attributes: besides {id_key} there may be either "
                f"attributes or the objects {', '.join(sorted(SCOPES))}"
            )
    return row


def attribute_path(name: str) -> list[str]:
    """Return the path of an attribute as templates read it; the default scope is ``customer``."""
    path = name.split(".")
    return path if path[0] in SCOPES and len(path) > 1 else ["customer", *path]


def place(data: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Put a value into nested mappings, and create those that are missing.

    Raises:
        ValueError: there is another value on the way.
    """
    for name in path[:-1]:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            raise ValueError(f"{'.'.join(path)}: {name!r} has a value of its own")
    data[path[-1]] = value


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "empty text" if not value else "text"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else "a number"
