"""The lines of a text of people, and the people of JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from runtime.campaigns.people_rows import (
    LONGEST_ROW_BYTES,
    MOST_EMPTY_ROWS,
    PeopleError,
    Person,
    parse_person,
)
from runtime.campaigns.people_stream import StreamError

_BOM = b"\xef\xbb\xbf"
_GZIP_MARK = b"\x1f\x8b"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Lines:
    """The lines of a UTF-8 text; ``number`` is that of the last line read.

    Args:
        place: the name of the text in errors.
        is_file: errors may name the options by which a file can be read.
    """

    def __init__(self, place: str, file: BinaryIO, *, is_file: bool = True) -> None:
        self.place = place
        self.number = 0
        self._file = file
        self._is_file = is_file

    def __iter__(self) -> Iterator[str]:
        offset = 0
        try:
            while raw := self._file.readline(LONGEST_ROW_BYTES + 1):
                self.number += 1
                if len(raw) > LONGEST_ROW_BYTES:
                    raise PeopleError(
                        f"{self.place}, line {self.number}: is longer than {LONGEST_ROW_BYTES:,} "
                        "bytes"
                    )
                try:
                    yield (raw.removeprefix(_BOM) if self.number == 1 else raw).decode()
                except UnicodeDecodeError as error:
                    start = error.start + len(raw) - len(error.object)
                    raise self._not_utf8(raw, offset, start) from None
                offset += len(raw)
        except StreamError as error:
            raise PeopleError(f"{self.place}, line {self.number + 1}: {error}") from None

    def _not_utf8(self, raw: bytes, offset: int, start: int) -> PeopleError:
        hint = f"; {self._hint(raw, offset)}" if self._is_file else ""
        what = "the file" if self._is_file else "the text"
        return PeopleError(
            f"{self.place}, line {self.number}: is not valid UTF-8 at byte {offset + start:,} of "
            f"{what} (0x{raw[start]:02x}){hint}"
        )

    @staticmethod
    def _hint(raw: bytes, offset: int) -> str:
        if offset == 0 and raw.startswith(_UTF16_MARKS):
            return "it looks like UTF-16: say so with --encoding utf-16"
        if offset == 0 and raw.startswith(_GZIP_MARK):
            return "it looks packed with gzip: name it *.gz"
        return "save it as UTF-8, or say with --encoding what it is in (windows-1252, say)"


class JsonRows:
    """The people of JSON Lines, line by line; ``line`` is that of the last one."""

    def __init__(self, lines: Lines, id_key: str) -> None:
        self._lines = lines
        self._id_key = id_key

    @property
    def line(self) -> int:
        """The line that was read last."""
        return self._lines.number

    def __iter__(self) -> Iterator[Person]:
        empty = 0
        for text in self._lines:
            if not text.strip():
                empty += 1
                continue
            number = self._lines.number
            place = f"{self._lines.place}, line {number}"
            if empty > MOST_EMPTY_ROWS:
                raise PeopleError(
                    f"{place}: follows {empty:,} empty lines; allowed are {MOST_EMPTY_ROWS:,} in a "
                    "row"
                )
            empty = 0
            yield parse_person(text, place, line=number, id_key=self._id_key)
