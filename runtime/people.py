"""Reads the people that an action is to run for, from a CSV or JSON Lines file, as a stream.

A file is read twice: once to find everything that is wrong with it, before anything is charged,
and once to run. Neither pass keeps people in memory.
"""

from __future__ import annotations

import csv
import json
import os
import stat
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from runtime.config.messages import did_you_mean
from runtime.prompts import SCOPES

PERSON_ID = "person_id"
FORMATS = (".csv", ".jsonl")

_LONGEST_ROW_BYTES = 16 * 1024 * 1024
_SAMPLE = 5
_DUPLICATES_SHOWN = 3
_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

Data = dict[str, dict[str, Any]]


class PeopleError(ValueError):
    """A people file that can't be used. The message has the place, and no personal data."""


class Person(NamedTuple):
    """One person. ``data`` holds the scopes that templates read; ``line`` counts from 1."""

    person_id: str
    data: Data
    line: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass found.

    ``attributes`` are those that at least one row has, as ``("customer", "message")``;
    ``sample`` are the first few people.
    """

    people: int
    attributes: frozenset[tuple[str, str]]
    sample: tuple[Person, ...]


class PeopleFile:
    """A people file.

    CSV: the first row names the columns; an empty cell counts as not known. JSON Lines: each line
    is an object, either of attributes or of scopes (``customer``, ``event``...) that hold
    attributes. ``person_id`` is required. Attributes belong to ``customer``, unless a column's
    name says otherwise: ``event.pages``. Points in a column's name nest.

    Raises:
        PeopleError: neither ``.csv`` nor ``.jsonl``, not there, or no file that can be read twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix.lower() not in FORMATS:
            raise PeopleError(
                f"{path}: people come from files named {' or '.join('*' + f for f in FORMATS)}, "
                f"found {path.suffix or 'a name without a suffix'}"
            )
        self._identity = self._identify(self._stat())

    def survey(
        self, *, limit: int | None = None, check: Callable[[Person], object] = lambda person: None
    ) -> Survey:
        """Read all rows (or the first ``limit``) and find whatever is wrong with them.

        Args:
            check: more to ask of each person; its ``ValueError`` is reported with the line.

        Raises:
            PeopleError: naming the place and what is wrong there.
        """
        ids, attributes, sample = _Ids(), _Attributes(), list[Person]()
        for person in self.read(limit=limit):
            try:
                check(person)
            except ValueError as error:
                raise self._mistake(person.line, str(error)) from None
            ids.add(person.person_id)
            attributes.add(person.data)
            if len(sample) < _SAMPLE:
                sample.append(person)
        if not ids.count:
            raise PeopleError(f"{self.path}: has no people in it")
        if repeated := ids.repeated():
            self._report_duplicates(repeated, limit)
        return Survey(ids.count, attributes.names(), tuple(sample))

    def read(self, *, limit: int | None = None) -> Iterator[Person]:
        """Yield the people, row by row.

        Raises:
            PeopleError: while iterating, at a row that can't be read, or if the file has changed
                since this object was made.
        """
        return islice(self._read(), limit)

    def _read(self) -> Iterator[Person]:
        with self._open() as file:
            lines = _Lines(self.path, file)
            if self.path.suffix.lower() == ".csv":
                yield from _CsvRows(self, lines)
            else:
                yield from self._json_rows(lines)

    def _json_rows(self, lines: _Lines) -> Iterator[Person]:
        for text in lines:
            if text.strip():
                yield self._json_person(text, lines.number)

    def _json_person(self, text: str, line: int) -> Person:
        try:
            row = json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise self._mistake(line, f"column {error.colno}: no valid JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise self._mistake(line, f"no JSON that can be used: {why}") from None
        if not isinstance(row, dict):
            raise self._mistake(line, f"must be a JSON object, found {_json_kind(row)}")
        if PERSON_ID not in row:
            raise self._mistake(line, f"has no {PERSON_ID!r}{did_you_mean(PERSON_ID, row)}")
        person_id = row.pop(PERSON_ID)
        if type(person_id) is int:
            person_id = str(person_id)
        if not isinstance(person_id, str) or not person_id:
            raise self._mistake(
                line, f"{PERSON_ID} must be text or a whole number, found {_json_kind(person_id)}"
            )
        return Person(person_id, self._json_data(row, line), line)

    def _json_data(self, row: dict[str, Any], line: int) -> Data:
        if not any(isinstance(row.get(scope), dict) for scope in SCOPES & row.keys()):
            return {"customer": row}
        for name, value in row.items():
            if name not in SCOPES or not isinstance(value, dict):
                raise self._mistake(
                    line,
                    f"mixes scopes and attributes: beside {PERSON_ID} there may be either "
                    f"attributes, or the objects {', '.join(sorted(SCOPES))}",
                )
        return row

    def _report_duplicates(self, repeated: set[int], limit: int | None) -> NoReturn:
        """Read once more, for the lines of ids that occur twice."""
        first: dict[str, int] = {}
        pairs: list[str] = []
        for person in self.read(limit=limit):
            if hash(person.person_id) not in repeated:
                continue
            known = first.setdefault(person.person_id, person.line)
            if known != person.line:
                pairs.append(f"lines {known} and {person.line}")
        shown = ", ".join(pairs[:_DUPLICATES_SHOWN])
        more = len(pairs) - _DUPLICATES_SHOWN
        raise PeopleError(
            f"{self.path}: the same {PERSON_ID} stands in {shown}"
            + (f" and {more:,} more" if more > 0 else "")
            + "; each person may be there once"
        )

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        with self.path.open("rb") as file:
            if self._identify(os.fstat(file.fileno())) != self._identity:
                raise PeopleError(f"{self.path}: the file has changed since it was checked")
            yield file

    def _stat(self) -> os.stat_result:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise PeopleError(f"{self.path}: there is no such file") from None
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
            raise PeopleError(f"{self.path}: must be a file, which is read twice; found {what}")
        return found

    @staticmethod
    def _identify(found: os.stat_result) -> tuple[int, ...]:
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _mistake(self, line: int, what: str) -> PeopleError:
        return PeopleError(f"{self.path}, line {line}: {what}")


class _Lines:
    """The lines of a UTF-8 file; ``number`` is the last one's."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.number = 0
        self._file = file

    def __iter__(self) -> Iterator[str]:
        offset = 0
        while raw := self._file.readline(_LONGEST_ROW_BYTES + 1):
            self.number += 1
            if len(raw) > _LONGEST_ROW_BYTES:
                raise PeopleError(
                    f"{self.path}, line {self.number}: is longer than {_LONGEST_ROW_BYTES:,} bytes"
                )
            try:
                yield (raw.removeprefix(_BOM) if self.number == 1 else raw).decode()
            except UnicodeDecodeError as error:
                start = error.start + len(raw) - len(error.object)
                raise self._not_utf8(raw, offset, start) from None
            offset += len(raw)

    def _not_utf8(self, raw: bytes, offset: int, start: int) -> PeopleError:
        hint = "save the file as UTF-8"
        if offset == 0 and raw.startswith(_UTF16_MARKS):
            hint = f"it looks like UTF-16; {hint}"
        return PeopleError(
            f"{self.path}, line {self.number}: is no valid UTF-8 at byte {offset + start:,} of "
            f"the file (0x{raw[start]:02x}); {hint}"
        )


class _CsvRows:
    """The people of a CSV file."""

    def __init__(self, people: PeopleFile, lines: _Lines) -> None:
        self._path = people.path
        # For the whole process: csv knows no other way, and a prompt may well be longer than its
        # 128 kB.
        csv.field_size_limit(_LONGEST_ROW_BYTES)
        self._reader = csv.reader(lines, strict=True)
        self._line = 1

    def __iter__(self) -> Iterator[Person]:
        header = self._next_row()
        if header is None:
            raise PeopleError(f"{self._path}: is empty; its first row must name the columns")
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
            yield Person(row[id_column], _place(columns, row), self._line)

    def _next_row(self) -> list[str] | None:
        """Return the next row that is not blank; afterwards ``_line`` is where it begins."""
        row: list[str] = []
        while not row:
            self._line = self._reader.line_num + 1
            try:
                row = next(self._reader)
            except StopIteration:
                return None
            except csv.Error as error:
                raise self._mistake(f"no valid CSV: {error}") from None
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
                    raise self._mistake(f"column {inner!r} lies within {outer!r}, a column too")
        return names.index(PERSON_ID), columns

    def _mistake(self, what: str) -> PeopleError:
        return PeopleError(f"{self._path}, line {self._line}: {what}")


class _Ids:
    """Counts ids and tells whether one occurs twice, at 8 bytes an id."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets = [array("q") for _ in range(1024)]

    def add(self, person_id: str) -> None:
        number = hash(person_id)
        self._buckets[number & 1023].append(number)
        self.count += 1

    def repeated(self) -> set[int]:
        """Return the hashes that occur more than once; different ids may share one."""
        found: set[int] = set()
        for bucket in self._buckets:
            if len(set(bucket)) < len(bucket):
                found.update(number for number, count in Counter(bucket).items() if count > 1)
        return found


class _Attributes:
    """Collects which attributes occur in any row."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def add(self, data: Data) -> None:
        for scope, attributes in data.items():
            known = self._names.setdefault(scope, set())
            if not attributes.keys() <= known:
                known.update(attributes)

    def names(self) -> frozenset[tuple[str, str]]:
        return frozenset((scope, name) for scope, names in self._names.items() for name in names)


def attribute_path(name: str) -> list[str]:
    """Return the path of an attribute as templates read it; without a scope it is customer's."""
    path = name.split(".")
    return path if path[0] in SCOPES and len(path) > 1 else ["customer", *path]


def place(data: dict[str, Any], path: Sequence[str], value: object) -> None:
    """Put a value into nested mappings, which are made where they are missing."""
    for name in path[:-1]:
        data = data.setdefault(name, {})
    data[path[-1]] = value


def _place(columns: Sequence[tuple[int, list[str]]], row: Sequence[str]) -> Data:
    data: Data = {}
    for index, path in columns:
        if cell := row[index]:
            place(data, path, cell)
    return data


def _header_hint(names: Sequence[str]) -> str:
    if len(names) == 1:
        for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in names[0]:
                return f": the file seems to be separated by {word}; it must be by commas"
    return did_you_mean(PERSON_ID, names)


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _json_kind(value: object) -> str:
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
