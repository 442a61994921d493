"""Copies of the project, and what the ledger's tests say of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from tests.integration.ledger.mutation.mutation import Mutation

ROOT = Path(__file__).parents[4]
PARTS = ("runtime", "pricing", "fallback", "providers", "tests")
# Where the ledger's tests are; those of the faults themselves are not copied.
SUITE = ("tests/unit/credits", "tests/integration/ledger")
NOT_COPIED = shutil.ignore_patterns("mutation", "bench")
TEMPORARY = "tmp"
TESTS_FAILED = 1

_FAILED = re.compile(r"^FAILED (\S+::\S+)", re.MULTILINE)
_SOURCES = (
    "import json; from runtime.credits import scripts; made = scripts.assemble(); "
    "print(json.dumps([scripts.__file__, made.executions.source, made.accounts.source]))"
)


def files_of_tests(names: tuple[str, ...]) -> list[str]:
    """The paths of these files, wherever in the suite they stand."""
    found = [path for folder in SUITE for path in (ROOT / folder).rglob("test_*.py")]
    paths = {path.stem: path.relative_to(ROOT).as_posix() for path in found}
    return [paths[f"test_{name}"] for name in names]


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
        done = self._run(
            *("-m", "pytest", "-m", "not long", "-x", "-q", "-rfE", "--tb=short"),
            *("-p", "no:cacheprovider", f"--basetemp={self.root / TEMPORARY}", *arguments),
        )
        return Verdict(done.returncode, done.stdout + done.stderr)

    def check_scripts(self, url: str) -> None:
        """Have a server compile this copy's scripts: one that can't be is no fault to notice."""
        done = self._run("-c", _SOURCES)
        assert done.returncode == 0, done.stderr
        file, *sources = json.loads(done.stdout)
        assert Path(file).is_relative_to(self.root), f"{file} is not the copy's"
        with Redis.from_url(url) as client:
            for source in sources:
                client.script_load(source)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        own = ("PYTEST_ADDOPTS", "PYTHONDONTWRITEBYTECODE")
        env = {name: value for name, value in os.environ.items() if name not in own}
        # In CI the same examples are tried every time.
        env |= {"PYTHONPATH": str(self.root), "CI": "true"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )


def judge(sound: Copy, mutation: Mutation, root: Path, url: str) -> Verdict:
    """Say what the tests find on a copy that has this fault, the named ones first, then all."""
    copy = sound.again(root)
    mutation.apply(copy.root)
    copy.check_scripts(url)
    verdict = copy.test(*files_of_tests(mutation.noticed_by))
    if verdict.exit_code == 0:
        verdict = copy.test(*SUITE)
    copy.remove()
    return verdict
