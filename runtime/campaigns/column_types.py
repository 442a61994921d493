"""The types of a CSV file's columns: declared, or else inferred from all cells of a column.

A column is inferred to be of booleans or numbers only if every cell in it is one without doubt.
Leading zeros, signs, exponents and separators of thousands leave it as text, so phone numbers,
postcodes and most ids stay what they are. JSON Lines files need none of this: their values have
types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from runtime.campaigns.people_rows import PERSON_ID, attribute_path
from runtime.hints import did_you_mean

_MOST_DIGITS = 15
"""A float keeps all decimal numbers of so many digits apart."""
_NUMBER = re.compile(
    rf"-?(0|[1-9][0-9]{{0,{_MOST_DIGITS - 1}}})(?:\.([0-9]{{1,{_MOST_DIGITS}}}))?"
).fullmatch
_OF_NUMBERS = frozenset("0123456789.,'eE+- \u00a0\u202f")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?", re.ASCII).fullmatch
_BOOLEANS = {"true": True, "false": False}
_DECLARED_BOOLEANS = {**_BOOLEANS, "yes": True, "no": False, "1": True, "0": False}


class ColumnType(StrEnum):
    """The type of a column. A ``date`` stays text, and is checked to be an ISO 8601 date."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"


_ALLOWED = {
    ColumnType.NUMBER: f"a number of at most {_MOST_DIGITS} digits, like 1200 or -9.50",
    ColumnType.BOOLEAN: "true or false (or yes, no, 1, 0)",
    ColumnType.DATE: "a date like 2026-03-01 or 2026-03-01T10:30:00Z",
}


class WrittenNumber(float):
    """A number with decimals that prints as it was written: 9.50 stays 9.50."""

    __slots__ = ("_written",)

    _written: str

    def __new__(cls, written: str) -> Self:
        number = super().__new__(cls, written)
        number._written = written
        return number

    def __str__(self) -> str:
        return self._written


@dataclass(frozen=True, slots=True)
class ColumnRules:
    """The way to find the types of columns.

    Args:
        declared: types by the columns' names.
        text_only: infer nothing; columns are text unless they are declared.
        read: the attributes whose types matter, as ``("customer", "age")``; ``("customer", "")``
            stands for all of a scope.
        as_text: attributes that are text unless they are declared.
    """

    declared: Mapping[str, ColumnType] = field(default_factory=dict)
    text_only: bool = False
    read: frozenset[tuple[str, str]] = frozenset()
    as_text: frozenset[tuple[str, str]] = frozenset()

    def is_read(self, path: Sequence[str]) -> bool:
        """Return whether the type of a column matters."""
        return (path[0], path[1]) in self.read or (path[0], "") in self.read

    def is_inferred(self, path: Sequence[str]) -> bool:
        """Return whether the cells of a column decide its type."""
        as_text = (path[0], path[1]) in self.as_text
        return self.is_read(path) and not (self.text_only or as_text)


@dataclass(frozen=True, slots=True)
class Column:
    """A column with its type.

    Args:
        name: as the header has it.
        path: the attribute.
        doubt_line: where a column that had begun like one of numbers or booleans was found to be
            text; its type before is ``doubt``.
    """

    name: str
    path: tuple[str, ...]
    type: ColumnType
    doubt: ColumnType | None = None
    doubt_line: int | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns whose types matter, in the order of the file."""

    all: tuple[Column, ...] = ()

    def types(self) -> dict[str, str]:
        """Return the types by the columns' names."""
        return {column.name: column.type.value for column in self.all}

    def give_types(self, data: Mapping[str, Mapping[str, Any]]) -> None:
        """Turn the cells in a person's data into values of their types.

        Raises:
            ValueError: a cell has not the type of its column, so it is not of the surveyed file.
        """
        for column in self.all:
            if column.type in (ColumnType.NUMBER, ColumnType.BOOLEAN):
                found = _place_of(data, column.path)
                cell = None if found is None else found[column.path[-1]]
                if found is not None and isinstance(cell, str):
                    found[column.path[-1]] = _value(cell, column.type)


