"""Cells of CSV that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_cell(value: str | int | None) -> str | int:
    """Return a cell; text that a spreadsheet would run as a formula gets an apostrophe before it.

    A number stays a number, a negative one too.

    >>> csv_cell("=1+1")
    "'=1+1"
    """
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def csv_text(rows: Iterable[Sequence[str | int | None]]) -> str:
    """Return rows as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
    return text.getvalue()
