"""Runs of some processes on some Redis servers, and the CPU that each side took."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from creditgate import open_ledger
from pricing.offers import GrantKind
from runtime.redis.keys import bucket_of, slot_of_bucket
from tests.bench.scaling_worker import Plan, Took
from tests.harness.paths import ROOT
from tests.harness.servers import SLOTS, Cluster, Server

_GRANT_MC = 10**12
_SCRIPTS = ("cmdstat_evalsha", "cmdstat_eval")


@dataclass(frozen=True, slots=True)
class Shards:
    """The primaries of a cluster, each with its append-only file synced once a second.

    ``accounts`` are spread evenly over them, in turns.
    """

    servers: tuple[Server, ...]
    folder: Path
    accounts: tuple[str, ...]

    def usage(self) -> _Usage:
        """Return what all servers have done so far."""
        found = [_usage_of(server) for server in self.servers]
        return _Usage(
            sum(one.cpu_s for one in found),
            sum(one.script_s for one in found),
            sum(one.calls for one in found),
        )


@dataclass(frozen=True, slots=True)
class _Usage:
    cpu_s: float
    script_s: float
    calls: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run, and what it took.

    ``calls`` are script calls per execution; ``worker_ms`` and ``redis_ms`` are milliseconds of
    CPU per execution, of all processes and of all servers; ``script_ms`` is the part of it in which
    scripts ran, as Redis itself counts it.
    """

    processes: int
    shards: int
    accounts: int
    callers: int
    calls: float
    worker_ms: float
    redis_ms: float
    script_ms: float
    per_s: float


@contextmanager
def open_shards(count: int, accounts: int) -> Iterator[Shards]:
    """Start a cluster of one or three primaries, which has names for so many accounts."""
    with tempfile.TemporaryDirectory(prefix="creditgate-bench-") as name:
        folder = Path(name)
        cluster = Cluster(folder / "redis", primaries=count)
        cluster.start()
        try:
            yield Shards(tuple(cluster.servers), folder / "data", _spread(count, accounts))
        finally:
            cluster.stop()


def _spread(shards: int, count: int) -> tuple[str, ...]:
    """Return names of accounts that lie on each of the shards in turn."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        name = f"bench-{number}"
        number += 1
        if slot_of_bucket(bucket_of(name)) * shards // SLOTS == len(found) % shards:
            found.append(name)
    return tuple(found)


async def fund(shards: Shards) -> None:
    """Open the accounts, each with a grant that pays for everything."""
    async with open_ledger(_plan(shards, 0, 0, 1, 1, 0).config()) as ledger:
        for account in shards.accounts:
            await ledger.accounts.open_account(account, plan="growth")
            await ledger.accounts.grant(
                account, amount_mc=_GRANT_MC, kind=GrantKind.PURCHASED, reference="bench"
            )


async def measure_run(
    shards: Shards,
    *,
    processes: int,
    executions: int,
    callers: int,
    accounts: int,
    first: int,
    latency_ms: float,
    provider_url: str = "",
) -> Run:
    """Let processes execute side by side, and return what that took.

    Args:
        executions: of all processes together.
        callers: of each process.
        first: the number of the first process; run on with another one.
    """
    plans = [
        _plan(
            shards,
            first + number,
            executions // processes,
            callers,
            accounts,
            latency_ms,
            provider_url,
        )
        for number in range(processes)
    ]
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(_worker(plan)) for plan in plans]
        for worker in workers:
            await _line(worker)
        before = shards.usage()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
        took = [Took(**json.loads(await _line(worker))) for worker in workers]
        after = shards.usage()
    done = sum(one.executions for one in took)
    return Run(
        processes,
        len(shards.servers),
        accounts,
        callers,
        calls=round((after.calls - before.calls) / done, 3),
        worker_ms=round(sum(one.cpu_s for one in took) / done * 1_000, 4),
        redis_ms=round((after.cpu_s - before.cpu_s) / done * 1_000, 4),
        script_ms=round((after.script_s - before.script_s) / done * 1_000, 4),
        per_s=round(done / max(one.wall_s for one in took)),
    )


def _plan(
    shards: Shards,
    number: int,
    executions: int,
    callers: int,
    accounts: int,
    latency_ms: float,
    provider_url: str = "",
) -> Plan:
    return Plan(
        shards.servers[0].url,
        str(shards.folder),
        number,
        shards.accounts[:accounts],
        executions,
        callers,
        latency_ms,
        provider_url,
    )


@asynccontextmanager
async def _worker(plan: Plan) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.scaling_worker", plan.to_json()),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # a terminal's Ctrl-C is for the benchmark, which ends this one
    )
    try:
        yield process
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _line(worker: asyncio.subprocess.Process) -> bytes:
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    if not line:
        raise RuntimeError("a process ended before it had executed")
    return line


def _usage_of(server: Server) -> _Usage:
    with Redis.from_url(server.url) as client:
        cpu: dict[str, float] = client.info("cpu")
        commands: dict[str, Any] = client.info("commandstats")
    scripts = [commands[name] for name in _SCRIPTS if name in commands]
    return _Usage(
        cpu["used_cpu_user"] + cpu["used_cpu_sys"],
        sum(one["usec"] for one in scripts) / 1_000_000,
        sum(one["calls"] for one in scripts),
    )
