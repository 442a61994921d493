"""docs/bounds.md: every bound has a number, says what happens beyond it, and has a test."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.harness.bounds import assert_linear, cpu_s, peak_bytes
from tests.harness.paths import ROOT

PAGE = ROOT / "docs" / "bounds.md"
SECTIONS = [
    "Answers",
    "Templates",
    "Stored records",
    "HTTP",
    "Files and configuration",
    "Bills",
    "Accounts",
    "Keys",
    "Alerts",
    "Queue",
]
HEAD = "| what comes from outside | bound | beyond it | tests |"
RULE = "| --- | --- | --- | --- |"
MEASURED = "How each bound is measured"
MEASURED_HEAD = "| bound | CPU | memory | twice the input |"
NOT_MEASURED_HERE = ["Bills", "Accounts", "Keys", "Alerts", "Queue"]
"""Sections whose bounds are amounts or waits, which take no CPU and no memory, or hold in Redis."""

# What a test calls to measure, by column of the table.
MEASURES = [
    {"assert_cpu", "cpu_s", "thread_time", "loop_holds_s"},
    {"peak_bytes", "get_traced_memory"},
    {"assert_linear"},
]


def cells(text: str) -> list[list[str]]:
    """Return the cells of each row of the tables in a text."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|") and line not in (HEAD, MEASURED_HEAD, RULE)
    ]


def rows() -> list[list[str]]:
    """Return the cells of each row of all tables of bounds."""
    return cells(PAGE.read_text("utf-8").partition(f"## {MEASURED}")[0])


def measured() -> list[list[str]]:
    return cells(PAGE.read_text("utf-8").partition(f"## {MEASURED}")[2])


@cache
def names_used_by_tests() -> dict[str, set[str]]:
    """Return the names that each test reads or calls."""
    return {
        node.name: {
            part.id if isinstance(part, ast.Name) else part.attr
            for part in ast.walk(node)
            if isinstance(part, ast.Name | ast.Attribute)
        }
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_the_page_has_a_table_for_each_kind_of_input() -> None:
    text = PAGE.read_text("utf-8")

    assert re.findall(r"(?m)^## (.+)$", text) == [*SECTIONS, MEASURED]
    assert text.count(f"{HEAD}\n{RULE}\n") == len(SECTIONS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_bound_has_a_number_and_says_what_happens_beyond_it(row: list[str]) -> None:
    assert len(row) == 4, f"a row has four cells, none with a bar between spaces: {row}"
    what, bound, beyond, _ = row
    assert what
    assert beyond
    assert re.search(r"\d", bound)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_each_bound_has_its_tests(row: list[str]) -> None:
    named = re.findall(r"`(\w+)`", row[3])

    assert named
    assert [name for name in named if not name.startswith("test_law_15_")] == []
    assert [name for name in named if name not in names_used_by_tests()] == []


def test_each_bound_is_measured() -> None:
    sections = re.split(r"(?m)^## ", PAGE.read_text("utf-8").partition(f"## {MEASURED}")[0])
    bounds = [
        row[0]
        for section in sections
        if section.partition("\n")[0] not in NOT_MEASURED_HERE
        for row in cells(section)
    ]

    assert [row[0] for row in measured()] == bounds


@pytest.mark.parametrize("row", measured(), ids=lambda row: row[0])
def test_what_a_measure_names_measures_that_or_it_says_why_nothing_does(row: list[str]) -> None:
    _, *measures = row
    assert len(measures) == len(MEASURES)
    for cell, calls in zip(measures, MEASURES, strict=True):
        named = re.findall(r"`(test_\w+)`", cell)
        assert named or len(cell.split()) >= 4, "neither a test nor a reason"
        used = [names_used_by_tests()[name] for name in named]
        assert not named or any(names & calls for names in used), f"{cell} measures none of {calls}"


def test_quadratic_work_is_noticed() -> None:
    def quadratic(size: int) -> int:
        return sum(1 for _ in range(size) for _ in range(size))

    with pytest.raises(AssertionError, match="twice the size of 300"):
        assert_linear(int, quadratic, 300)
    assert_linear(int, lambda size: sum(range(size)), 100_000)


def test_cpu_and_memory_are_those_of_the_work() -> None:
    assert cpu_s(lambda: sum(range(300_000))) > 10 * cpu_s(lambda: sum(range(3_000)))
    assert 900_000 < peak_bytes(lambda: bytearray(1_000_000)) < 1_200_000
