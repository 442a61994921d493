"""The mock provider as a process that a test may kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness.command_line import PATIENCE_S
from tests.harness.paths import ROOT


@contextmanager
def mock_provider(port: int, *options: str) -> Iterator[str]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "runtime.cli", "mock-provider", "--json"),
            *("--port", str(port), "--latency-median-ms", "20", *options),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.kill()
    process.communicate(timeout=PATIENCE_S)
