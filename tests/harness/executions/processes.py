"""Start processes that execute, and collect their results."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process


async def start_worker(*args: str, module: str = "worker") -> Process:
    """Start a worker of this folder, and wait until it is ready to execute."""
    worker = f"tests.harness.executions.{module}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", worker, *args, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"
    return process


async def results_of(process: Process) -> list[tuple[str, int, list[str], bool]]:
    """Let a worker execute its share; return status, charge, reasons and finality of each."""
    output, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    return [tuple(json.loads(line)) for line in output.splitlines()]
