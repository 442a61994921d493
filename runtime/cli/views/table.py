"""Tables of text with aligned columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> Iterator[str]:
    """Yield the rows, indented; columns with an index in ``right`` are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    flush_right = set(right)
    for row in rows:
        cells = [
            cell.rjust(width) if i in flush_right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()
