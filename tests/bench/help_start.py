"""``help_start``: how long ``creditgate --help`` takes against a bare Python start."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.conditions import median, spread
from tests.bench.registry import Measured
from tests.harness.paths import ROOT

_ROUNDS = 25
_WARM_UPS = 3


def measure() -> Measured:
    """Measure the installed command where there is one, else the module."""
    shown, command = _command()
    bare = [sys.executable, "-c", "pass"]
    for _ in range(_WARM_UPS):
        _seconds(command)
        _seconds(bare)
    rounds: list[tuple[float, float]] = []
    for number in range(_ROUNDS):
        if number % 2:
            ours_s, python_s = _seconds(command), _seconds(bare)
        else:
            python_s, ours_s = _seconds(bare), _seconds(command)
        rounds.append((ours_s, python_s))
    ratios = [ours / python for ours, python in rounds]
    conditions: dict[str, Any] = {
        **spread(ratios),
        "command": shown,
        "command_ms": median([ours * 1000 for ours, _ in rounds]),
        "python_ms": median([python * 1000 for _, python in rounds]),
    }
    return Measured(median(ratios), conditions)


def _command() -> tuple[str, list[str]]:
    installed = Path(sys.executable).parent / "creditgate"
    if installed.is_file():
        return "creditgate --help", [str(installed), "--help"]
    return "python -m runtime.cli --help", [sys.executable, "-m", "runtime.cli", "--help"]


def _seconds(command: list[str]) -> float:
    since_s = time.perf_counter()
    subprocess.run(
        command,
        cwd=ROOT,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - since_s
