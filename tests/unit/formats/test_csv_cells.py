from __future__ import annotations

import csv
import io

import pytest

from runtime.formats.csv_cells import csv_cell, csv_text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_begins_like_a_formula_stays_text(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


def test_everything_else_stays_as_it_is() -> None:
    row: list[str | int | None] = ["a=1", "", "it's", 'say "x", y', "1-2", -5, 0, None]
    [read] = csv.reader(io.StringIO(csv_text([row])))
    assert read == ["a=1", "", "it's", 'say "x", y', "1-2", "-5", "0", ""]
