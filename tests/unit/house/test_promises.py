"""docs/promises.md: each promise has its tests, and nobody cites one that is not on the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.harness.paths import ROOT

PAGE = ROOT / "docs" / "promises.md"
LAWS = [str(number) for number in range(1, 18)]
CODE = ("runtime", "providers", "pricing", "fallback")

HEADING = re.compile(r"(?m)^##+ (?P<number>\d+[a-z]?)\. .+$")
STATUS = re.compile(r"(?m)^\*\*(In force|Partly in force)\.\*\* ")
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
ANY_LAW_TEST = re.compile(r"test_laws?_\d")
TEST_OF_ONE = re.compile(r"test_law_(\d+[a-z]?)((?:_and_\d+[a-z]?)*)_[a-z]")
TEST_OF_MANY = re.compile(r"test_laws_(\d+)_to_(\d+)_[a-z]")
CITED = re.compile(r"\blaws? (\d+[a-z]?)((?:(?:, | and | to |, and )\d+[a-z]?)*)", re.IGNORECASE)
OLD_NUMBER = re.compile(r"\bpromises? \(?\d", re.IGNORECASE)


@dataclass(frozen=True)
class LawTest:
    """A test that carries the numbers of laws; a range carries them all, but holds none alone."""

    where: str
    name: str
    numbers: frozenset[str]
    is_range: bool


def sections() -> dict[str, str]:
    """Return the page's text for each number, its heading included."""
    text = PAGE.read_text()
    headings = list(HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found = {
        heading["number"]: text[heading.start() : end]
        for heading, end in zip(headings, ends, strict=True)
    }
    assert len(found) == len(headings), "a number stands twice"
    return found


@cache
def law_tests() -> tuple[LawTest, ...]:
    return tuple(
        read_name(str(path.relative_to(ROOT)), node.name)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and ANY_LAW_TEST.match(node.name)
    )


def read_name(where: str, name: str) -> LawTest:
    if many := TEST_OF_MANY.match(name):
        first, last = int(many[1]), int(many[2])
        return LawTest(where, name, frozenset(map(str, range(first, last + 1))), is_range=True)
    one = TEST_OF_ONE.match(name)
    if one is None:  # neither test_law_3b_... nor test_laws_1_to_3_...: no number of the page
        return LawTest(where, name, frozenset([name]), is_range=False)
    also = re.findall(r"\d+[a-z]?", one[2])
    return LawTest(where, name, frozenset([one[1], *also]), is_range=False)


def sources() -> Iterator[tuple[str, str]]:
    """Every file that may cite a law, with its text on one line, so that no citation is split."""
    files: list[Path] = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for folder in (*CODE, "tests"):
        for ending in ("*.py", "*.lua"):
            files += (ROOT / folder).rglob(ending)
    for path in sorted(files):
        if path != Path(__file__):
            text = re.sub(r"\n\s*(?:#|--)?\s*", " ", path.read_text())
            yield str(path.relative_to(ROOT)), text


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    words = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return "#" + words.replace(" ", "-")


def test_the_page_has_all_laws_in_order_and_their_parts_after_them() -> None:
    numbers = list(sections())

    assert [number for number in numbers if number.isdigit()] == LAWS
    assert numbers == sorted(numbers, key=lambda n: (int(n.rstrip("abcdef")), n))


@pytest.mark.parametrize("number", list(sections()))
def test_each_promise_has_a_test_that_carries_its_number(number: str) -> None:
    # A law is held where one of its parts is.
    numbers = {n for test in law_tests() if not test.is_range for n in test.numbers}
    holding = {n for n in numbers if n == number or (number.isdigit() and n[:-1] == number)}

    assert holding, f"no test is named test_law_{number}_..."


@pytest.mark.parametrize("number", list(sections()))
def test_each_promise_says_where_it_is_enforced_and_which_tests_hold_it(number: str) -> None:
    text = sections()[number]
    prefixes = {number, f"{number}a"} if number.isdigit() else {number}

    assert "Enforced in: [" in text
    assert any(f"`law_{prefix}_`" in text for prefix in prefixes)


@pytest.mark.parametrize("number", LAWS)
def test_each_law_says_how_far_it_is_in_force(number: str) -> None:
    text = sections()[number]
    status = STATUS.search(text)

    assert status is not None
    assert ("Missing: " in text) == (status[1] == "Partly in force")


def test_every_test_of_a_law_names_one_that_there_is() -> None:
    known = sections().keys()
    unknown = [f"{t.where}: {t.name}" for t in law_tests() if not t.numbers <= known]

    assert len(law_tests()) > 200
    assert unknown == []


def test_code_and_docs_cite_no_other_number() -> None:
    known = sections().keys()
    cited = [
        (where, number)
        for where, text in sources()
        for found in CITED.finditer(text)
        for number in re.findall(r"\d+[a-z]?", found.group())
    ]

    assert len(cited) > 10
    assert [(where, number) for where, number in cited if number not in known] == []


def test_nobody_cites_the_numbers_that_promises_had_once() -> None:
    cited = [where for where, text in sources() if OLD_NUMBER.search(text)]

    assert cited == []


def test_every_link_to_a_promise_leads_to_one() -> None:
    anchors = {anchor(heading) for heading in re.findall(r"(?m)^#+ .+$", PAGE.read_text())}
    links = [
        (where, found)
        for where, text in sources()
        for found in re.findall(r"promises\.md(#[^)\s]+)", text)
    ]

    assert len(links) > 18
    assert [(where, found) for where, found in links if found not in anchors] == []


def test_every_link_of_the_page_leads_somewhere() -> None:
    text = PAGE.read_text()
    anchors = {anchor(heading) for heading in re.findall(r"(?m)^#+ .+$", text)}
    dead = []
    for path, fragment in LINK.findall(text):
        if path.startswith("https://"):
            continue
        if not (PAGE.parent / path).exists() or (not path and fragment not in anchors):
            dead.append(path + fragment)

    assert len(LINK.findall(text)) > 60
    assert dead == []
