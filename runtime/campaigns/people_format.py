"""The form of a people file, where its name and its content don't say it all."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from runtime.campaigns.people_rows import PERSON_ID, PeopleError
from runtime.campaigns.people_stream import normal_encoding

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""The separators that are found by themselves."""

_BY_NAME = {name: separator for separator, name in SEPARATORS.items()} | {"\\t": "\t"}


@dataclass(frozen=True, slots=True)
class PeopleFormat:
    """The form of a people file.

    Args:
        delimiter: what separates the columns of a CSV file: one character or ``comma``,
            ``semicolon``, ``tab`` or ``bar``; ``None`` finds one of these.
        encoding: of the text, once it is unpacked.
        id_column: the column, or the key of a JSON object, that holds the person's id.

    Raises:
        PeopleError: the delimiter or the encoding is none; the message names those that are.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"
    id_column: str = PERSON_ID

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", _separator(self.delimiter))
        try:
            object.__setattr__(self, "encoding", normal_encoding(self.encoding))
        except ValueError as error:
            raise PeopleError(f"encoding: {error}") from None
        if not self.id_column.strip():
            raise PeopleError("id column: found no name")
        object.__setattr__(self, "id_column", self.id_column.strip())


def _separator(text: str) -> str:
    found = _BY_NAME.get(text.lower(), text)
    is_sign = len(found) == 1 and unicodedata.category(found)[0] in "PSC"
    if not is_sign or found in "\"'\r\n\0\ufeff":
        raise PeopleError(
            f"delimiter: found {text!r}, allowed are {', '.join(SEPARATORS.values())} and any "
            "other punctuation mark or symbol but quotes"
        )
    return found
