"""One person, read from a row of a CSV file or from a JSON object."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from pricing.errors import CreditgateError
from runtime.actions.prompts import SCOPES
from runtime.hints import did_you_mean

PERSON_ID = "person_id"
LONGEST_ROW_BYTES = 1024 * 1024
"""Rows are read on the event loop, and no template reads more of a person."""

Data = dict[str, dict[str, Any]]


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


# NaN and infinities are Python's addition to JSON.
_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


class PeopleError(CreditgateError, ValueError):
    """A mistake in a people file. The message names the place and holds no personal data."""


class Person(NamedTuple):
    """One person. ``data`` holds the scopes that templates read; ``line`` counts from 1."""

    person_id: str
    data: Data
    line: int


def parse_person(text: str, place: str, person_id: str | None = None, line: int = 1) -> Person:
    """Read a person from a JSON object: of attributes, or of scopes that hold attributes.

    Args:
        place: the name of the source in errors.
        person_id: the id to use if the object has none; with ``None`` the object must have one.

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
    if PERSON_ID not in row and person_id is None:
        raise PeopleError(f"{place}: has no {PERSON_ID!r}{did_you_mean(PERSON_ID, row)}")
    found = row.pop(PERSON_ID, person_id)
    if type(found) is int:
        found = str(found)
    if not isinstance(found, str) or not found:
        raise PeopleError(
            f"{place}: {PERSON_ID} must be text or a whole number, found {_kind(found)}"
        )
    return Person(found, _scopes(row, place), line)


def _scopes(row: dict[str, Any], place: str) -> Data:
    if not any(isinstance(row[scope], dict) for scope in SCOPES & row.keys()):
        return {"customer": row}
    for name, value in row.items():
        if name not in SCOPES or not isinstance(value, dict):
            raise PeopleError(
                f"{place}: mixes scopes and attributes: besides {PERSON_ID} there may be either "
                f"attributes or the objects {', '.join(sorted(SCOPES))}"
            )
    return row


class CsvRows:
    """The people of a CSV file, row by row. ``place`` is the name of the file in errors."""

    def __init__(self, lines: Iterable[str], place: str) -> None:
        self._place = place
        # For the whole process: csv has no other way, and a prompt may be longer than its 128 kB.
        csv.field_size_limit(LONGEST_ROW_BYTES)
        self._reader = csv.reader(self._bounded(lines), strict=True)
        self._line = 1
        self._row_length = 0

    def __iter__(self) -> Iterator[Person]:
        header = self._next_row()
        if header is None:
            raise PeopleError(f"{self._place}: is empty; its first row must name the columns")
        names = [name.strip() for name in header]
        id_column, columns = self._check_header(names)
        while (row := self._next_row()) is not None:
            if len(row) != len(names):
                raise self._mistake(
                    f"has {len(row)} {_plural('cell', len(row))}, but the header has {len(names)} "
                    f"{_plural('column', len(names))}; is a quote or a comma missing?"
                )
            if not row[id_column]:
                raise self._mistake(f"{PERSON_ID} is empty")
            yield Person(row[id_column], _data(columns, row), self._line)

    def _bounded(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the lines; cells in quotes may go on over many of them."""
        for line in lines:
            self._row_length += len(line)
            if self._row_length > LONGEST_ROW_BYTES:
                raise self._mistake(
                    f"the row is longer than {LONGEST_ROW_BYTES:,} characters; is a quote missing?"
                )
            yield line

    def _next_row(self) -> list[str] | None:
        """Return the next row that is not blank, and set ``_line`` to the line where it begins."""
        row: list[str] = []
        while not row:
            self._line = self._reader.line_num + 1
            self._row_length = 0
            try:
                row = next(self._reader)
            except StopIteration:
                return None
            except csv.Error as error:
                raise self._mistake(f"not valid CSV: {error}") from None
        return row

    def _check_header(self, names: Sequence[str]) -> tuple[int, list[tuple[int, list[str]]]]:
        for name, count in Counter(names).items():
            if not name:
                raise self._mistake(f"column {names.index(name) + 1} has no name")
            if count > 1:
                raise self._mistake(f"{count} columns are named {name!r}")
        if PERSON_ID not in names:
            raise self._mistake(f"there is no column {PERSON_ID!r}{_header_hint(names)}")
        columns = [(i, attribute_path(name)) for i, name in enumerate(names) if name != PERSON_ID]
        paths = {".".join(path) for _, path in columns}
        for _, path in columns:
            for length in range(2, len(path)):
                if (outer := ".".join(path[:length])) in paths:
                    inner = ".".join(path)
                    raise self._mistake(
                        f"column {inner!r} lies within {outer!r}, which is also a column"
                    )
        return names.index(PERSON_ID), columns

    def _mistake(self, what: str) -> PeopleError:
        return PeopleError(f"{self._place}, line {self._line}: {what}")


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


def _data(columns: Sequence[tuple[int, list[str]]], row: Sequence[str]) -> Data:
    data: Data = {}
    for index, path in columns:
        if cell := row[index]:
            place(data, path, cell)
    return data


def _header_hint(names: Sequence[str]) -> str:
    if len(names) == 1:
        for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in names[0]:
                return f": the columns are separated by {word}; use commas instead"
    return did_you_mean(PERSON_ID, names)


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


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
