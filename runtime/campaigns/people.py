"""The people that an action runs for, read from a CSV or JSON Lines file as a stream.

A file is read twice: first to check all of it, before anything is charged, then to run. Neither
pass keeps people in memory.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn

from runtime.campaigns.column_types import ColumnRules, Columns, Survey
from runtime.campaigns.people_csv import CsvRows
from runtime.campaigns.people_format import PeopleFormat
from runtime.campaigns.people_lines import JsonRows, Lines
from runtime.campaigns.people_rows import Data, PeopleError, Person
from runtime.campaigns.people_stream import open_stream

__all__ = ["FORMATS", "PeopleError", "PeopleFile", "PeopleFormat", "PeopleSummary", "Person"]

FORMATS = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")

_USUAL_FORM = PeopleFormat()
_MOST_ATTRIBUTES = 10_000
_SAMPLE = 5
_DUPLICATES_SHOWN = 3
_ALL_TEXT = ColumnRules()
_UNTYPED = Columns()


@dataclass(frozen=True, slots=True)
class PeopleSummary:
    """The result of checking a people file.

    Args:
        people: the number of people.
        attributes: those that at least one row has, as ``("customer", "message")``.
        sample: the first few people, with typed attributes.
        columns: the types of a CSV file's columns.
    """

    people: int
    attributes: frozenset[tuple[str, str]]
    sample: tuple[Person, ...]
    columns: Columns


class PeopleFile:
    """A CSV or JSON Lines file of people, packed with gzip or not.

    CSV: the first row names the columns; an empty cell counts as unknown. Cells are text until
    they are read with the columns that ``check`` finds. JSON Lines: each line is an object, either
    of attributes or of scopes (``customer``, ``event``...) that hold attributes, and values have
    the types of JSON. ``person_id`` is required. Attributes belong to ``customer``, unless a
    column's name says otherwise: ``event.pages``. Points in a column's name nest.

    Args:
        form: the separator of columns, the encoding and the column of the id, where they are not
            the usual ones.

    Raises:
        PeopleError: the file is missing, is named like none of ``FORMATS``, or can't be read twice.
    """

    def __init__(self, path: Path, form: PeopleFormat = _USUAL_FORM) -> None:
        self.path = path
        self._form = form
        name = path.name.lower()
        self._is_packed = name.endswith(".gz")
        self._kind = Path(name.removesuffix(".gz")).suffix
        if not name.endswith(FORMATS):
            raise PeopleError(
                f"{path}: a people file must be named {', '.join('*' + f for f in FORMATS[:-1])} "
                f"or *{FORMATS[-1]}, found {path.suffix or 'a name without a suffix'}"
            )
        if form.delimiter is not None and self._kind != ".csv":
            raise PeopleError(f"{path}: a delimiter is for .csv files; JSON Lines have none")
        self._identity = self._identify(self._stat())

    def check(
        self,
        *,
        limit: int | None = None,
        check_person: Callable[[Person], object] = lambda person: None,
        rules: ColumnRules = _ALL_TEXT,
    ) -> PeopleSummary:
        """Read and check all rows, or the first ``limit``.

        Types are inferred from the whole file, whatever the limit, so that a trial with the first
        people sends the prompts that the campaign will send.

        Args:
            check_person: a further check of each person; its ``ValueError`` is reported with the
                line.
            rules: the types that columns have.

        Raises:
            PeopleError: naming the line and the mistake.
        """
        ids, attributes, sample = _Ids(), _Attributes(), list[Person]()
        with self._open() as file:
            rows = self._rows(file)
            survey = self._survey(rows, rules)
            people = iter(rows)
            for person in islice(people, limit):
                try:
                    survey.check(person.data)
                    check_person(person)
                except ValueError as error:
                    raise self._mistake(person.line, str(error)) from None
                survey.infer(person.data, person.line)
                ids.add(person.person_id)
                attributes.add(person.data)
                if len(sample) < _SAMPLE:
                    sample.append(person)
            while not survey.is_decided and (after := next(people, None)) is not None:
                survey.infer(after.data, after.line)
        if not ids.count:
            raise PeopleError(f"{self.path}: the file has no people in it")
        if repeated := ids.repeated():
            self._report_duplicates(repeated, limit)
        columns = survey.found()
        for one in sample:
            columns.give_types(one.data)
        return PeopleSummary(ids.count, attributes.names(), tuple(sample), columns)

    def read(self, *, limit: int | None = None, columns: Columns = _UNTYPED) -> Iterator[Person]:
        """Yield the people, row by row.

        Args:
            columns: the types that ``check`` found.

        Raises:
            PeopleError: while iterating, at a row that can't be read, or if the file has changed
                since this object was created.
        """
        return islice(self._read(columns), limit)

    def _read(self, columns: Columns) -> Iterator[Person]:
        with self._open() as file:
            for person in self._rows(file):
                columns.give_types(person.data)
                yield person

    def _rows(self, file: BinaryIO) -> CsvRows | JsonRows:
        stream = open_stream(file, is_packed=self._is_packed, encoding=self._form.encoding)
        lines = Lines(str(self.path), stream)
        if self._kind == ".csv":
            return CsvRows(lines, str(self.path), self._form)
        return JsonRows(lines, self._form.id_column)

    def _survey(self, rows: CsvRows | JsonRows, rules: ColumnRules) -> Survey:
        if not isinstance(rows, CsvRows):
            if rules.declared:
                raise PeopleError(
                    f"{self.path}: types of columns are for .csv files; the values of a JSON Lines "
                    "file have the types of JSON"
                )
            return Survey({}, rules)
        try:
            return Survey(rows.columns, rules, self._form.id_column)
        except ValueError as error:
            raise PeopleError(f"{self.path}: {error}") from None

    def _report_duplicates(self, repeated: set[int], limit: int | None) -> NoReturn:
        """Read the file again to find the lines of ids that occur twice."""
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
            f"{self.path}: the same {self._form.id_column} is on {shown}"
            + (f" and {more:,} more" if more > 0 else "")
            + "; each person may occur only once"
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
            raise PeopleError(f"{self.path}: no such file") from None
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
            raise PeopleError(
                f"{self.path}: must be a file, because it is read twice; found {what}"
            )
        return found

    @staticmethod
    def _identify(found: os.stat_result) -> tuple[int, ...]:
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _mistake(self, line: int, what: str) -> PeopleError:
        return PeopleError(f"{self.path}, line {line}: {what}")


class _Ids:
    """A count of ids that finds repeated ones, at 8 bytes an id."""

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
    """The attributes that occur in any row."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def add(self, data: Data) -> None:
        for scope, attributes in data.items():
            known = self._names.setdefault(scope, set())
            if not attributes.keys() <= known:
                known.update(attributes)
                if len(known) > _MOST_ATTRIBUTES:
                    raise PeopleError(
                        f"the people have more than {_MOST_ATTRIBUTES:,} different attributes"
                    )

    def names(self) -> frozenset[tuple[str, str]]:
        return frozenset((scope, name) for scope, names in self._names.items() for name in names)
