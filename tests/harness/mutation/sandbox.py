"""Copies of the project, and what the ledger's tests say of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from redis import Redis

from tests.harness.mutation.mutation import Mutation
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
_SOURCES = (
    "import json; from runtime.credits import scripts; made = scripts.assemble(); "
    "print(json.dumps([scripts.__file__, made.executions.source, made.accounts.source]))"
)


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


@dataclass(frozen=True)
class Copy:
    """A copy of the project."""

    root: Path

    @classmethod
    def of_project(cls, root: Path) -> Copy:
        """Copy what the tests need, and compile it, so that further copies need not."""
        for part in PARTS:
            shutil.copytree(ROOT / part, root / part, ignore=NOT_COPIED)
        shutil.copy(ROOT / "pyproject.toml", root)
        copy = cls(root)
        copy.test("--collect-only", *SUITE)
        return copy

    def again(self, root: Path) -> Copy:
        """A copy of this copy."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns(TEMPORARY))
        return Copy(root)

    def remove(self) -> None:
        shutil.rmtree(self.root)

    def test(self, *arguments: str) -> Verdict:
        """Run tests until the first fails."""
        return self._run(
            *("-m", "pytest", "-m", "not long", "-x", "-q", "-rfE", "--tb=short"),
            *("-p", "no:cacheprovider", "-p", "no:randomly"),
            f"--basetemp={self.root / TEMPORARY}",
            *("-o", f"timeout={_LONGEST_TEST_S}", *arguments),
        )

    def check_scripts(self, url: str) -> None:
        """Have a server compile this copy's scripts: one that can't be is no fault to notice."""
        done = self._run("-c", _SOURCES)
        assert done.exit_code == 0, done.output
        file, *sources = json.loads(done.output.splitlines()[-1])
        assert Path(file).is_relative_to(self.root), f"{file} is not the copy's"
        with Redis.from_url(url) as client:
            for source in sources:
                client.script_load(source)

    def _run(self, *arguments: str) -> Verdict:
        own = ("PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE")
        env = {name: value for name, value in os.environ.items() if name not in own}
        # In CI the same examples are tried every time.
        env |= {"PYTHONPATH": str(self.root), "CI": "true"}
        running = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = running.communicate(timeout=_LONGEST_RUN_S)
        except subprocess.TimeoutExpired:
            # As by Ctrl-C, so that it stops the servers that it started.
            running.send_signal(signal.SIGINT)
            output, _ = running.communicate()
        return Verdict(running.returncode, output)


def judge(sound: Copy, mutation: Mutation, root: Path, url: str) -> Verdict:
    """Say what the tests find on a copy that has this fault, the named one first, then all."""
    copy = sound.again(root)
    mutation.apply(copy.root)
    copy.check_scripts(url)
    verdict = copy.test(*those_that_notice([mutation]))
    if verdict.exit_code == 0:
        verdict = copy.test(*SUITE)
    copy.remove()
    return verdict
