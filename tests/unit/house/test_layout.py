"""The rule by which the wheel's build rewrites imports sees all of them, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from hatch_build import FOLDERS, PACKAGE, files, rewrite
from tests.harness.paths import ROOT

SOURCES = sorted({path for path, _ in files(ROOT) if path.suffix == ".py"})
MODULE = re.compile(rf"\b(?:{'|'.join(FOLDERS)})\.[a-z_]+\b")


def is_ours(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] in FOLDERS


def names_a_module(text: str) -> bool:
    paths = [ROOT / found.replace(".", "/") for found in MODULE.findall(text)]
    return any(path.is_dir() or path.with_suffix(".py").is_file() for path in paths)


def strings(tree: ast.Module) -> Iterator[str]:
    """The texts of a module, but for docstrings, which may speak of modules."""
    spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in spoken
        ):
            yield node.value


def test_the_wheel_has_the_same_code_with_its_imports_renamed() -> None:
    assert len(SOURCES) > 100
    for path in SOURCES:
        source = path.read_text("utf-8")
        renamed = ast.parse(source)
        for node in ast.walk(renamed):
            if isinstance(node, ast.ImportFrom) and is_ours(node.module):
                node.module = f"{PACKAGE}.{node.module}"
        assert ast.dump(ast.parse(rewrite(source))) == ast.dump(renamed), path


def test_every_import_of_a_module_is_one_that_is_renamed() -> None:
    found = {
        (path, alias.name)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
        if is_ours(alias.name)
    }
    assert found == set(), "write `from runtime.x import name`"


def test_nothing_below_the_public_names_imports_them() -> None:
    # import-linter can't hold this: creditgate.py is a module, and its roots are packages.
    found = {
        path
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.ImportFrom) and node.module == PACKAGE)
        or (isinstance(node, ast.Import) and any(name.name == PACKAGE for name in node.names))
    }
    assert found == set()


def test_no_string_names_a_module() -> None:
    found = {
        (path, text)
        for path in SOURCES
        for text in strings(ast.parse(path.read_text("utf-8")))
        if names_a_module(text)
    }
    assert found == set(), "use __package__, files(__package__) or Path(__file__)"
    assert names_a_module("-m runtime.cli")
    assert names_a_module("pricing.usage:TokenUsage")
    assert not names_a_module("see docs/providers.md")


def test_an_import_is_renamed_wherever_it_stands() -> None:
    assert rewrite("from runtime.ids import A\n    from pricing import quote\n") == (
        "from creditgate.runtime.ids import A\n    from creditgate.pricing import quote\n"
    )


@pytest.mark.parametrize(
    "line", ["import runtime.ids", "x = 'from runtime.ids'", "from runtimes import x", "# runtime."]
)
def test_nothing_else_is_renamed(line: str) -> None:
    assert rewrite(line) == line
