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

from runtime.campaigns.people_rows import (
    LONGEST_ROW_BYTES,
    PERSON_ID,
    CsvRows,
    Data,
    PeopleError,
    Person,
    parse_person,
)

__all__ = ["FORMATS", "PeopleError", "PeopleFile", "PeopleSummary", "Person"]

FORMATS = (".csv", ".jsonl")

_MOST_ATTRIBUTES = 10_000
_SAMPLE = 5
_DUPLICATES_SHOWN = 3
_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class PeopleSummary:
    """The result of checking a people file.

    Args:
        people: the number of people.
        attributes: those that at least one row has, as ``("customer", "message")``.
        sample: the first few people.
    """

    people: int
    attributes: frozenset[tuple[str, str]]
    sample: tuple[Person, ...]


class PeopleFile:
    """A CSV or JSON Lines file of people, in UTF-8.

    CSV: the first row names the columns; an empty cell counts as unknown. JSON Lines: each line
    is an object, either of attributes or of scopes (``customer``, ``event``...) that hold
    attributes. ``person_id`` is required. Attributes belong to ``customer``, unless a column's
    name says otherwise: ``event.pages``. Points in a column's name nest.

    Raises:
        PeopleError: the file is missing, is neither ``.csv`` nor ``.jsonl``, or can't be read
            twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix.lower() not in FORMATS:
            raise PeopleError(
                f"{path}: a people file must be named {' or '.join('*' + f for f in FORMATS)}, "
                f"found {path.suffix or 'a name without a suffix'}"
            )
        self._identity = self._identify(self._stat())

    def check(
        self,
        *,
        limit: int | None = None,
        check_person: Callable[[Person], object] = lambda person: None,
    ) -> PeopleSummary:
        """Read and check all rows, or the first ``limit``.

        Args:
            check_person: a further check of each person; its ``ValueError`` is reported with the
                line.

        Raises:
            PeopleError: naming the line and the mistake.
        """
        ids, attributes, sample = _Ids(), _Attributes(), list[Person]()
        for person in self.read(limit=limit):
            try:
                check_person(person)
            except ValueError as error:
                raise self._mistake(person.line, str(error)) from None
            ids.add(person.person_id)
            attributes.add(person.data)
            if len(sample) < _SAMPLE:
                sample.append(person)
        if not ids.count:
            raise PeopleError(f"{self.path}: the file has no people in it")
        if repeated := ids.repeated():
            self._report_duplicates(repeated, limit)
        return PeopleSummary(ids.count, attributes.names(), tuple(sample))

    def read(self, *, limit: int | None = None) -> Iterator[Person]:
        """Yield the people, row by row.

        Raises:
            PeopleError: while iterating, at a row that can't be read, or if the file has changed
                since this object was created.
        """
        return islice(self._read(), limit)

    def _read(self) -> Iterator[Person]:
        with self._open() as file:
            lines = _Lines(self.path, file)
            if self.path.suffix.lower() == ".csv":
                yield from CsvRows(lines, str(self.path))
            else:
                yield from self._json_rows(lines)

    def _json_rows(self, lines: _Lines) -> Iterator[Person]:
        for text in lines:
            if text.strip():
                place = f"{self.path}, line {lines.number}"
                yield parse_person(text, place, line=lines.number)

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
            f"{self.path}: the same {PERSON_ID} is on {shown}"
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


class _Lines:
    """The lines of a UTF-8 file; ``number`` is that of the last line read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.number = 0
        self._file = file

    def __iter__(self) -> Iterator[str]:
        offset = 0
        while raw := self._file.readline(LONGEST_ROW_BYTES + 1):
            self.number += 1
            if len(raw) > LONGEST_ROW_BYTES:
                raise PeopleError(
                    f"{self.path}, line {self.number}: is longer than {LONGEST_ROW_BYTES:,} bytes"
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
            f"{self.path}, line {self.number}: is not valid UTF-8 at byte {offset + start:,} of "
            f"the file (0x{raw[start]:02x}); {hint}"
        )


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
