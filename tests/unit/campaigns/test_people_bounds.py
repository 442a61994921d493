"""Bounds of what a people file may hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.campaigns.people import PeopleFile
from runtime.campaigns.people_rows import LONGEST_ROW_BYTES, PeopleError
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes

HALF = "x" * (LONGEST_ROW_BYTES // 2)


@pytest.mark.parametrize(
    "row",
    [
        f"{HALF}{HALF},b\n",
        f"{HALF},{HALF}\n",
        '"' + "line\n" * (LONGEST_ROW_BYTES // 4) + '",b\n',
        pytest.param(f'"{HALF}\n","{HALF}\n"\n', marks=pytest.mark.long),
        pytest.param(
            '"never closed\n' + "1,2\n" * (LONGEST_ROW_BYTES // 3), marks=pytest.mark.long
        ),
    ],
    ids=["a cell", "two cells", "lines in a cell", "lines in two cells", "an open quote"],
)
def test_law_15_a_row_of_a_people_file_has_a_bound_however_it_is_cut(
    tmp_path: Path, row: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_text("person_id,a,b\n1,a,b\n2," + row)

    def work() -> None:
        with pytest.raises(PeopleError, match=r"line 3: .*1,048,576"):
            PeopleFile(path).check()

    assert peak_bytes(work) < 32_000_000


def test_law_15_people_have_a_bounded_number_of_attributes(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    with path.open("w") as file:
        for number in range(11):
            row = {f"a{number}_{name}": 1 for name in range(1_000)}
            file.write(json.dumps({"person_id": str(number), **row}) + "\n")

    with pytest.raises(PeopleError, match="10,000 different attributes"):
        PeopleFile(path).check()


@pytest.mark.parametrize(
    "row",
    [
        f"1,{'x' * 1_000_000},b\n",
        '1,"' + "line\n" * 115_000 + '",b\n',
        '1,"' + '""' * 450_000 + '",b\n',
    ],
    ids=["a cell", "lines in a cell", "quotes in a cell"],
)
def test_law_15_a_row_at_its_bound_is_read_within_50_ms_of_cpu(tmp_path: Path, row: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text("person_id,a,b\n" + row)

    def work() -> None:
        assert len(list(PeopleFile(path).read())) == 1

    assert_cpu(work, 0.05)


def test_law_15_people_are_read_in_time_in_proportion_to_their_number(tmp_path: Path) -> None:
    def make(people: int) -> Path:
        path = tmp_path / f"{people}.csv"
        path.write_text("person_id,a,b\n" + "".join(f"{n},a{n},b\n" for n in range(people)))
        return path

    assert_linear(make, lambda path: PeopleFile(path).check(), 2_000)
