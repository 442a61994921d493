"""Time of ten people of one account while 1,000,000 of another wait, against an idle system.

One worker process, as the command line starts it. The ten are put into the queue at random
moments; their time ends when the queue has counted all of them. They may take twice as long as on
the idle system, and a slice's time more. The ratio is that to the idle time and half a slice's, so
that 2 is the promise; a slice's time is that of 32 people on the idle system.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from pricing.offers import GrantKind
from runtime.config import Config, load_config
from runtime.ledger_opening import connected, open_ledger
from runtime.queue.entries import MOST_AT_ONCE
from runtime.queue.opening import build_queue
from runtime.queue.queue import RequestQueue
from tests.bench.conditions import median, say, spread
from tests.bench.registry import Measured
from tests.harness.command_line import new_home
from tests.harness.paths import ROOT
from tests.harness.queues import request_of
from tests.harness.servers import NEWER, LedgerServers

_WAITING = 1_000_000
_TEN = 10
_SLICE = 32
_ROUNDS = 5
_LATENCY_MS = 1_000
_ACTION = "route_message"
_POLL_S = 0.01
_SETTLE_S = 5.0


def measure() -> Measured:
    """Return the median ratio of five rounds."""
    with tempfile.TemporaryDirectory(prefix="creditgate-fair-") as name, _mock() as mock_url:
        folder = Path(name)
        servers = LedgerServers(folder / "servers")
        try:
            home = new_home(folder, servers.url(NEWER), mock_url)
            return asyncio.run(_measure(home.folder / "config.yaml"))
        finally:
            servers.close()


async def _measure(path: Path) -> Measured:
    config = load_config(path)
    async with connected(config, None) as client, _worker(path):
        queue = build_queue(config, client)
        await _time(config, queue, "warm-up", _SLICE)
        idle_s = [await _time(config, queue, f"idle-{n}", _TEN) for n in range(_ROUNDS)]
        slice_s = [await _time(config, queue, f"slice-{n}", _SLICE) for n in range(_ROUNDS)]
        say(f"  putting {_WAITING:,} people into the queue ...")
        await _open(config, "large")
        await _fill(queue, "large", _WAITING)
        await asyncio.sleep(_SETTLE_S)
        ten_s = []
        for number in range(_ROUNDS):
            ten_s.append(await _time(config, queue, f"small-{number}", _TEN))
            say(f"  {number + 1} of {_ROUNDS}: {ten_s[-1]:.2f} s, idle {median(idle_s)} s")
        left = await queue.status("large", "welcome")
        await queue.aclose()
    base_s = median(idle_s) + median(slice_s) / 2
    ratios = [ten / base_s for ten in ten_s]
    return Measured(
        median(ratios),
        {
            **spread(ratios),
            "waiting_before": _WAITING,
            "waiting_after": left.waiting,
            "ten_s": [round(each, 3) for each in ten_s],
            "ten_idle_s": [round(each, 3) for each in idle_s],
            "slice_idle_s": [round(each, 3) for each in slice_s],
            "to_idle_alone": median([ten / median(idle_s) for ten in ten_s]),
            "latency_median_ms": _LATENCY_MS,
        },
    )


async def _time(config: Config, queue: RequestQueue, account_id: str, count: int) -> float:
    await _open(config, account_id)
    await asyncio.sleep(random.random())
    since_s = time.perf_counter()
    await _fill(queue, account_id, count)
    while (await queue.status(account_id, "welcome")).ended < count:  # noqa: ASYNC110 - in Redis
        await asyncio.sleep(_POLL_S)
    return time.perf_counter() - since_s


async def _open(config: Config, account_id: str) -> None:
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account(account_id, plan="growth")
        await ledger.accounts.grant(
            account_id, amount_mc=10**12, kind=GrantKind.PROMOTIONAL, reference="bench"
        )


async def _fill(queue: RequestQueue, account_id: str, count: int) -> None:
    for first in range(0, count, MOST_AT_ONCE):
        numbers = range(first, min(first + MOST_AT_ONCE, count))
        requests = [request_of(n, account_id=account_id, action=_ACTION) for n in numbers]
        await queue.add(account_id, "retail", "welcome", requests)


@asynccontextmanager
async def _worker(path: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runtime.cli", "worker", "--config", str(path), "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield
    finally:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
        await process.wait()


@contextmanager
def _mock() -> Iterator[str]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "runtime.cli", "mock-provider", "--json", "--port", "0"),
            *("--latency-median-ms", str(_LATENCY_MS), "--latency-sigma", "0.3"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()