class Survey:
    """Goes through the cells of a file once, to check declared types and find the others.

    Args:
        columns: the attributes' paths by the columns' names.
        id_column: the column of the ids.

    Raises:
        ValueError: a type is declared for a column that is not there, or for the ids.
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[str]],
        rules: ColumnRules,
        id_column: str = PERSON_ID,
    ) -> None:
        self._rules = rules
        self._columns = {tuple(path): name for name, path in columns.items()}
        self._declared: dict[tuple[str, ...], ColumnType] = {}
        for name, kind in rules.declared.items():
            path = tuple(attribute_path(name))
            if name == id_column and kind is not ColumnType.TEXT:
                raise ValueError(f"{id_column} is text, and can't be declared as {kind}")
            if path not in self._columns and name != id_column:
                hint = did_you_mean(name, columns)
                raise ValueError(f"there is no column {name!r} to declare as {kind}{hint}")
            self._declared[path] = kind
        self._checked = [
            (path, kind) for path, kind in self._declared.items() if kind is not ColumnType.TEXT
        ]
        self._undecided: dict[tuple[str, ...], ColumnType | None] = {
            path: None
            for path in self._columns
            if path not in self._declared and rules.is_inferred(path)
        }
        self._doubts: dict[tuple[str, ...], tuple[ColumnType | None, int]] = {}

    @property
    def is_decided(self) -> bool:
        """True once no further row can change a type."""
        return not self._undecided

    def check(self, data: Mapping[str, Any]) -> None:
        """Check that a row has the declared types.

        Raises:
            ValueError: a cell does not; the message names its column and holds nothing of it.
        """
        for path, kind in self._checked:
            found = _place_of(data, path)
            if found is not None:
                try:
                    _value(found[path[-1]], kind)
                except ValueError as error:
                    raise ValueError(f"column {self._columns[path]!r}: {error}") from None

    def infer(self, data: Mapping[str, Any], line: int) -> None:
        """Narrow down the types of the columns that have none declared."""
        decided = []
        for path, known in self._undecided.items():
            found = _place_of(data, path)
            if found is None:
                continue
            kind = _kind(found[path[-1]])
            if kind is known:
                continue
            if known is None and kind is not ColumnType.TEXT:
                self._undecided[path] = kind
            else:
                self._doubts[path] = known, line
                decided.append(path)
        for path in decided:
            del self._undecided[path]

    def found(self) -> Columns:
        """Return the columns that are declared, or read and not empty, with their types."""
        return Columns(tuple(self._found()))

    def _found(self) -> Iterator[Column]:
        for path, name in self._columns.items():
            if path in self._declared:
                yield Column(name, path, self._declared[path])
            elif path in self._doubts:
                doubt, line = self._doubts[path]
                yield Column(name, path, ColumnType.TEXT, doubt, line if doubt else None)
            elif path in self._undecided:
                if (kind := self._undecided[path]) is not None:
                    yield Column(name, path, kind)
            elif self._rules.is_read(path):
                yield Column(name, path, ColumnType.TEXT)


def _place_of(data: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    """Return the mapping that holds an attribute, or ``None`` where its cell was empty."""
    found: Any = data
    for name in path[:-1]:
        found = found.get(name)
        if found is None:
            return None
    return found if path[-1] in found else None


def _kind(cell: str) -> ColumnType:
    if _is_number(cell):
        return ColumnType.NUMBER
    return ColumnType.BOOLEAN if cell.lower() in _BOOLEANS else ColumnType.TEXT


def _value(cell: str, kind: ColumnType) -> Any:
    """Return the value of a cell.

    Raises:
        ValueError: it is not of that type; the message says what is allowed.
    """
    text = cell.strip()
    value: Any = None
    if kind is ColumnType.NUMBER:
        value = _number(text) if _is_number(text) else None
    elif kind is ColumnType.BOOLEAN:
        value = _DECLARED_BOOLEANS.get(text.lower())
    elif kind is ColumnType.TEXT or _is_date(text):
        value = cell
    if value is None:
        raise ValueError(f"must be {_ALLOWED[kind]}, found {_shape(text)}")
    return value


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number as JSON would write it, without an exponent."""
    found = _NUMBER(cell)
    if found is None or cell == "-0":
        return False
    whole, decimals = found.groups("")
    return len(decimals) + (len(whole) if whole != "0" else 0) <= _MOST_DIGITS


def _number(cell: str) -> int | float:
    return WrittenNumber(cell) if "." in cell else int(cell)


def _is_date(text: str) -> bool:
    if _DATE(text) is None:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _shape(cell: str) -> str:
    """Describe a cell without showing it: it may be personal data."""
    digits = sum(character in "0123456789" for character in cell)
    if not digits or not set(cell) <= _OF_NUMBERS:
        count = f"{len(cell):,} character{'s' * (len(cell) != 1)}"
        return f"text of {count}" if cell else "blanks"
    signless = cell.lstrip("+-")
    if "," in cell:
        return "digits with a comma"
    if cell.startswith("+"):
        return "a number with a plus sign"
    if signless.isdigit() and signless.startswith("0") and len(signless) > 1:
        return "a number that begins with 0"
    if digits > _MOST_DIGITS:
        return f"more than {_MOST_DIGITS} digits"
    if _NUMBER(cell):
        return "a number"
    return "digits and signs that are not a plain number"
