"""The types of a people file's columns, in one line."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.campaigns.column_types import Column, Columns, ColumnType

_MOST_SHOWN = 30


def columns_text(columns: Columns) -> str:
    """Return the types as ``Columns: age number, city text``; empty if there are none."""
    if not columns.all:
        return ""
    shown = ", ".join(map(_column_text, columns.all[:_MOST_SHOWN]))
    more = len(columns.all) - _MOST_SHOWN
    return f"Columns: {shown}" + (f" and {more:,} more" if more > 0 else "")


def doubt_lines(columns: Columns) -> Iterator[str]:
    """Yield a note for each column that is text because of a single row, as far as is known."""
    for column in columns.all[:_MOST_SHOWN]:
        if column.doubt is not None:
            what = "numbers" if column.doubt is ColumnType.NUMBER else "true and false"
            yield (
                f"note: column {column.name} has {what} up to line {column.doubt_line}, which has "
                "something else; conditions see text in it"
            )


def _column_text(column: Column) -> str:
    return f"{column.name} {column.type}"
