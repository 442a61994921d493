"""Tests stand alone: what two of them share is in the harness or is a fixture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.harness.paths import ROOT

TESTS = ROOT / "tests"
KINDS = ("unit", "integration", "e2e")


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Return the modules that a file imports, and the names that it takes from them."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers_of(*packages: str) -> set[str]:
    """Return ``file: module`` for every import of these packages in the tests."""
    prefixes = tuple(f"tests.{package}." for package in packages)
    return {
        f"{path.relative_to(TESTS)}: {module}"
        for path in TESTS.rglob("*.py")
        for module in imported(path)
        if f"{module}.".startswith(prefixes)
    }


def test_no_module_imports_a_test_or_a_conftest() -> None:
    assert importers_of(*KINDS, "conftest") == set()


def test_an_import_of_the_harness_is_seen() -> None:
    assert "unit/house/test_tests.py: tests.harness.paths.ROOT" in importers_of("harness")
