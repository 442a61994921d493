"""The product's docstrings begin with a verb or a noun, as readers of a reference expect."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.paths import ROOT

QUESTIONS = {
    "what",
    "whether",
    "how",
    "who",
    "whose",
    "where",
    "which",
    "when",
    "why",
    "if",
    "that",
}
PRODUCT = ("runtime", "pricing", "fallback", "providers")


def modules() -> Iterator[Path]:
    """Yield every module that users get."""
    yield ROOT / "creditgate.py"
    for folder in PRODUCT:
        yield from sorted((ROOT / folder).rglob("*.py"))


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring, those behind attributes and constants included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    text = statement.value.value
                    if isinstance(text, str):
                        yield statement.lineno, text


def begins_as_a_question(text: str) -> bool:
    first = re.search(r"\w+", text)
    return first is not None and first[0].lower() in QUESTIONS


def test_no_docstring_of_the_product_begins_like_a_question() -> None:
    seen = 0
    wrong = []
    for path in modules():
        for line, text in docstrings(path.read_text(encoding="utf-8")):
            seen += 1
            if begins_as_a_question(text):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert wrong == []
    assert seen > 1_000


@pytest.mark.parametrize(
    "source",
    [
        '"""What this module does."""',
        'def f() -> None:\n    """Whether it works."""',
        'class A:\n    """\n    How it works.\n    """',
        'LIMIT = 1\n"""Where it ends."""',
    ],
)
def test_such_a_docstring_is_found_wherever_it_stands(source: str) -> None:
    assert [begins_as_a_question(text) for _, text in docstrings(source)] == [True]


def test_a_docstring_that_begins_with_a_verb_is_not_taken_for_a_question() -> None:
    assert not begins_as_a_question("Return whether it works.")
