"""Environments of the systems' own, in a folder that git ignores and ``make clean`` removes."""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

from tests.bench.conditions import say
from tests.harness.paths import ROOT
from tests.peers.processes import DidNotStart

FOLDER = ROOT / ".tools" / "peers"
CONFIGURATIONS = Path(__file__).parent / "configurations"
_INSTALL_S = 900


def python_environment(name: str, *wanted: str) -> Path:
    """Return the folder of programs of a virtual environment with these packages.

    Raises:
        DidNotStart: they can't be had from pip's index.
    """
    folder = FOLDER / name
    if not _stamped(folder, wanted):
        say(f"installing {' '.join(wanted)} into {folder.relative_to(ROOT)} ...")
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _run(name, str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *wanted)
        _stamp(folder, wanted)
    return folder / "bin"


def node_environment(name: str, *wanted: str) -> Path:
    """Return a folder with these packages in ``node_modules``; their install scripts don't run.

    Raises:
        DidNotStart: there is no npm, or they can't be had from its registry.
    """
    folder = FOLDER / name
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise DidNotStart("no Node.js with npm on PATH: apt-get install nodejs npm")
    if not _stamped(folder, wanted):
        say(f"installing {' '.join(wanted)} into {folder.relative_to(ROOT)} ...")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        options = ("--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts")
        _run(name, "npm", "install", *options, *wanted)
        _stamp(folder, wanted)
    return folder


def version_in(programs: Path, package: str) -> str:
    """Return the version of a package in a virtual environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    found = subprocess.run(
        [str(programs / "python"), "-c", code], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def _stamped(folder: Path, wanted: Sequence[str]) -> bool:
    stamp = folder / "installed.txt"
    return stamp.exists() and stamp.read_text() == " ".join(wanted)


def _stamp(folder: Path, wanted: Sequence[str]) -> None:
    (folder / "installed.txt").write_text(" ".join(wanted))


def _run(name: str, *command: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DidNotStart(f"installing {name} took longer than {_INSTALL_S} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise DidNotStart(f"{name} can't be installed: {lines[-1] if lines else 'no message'}")
