"""``ledger_start``: the CPU of a process that opens the ledger and reads a balance."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from runtime.config import Config, load_config
from runtime.ledger_opening import open_ledger
from runtime.redis.embedded import EmbeddedRedis
from tests.bench.conditions import median, spread
from tests.bench.registry import Measured
from tests.bench.stage import describe_redis
from tests.harness.paths import ROOT

_ROUNDS = 25
_WARM_UPS = 2
_READ_A_BALANCE = """
import asyncio, sys
from creditgate import load_config, open_ledger

async def main():
    async with open_ledger(load_config(sys.argv[1])) as ledger:
        assert (await ledger.accounts.balance("acme")).conserved

asyncio.run(main())
"""


def measure() -> Measured:
    """Measure whole processes against a server that runs, beside bare Python."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedRedis(Path(folder) / "redis") as server:
            file = Path(folder) / "config.yaml"
            example = (ROOT / "config.example.yaml").read_text("utf-8")
            file.write_text(example.replace("url: embedded", f"url: {server.url}"), "utf-8")
            await _open_account(load_config(file))
            ours = [sys.executable, "-c", _READ_A_BALANCE, str(file)]
            bare = [sys.executable, "-c", "pass"]
            # An installed package is compiled, and so must this be, whatever the environment says.
            env = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
            rounds = []
            for number in range(_WARM_UPS + _ROUNDS):
                ours_s = await asyncio.to_thread(_seconds, ours, env)
                python_s = await asyncio.to_thread(_seconds, bare, env)
                if number >= _WARM_UPS:
                    rounds.append((ours_s, python_s))
            redis = await describe_redis(server.url)
    cpu = [ours_cpu_s for (ours_cpu_s, _), _ in rounds]
    wall = [ours_wall_s for (_, ours_wall_s), _ in rounds]
    conditions: dict[str, Any] = {
        **spread(cpu),
        "wall_s": median(wall),
        "least_wall_s": round(min(wall), 3),
        "python_cpu_s": median([cpu_s for _, (cpu_s, _) in rounds]),
        "python_wall_s": median([wall_s for _, (_, wall_s) in rounds]),
        "redis": redis,
    }
    return Measured(min(cpu), conditions)


async def _open_account(config: Config) -> None:
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("acme", plan="growth")


def _seconds(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Return the CPU and the wall time of a process, in seconds."""
    since_s = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **env}, stdin=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - since_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return used.ru_utime + used.ru_stime, wall_s
