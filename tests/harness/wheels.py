"""Wheels: built, installed without a network, and used beside a host's own packages."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Installed:
    """An environment into which the wheel is installed, and a project of a host beside it."""

    python: Path
    project: Path

    def run(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python in the host's project."""
        # Without the variables that would lead back to the checkout.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [self.python, *args],
            cwd=self.project,
            env=kept,
            check=False,
            capture_output=True,
            text=True,
        )


def build(source: Path, target: str, folder: Path) -> Path:
    """Build a wheel or a source distribution; return the file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [built] = folder.iterdir()
    return built


def install(wheel: Path, python: str, folder: Path) -> Path:
    """Make an environment that holds the wheel and nothing else; return its Python."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
    own = folder / "bin" / "python"
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", own, "install", *offline, wheel],
        check=True,
        capture_output=True,
    )
    return own
