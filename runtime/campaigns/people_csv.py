"""The rows of a CSV file of people, as spreadsheets and databases write them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from runtime.campaigns.people_format import SEPARATORS, PeopleFormat
from runtime.campaigns.people_rows import (
    LONGEST_ROW_BYTES,
    MOST_EMPTY_ROWS,
    PERSON_ID,
    Data,
    PeopleError,
    Person,
    attribute_path,
    normal_id,
    place,
)
from runtime.hints import did_you_mean

MOST_COLUMNS = 10_000

_USUAL_FORM = PeopleFormat()
# A line takes as long to read as so many more characters would.
_LINE_TAKES = 4
_SEPARATOR_LINE = re.compile(r"""["']?sep=(.)["']?[,;\t|]*""", re.IGNORECASE).fullmatch
"""A first line by which Excel is told the separator."""


class CsvRows:
    """The people of a CSV file, row by row; their cells are text, and empty ones are left out.

    The separator is the one that makes the id a column, unless the form or a first line ``sep=;``
    names it. Rows of empty cells are skipped, and so are columns at the end that have neither a
    name nor a cell.

    Args:
        place: the name of the file in errors.
        form: the separator, if it is known, and the column of the id.

    Raises:
        PeopleError: there is no header, or it can't be used.
    """

    def __init__(self, lines: Iterable[str], place: str, form: PeopleFormat = _USUAL_FORM) -> None:
        self._place = place
        self._form = form
        self._id_name = form.id_column
        self.line = 1
        """The line where the last row began."""
        self._row_length = 0
        # For the whole process: csv has no other way, and a prompt may be longer than its 128 kB.
        csv.field_size_limit(LONGEST_ROW_BYTES)
        self._lines_before = 0
        self._separator, lines = self._find_separator(iter(lines))
        self._reader = csv.reader(self._bounded(lines), delimiter=self._separator, strict=True)
        header = self._next_row()
        if header is None:
            raise PeopleError(f"{place}: is empty; its first row must name the columns")
        if len(header) > MOST_COLUMNS:
            raise self._mistake(
                f"the header has {len(header):,} columns, {MOST_COLUMNS:,} are allowed"
            )
        names = [name.strip() for name in header]
        while not names[-1]:
            names.pop()
        self._nameless = len(header) > len(names)
        self._length = len(names)
        self._id_column, self._columns = self._check_header(names)
        self.columns = {names[index]: path for index, path in self._columns}
        """The paths of attributes by the columns' names."""

    def __iter__(self) -> Iterator[Person]:
        while (row := self._next_row()) is not None:
            if len(row) != self._length:
                self._check_length(row)
            person_id = normal_id(row[self._id_column])
            if not person_id:
                raise self._mistake(f"{self._id_name} is empty")
            yield Person(person_id, self._data(row), self.line)

    def _find_separator(self, lines: Iterator[str]) -> tuple[str, Iterator[str]]:
        """Return the separator, and the lines from the header on."""
        named: str | None = None
        for line in lines:
            text = line.rstrip("\r\n")
            if self._lines_before == 0 and (found := _SEPARATOR_LINE(text)):
                named = found[1]
                if named not in SEPARATORS and self._form.delimiter is None:
                    allowed = ", ".join(SEPARATORS.values())
                    raise self._mistake(f"sep= names {named!r}; allowed are {allowed}")
            elif text.strip("".join(SEPARATORS) + ' "'):
                self.line = self._lines_before + 1
                self._check_empty(self._lines_before)
                separator = self._form.delimiter or named or _separator_of(text, self._id_name)
                return separator, chain([line], lines)
            self._lines_before += 1
        return self._form.delimiter or named or ",", lines

    def _check_empty(self, rows: int) -> None:
        if rows > MOST_EMPTY_ROWS:
            raise self._mistake(
                f"follows {rows:,} empty rows; allowed are {MOST_EMPTY_ROWS:,} in a row"
            )

    def _bounded(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the lines; cells in quotes may go on over many of them."""
        for line in lines:
            self._row_length += len(line) + _LINE_TAKES
            if self._row_length > LONGEST_ROW_BYTES:
                raise self._mistake(
                    f"the row is longer than {LONGEST_ROW_BYTES:,} characters; is a quote missing?"
                )
            yield line

    def _next_row(self) -> list[str] | None:
        """Return the next row that has a cell, and set ``_line`` to the line where it begins."""
        row: list[str] = []
        empty = -1
        while not any(cell and not cell.isspace() for cell in row):
            self.line = self._lines_before + self._reader.line_num + 1
            self._row_length = 0
            try:
                row = next(self._reader)
            except StopIteration:
                return None
            except csv.Error as error:
                raise self._mistake(f"not valid CSV: {error}") from None
            empty += 1
        self._check_empty(empty)
        return row

    def _check_length(self, row: list[str]) -> None:
        """Refuse a row of another length than the header, unless it only ends in empty cells."""
        if len(row) > self._length and not any(cell.strip() for cell in row[self._length :]):
            return
        nameless = f"; column {self._length + 1} has no name" if self._nameless else ""
        raise self._mistake(
            f"has {len(row)} {_plural('cell', len(row))}, but the header has {self._length} "
            f"{_plural('column', self._length)}{nameless}; is a quote or a "
            f"{SEPARATORS.get(self._separator, self._separator)} missing?"
        )

    def _check_header(self, names: Sequence[str]) -> tuple[int, list[tuple[int, list[str]]]]:
        for name, count in Counter(names).items():
            if not name:
                raise self._mistake(f"column {names.index(name) + 1} has no name")
            if count > 1:
                raise self._mistake(f"{count} columns are named {name!r}")
        wanted = self._id_name
        if wanted not in names:
            raise self._mistake(
                f"there is no column {wanted!r}{did_you_mean(wanted, names)}{self._cut_hint(names)}"
            )
        columns = [(i, attribute_path(name)) for i, name in enumerate(names) if name != wanted]
        paths = {".".join(path) for _, path in columns}
        for _, path in columns:
            for length in range(2, len(path)):
                if (outer := ".".join(path[:length])) in paths:
                    inner = ".".join(path)
                    raise self._mistake(
                        f"column {inner!r} lies within {outer!r}, which is also a column"
                    )
        return names.index(wanted), columns

    def _cut_hint(self, names: Sequence[str]) -> str:
        """Return how the header was cut, where that may be the mistake."""
        if len(names) > 1:
            return "; name it with --id-column" if self._id_name == PERSON_ID else ""
        cut = SEPARATORS.get(self._separator, self._separator)
        return f"; the header has no {cut}, so it is one column: name another --delimiter"

    def _data(self, row: Sequence[str]) -> Data:
        data: Data = {}
        for index, path in self._columns:
            if cell := row[index]:
                place(data, path, cell)
        return data

    def _mistake(self, what: str) -> PeopleError:
        return PeopleError(f"{self._place}, line {self.line}: {what}")


def _separator_of(header: str, id_column: str) -> str:
    """Return the separator that makes the id a column, or else the most columns."""
    most, best = 0, ","
    for separator in SEPARATORS:
        try:
            names = next(csv.reader([header], delimiter=separator))
        except csv.Error:  # told with its line when the header is read
            continue
        if id_column in (name.strip() for name in names):
            return separator
        if len(names) > most:
            most, best = len(names), separator
    return best


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
