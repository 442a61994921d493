"""Copies of the project, and what the ledger's tests say of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.harness.mutation.mutation import Mutation
from tests.harness.mutation.warmed import SCRIPTS_BROKEN
from tests.harness.paths import ROOT

PARTS = ("runtime", "pricing", "fallback", "providers", "tests")
# Where the ledger's tests are; those of the faults themselves are not copied.
SUITE = ("tests/unit/credits", "tests/integration/credits", "tests/integration/releases")
NOT_COPIED = shutil.ignore_patterns("mutation", "bench")
TEMPORARY = "tmp"
TESTS_FAILED = 1
# A fault may have a test wait for ever.
_LONGEST_TEST_S = 30
_LONGEST_RUN_S = 600

_FAILED = re.compile(r"^FAILED (\S+::\S+)", re.MULTILINE)
_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
_FOUND = """
import json, sys, pytest
assert pytest.main({arguments}) == 0
print(json.dumps(sorted(name for name in sys.modules if not name.startswith("_pytest_"))))
"""


def named(end: str) -> list[str]:
    """The suite's tests whose names end so, as pytest is told them."""
    return [place for name, place in _tests() if name.endswith(f"_{end}")]


def those_that_notice(mutations: Iterable[Mutation]) -> list[str]:
    """The tests that are said to notice these faults."""
    ends = dict.fromkeys(mutation.noticed_by for mutation in mutations)
    return [place for end in ends for place in named(end)]


@cache
def _tests() -> list[tuple[str, str]]:
    return [
        (name, f"{path.relative_to(ROOT).as_posix()}::{name}")
        for folder in SUITE
        for path in sorted((ROOT / folder).rglob("test_*.py"))
        for name in _TEST.findall(path.read_text("utf-8"))
    ]


@dataclass(frozen=True)
class Verdict:
    """How a run of tests ended."""

    exit_code: int
    output: str

    @property
    def failed(self) -> list[str]:
        return _FAILED.findall(self.output)

    @property
    def found_a_fault(self) -> bool:
        """A test failed; files that can't be read or imported end a run in another way."""
        return self.exit_code == TESTS_FAILED and bool(self.failed)


class Runs:
    """Runs tests on copies, each in a child of a process that has imported all but the project.

    Args:
        modules: what that process imports.
    """

    def __init__(self, modules: list[str]) -> None:
        own = ("PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
        env = {name: value for name, value in os.environ.items() if name not in own}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warmed.py")), json.dumps(modules)],
            env=env | {"CI": "true"},  # in CI the same examples are tried every time
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def test(self, copy: Copy, *arguments: str, scripts_url: str = "") -> Verdict:
        """Run tests until the first fails.

        Args:
            scripts_url: a server that has to compile the copy's scripts before.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = copy.root / "output.txt"
        job = {
            "root": str(copy.root),
            "arguments": [*_options(copy.root), "-x", *arguments],
            "output": str(output),
            "scripts_url": scripts_url,
            "longest_s": _LONGEST_RUN_S,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        exit_code = int(self._process.stdout.readline())
        return Verdict(exit_code, output.read_text("utf-8", errors="replace"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@dataclass(frozen=True)
class Copy:
    """A copy of the project."""

    root: Path

    @classmethod
    def of_project(cls, root: Path) -> Copy:
        """Copy what the tests need."""
        for part in PARTS:
            shutil.copytree(ROOT / part, root / part, ignore=NOT_COPIED)
        shutil.copy(ROOT / "pyproject.toml", root)
        return cls(root)

    def compile(self) -> list[str]:
        """Have every test found, which compiles all; return what that imports but the project."""
        code = _FOUND.format(arguments=[*_options(self.root), "--collect-only", *SUITE])
        env = {**os.environ, "PYTHONPATH": str(self.root), "CI": "true"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        found: list[str] = json.loads(done.stdout.splitlines()[-1])
        return [name for name in found if name.partition(".")[0] not in (*PARTS, "__main__")]

    def again(self, root: Path) -> Copy:
        """A copy of this copy: its files under other names, until one is written anew."""
        ignore = shutil.ignore_patterns(TEMPORARY, "output.txt")
        shutil.copytree(self.root, root, ignore=ignore, copy_function=os.link)
        return Copy(root)

    def remove(self) -> None:
        shutil.rmtree(self.root)


def _options(root: Path) -> list[str]:
    plugins = ("cacheprovider", "randomly", "xdist", "schemathesis", "respx")
    return [
        *("-m", "not long", "-q", "-rfE", "--tb=short"),
        *(part for name in plugins for part in ("-p", f"no:{name}")),
        # What is imported already can't be rewritten.
        "--assert=plain",
        f"--rootdir={root}",
        f"--basetemp={root / TEMPORARY}",
        *("-o", f"timeout={_LONGEST_TEST_S}"),
    ]


def judge(runs: Runs, sound: Copy, mutation: Mutation, root: Path, url: str) -> Verdict:
    """Say what the tests find on a copy that has this fault, the named one first, then all."""
    copy = sound.again(root)
    mutation.apply(copy.root)
    verdict = runs.test(copy, *those_that_notice([mutation]), scripts_url=url)
    assert verdict.exit_code != SCRIPTS_BROKEN, verdict.output
    if verdict.exit_code == 0:
        verdict = runs.test(copy, *SUITE)
    copy.remove()
    return verdict
