"""Runs a load from its first account to its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.archive.audit import Auditor
from runtime.credits.installation_key import identity_of
from runtime.credits.told import read_told
from runtime.load.books import read_books
from runtime.load.funding import Funding
from runtime.load.processes import LoadProcess, records_file, share_processes
from runtime.load.sampling import Sample, Sampler
from runtime.load.settings import LoadSettings, Scenario
from runtime.load.tally import Tally
from runtime.load.verdict import Calls, Told, Verdict, judge
from runtime.load.workload import expected_mc, first_grants_mc
from runtime.load.worlds import World
from runtime.redis.primaries import primaries

MOST_POINTS = 120
"""Points of time in a report; a longer load has fewer than one a second."""

_BEGIN_AFTER_S = 0.3
_SECONDS_KEPT = 2
_OWN = "load processes"


class Control:
    """Lets a load end early: ``stop`` starts nothing more, ``cancel`` ends what runs.

    Args:
        on_ready: called once both do something.
    """

    def __init__(self, on_ready: Callable[[], object] = lambda: None) -> None:
        self.stopped = False
        self._on_ready = on_ready
        self._processes: Sequence[LoadProcess] = ()

    def attach(self, processes: Sequence[LoadProcess]) -> None:
        """Steer these processes."""
        self._processes = processes
        self._on_ready()

    def stop(self) -> None:
        """Start no more executions; those that run are waited for."""
        self.stopped = True
        for process in self._processes:
            process.tell({"stop": "soon"})

    def cancel(self) -> None:
        """End what runs; what is set aside is given back."""
        self.stopped = True
        for process in self._processes:
            process.tell({"stop": "now"})


@dataclass(slots=True)
class Progress:
    """The state of a running load, for those who watch it."""

    elapsed_s: float
    total: Tally
    latest: Tally
    sample: Sample


@dataclass(slots=True)
class Measured:
    """All that was measured; the report is made of it.

    Args:
        intervals: counts by their number, each of ``interval_s`` seconds.
        problems: what kept the load from being whole, such as a process that died.
    """

    settings: LoadSettings
    began_at: datetime
    elapsed_s: float
    interrupted: bool
    interval_s: int
    intervals: dict[int, Tally]
    samples: list[Sample]
    unstarted: int
    top_ups: int
    calls: Calls
    outcomes: dict[str, int]
    verdict: Verdict
    problems: list[str] = field(default_factory=list)
    redis_version: str = ""

    @property
    def total(self) -> Tally:
        """All intervals together."""
        total = Tally()
        for tally in self.intervals.values():
            total.merge(tally)
        return total

    @property
    def holds(self) -> bool:
        """True if every promise was kept, and the load was whole."""
        return self.verdict.holds and not self.problems


@dataclass(slots=True)
class _Received:
    """Reports of the processes while they run."""

    interval_s: int
    intervals: dict[int, Tally] = field(default_factory=dict)
    total: Tally = field(default_factory=Tally)
    elapsed_s: float = 0.0
    unstarted: int = 0
    problems: list[str] = field(default_factory=list)
    _last: dict[int, Tally] = field(default_factory=dict)

    @property
    def latest(self) -> Tally:
        """The last second that all processes have reported, or nearly all."""
        return self._last[min(self._last)] if self._last else Tally()

    def _note(self, second: int, tally: Tally) -> None:
        self.total.merge(tally)
        for seconds, number in ((self.intervals, second // self.interval_s), (self._last, second)):
            seconds.setdefault(number, Tally()).merge(tally)
        while len(self._last) > _SECONDS_KEPT:
            del self._last[min(self._last)]

    async def listen(self, process: LoadProcess) -> None:
        """Take what a process reports, until it has ended."""
        has_ended = False
        while (found := await process.line()) is not None:
            if "tally" in found:
                self._note(found["second"], Tally.of_json(found["tally"]))
            elif "ended" in found:
                has_ended = True
                self.unstarted += found["unstarted"]
                self.elapsed_s = max(self.elapsed_s, found["elapsed_s"])
        if not has_ended:
            self.problems.append(f"{process.name} ended before its load did{process.log_end()}")


async def run_load(
    settings: LoadSettings,
    world: World,
    folder: Path,
    control: Control,
    watch: Callable[[Progress], None],
    say: Callable[[str], None],
) -> Measured:
    """Run a load and judge it.

    Raises:
        LoadRefused: an account is there already, or a process does not start.
        LedgerError: Redis can't be reached, or refuses.
    """
    account_ids = settings.account_ids()
    funding = Funding(
        world.ledger.accounts,
        account_ids,
        first_grants_mc(settings),
        world.plan,
        world.opened,
        tops_up=settings.scenario is Scenario.TOP_UP,
    )
    say(f"Opening {settings.accounts:,} account{'s' * (settings.accounts != 1)} ...")
    await funding.open()
    before = await world.stats()
    count = settings.processes
    say(f"Starting {count} process{'es' * (count != 1)} ...")
    received = _Received(math.ceil(settings.seconds / MOST_POINTS))
    async with share_processes(settings, world.target, folder) as processes:
        control.attach(processes)
        pids = {_OWN: [process.pid for process in processes], **world.pids}
        sampler = Sampler(
            world.client,
            world.ledger.accounts,
            account_ids,
            pids,
            world.usages,
            funding.top_up,
            round(expected_mc(settings)),
        )
        began_at = datetime.now(UTC)
        await _drive(settings, processes, received, sampler, control, watch)
        await funding.aclose()
    if world.settles is not None:
        say("Waiting until nothing runs any more ...")
        await world.settles()
    say("Auditing the books ...")
    verdict, calls, outcomes = await _judge(settings, world, folder, before)
    return Measured(
        settings=settings,
        began_at=began_at,
        elapsed_s=received.elapsed_s,
        interrupted=control.stopped,
        interval_s=received.interval_s,
        intervals=received.intervals,
        samples=sampler.samples,
        unstarted=received.unstarted,
        top_ups=funding.top_ups,
        calls=calls,
        outcomes=outcomes,
        verdict=verdict,
        problems=received.problems,
        redis_version=await _redis_version(world),
    )


async def _drive(
    settings: LoadSettings,
    processes: Sequence[LoadProcess],
    received: _Received,
    sampler: Sampler,
    control: Control,
    watch: Callable[[Progress], None],
) -> None:
    """Let the processes begin together, and measure until all have ended."""
    begin_s = time.time() + _BEGIN_AFTER_S
    for process in processes:
        process.tell({"begin_s": begin_s})
    if control.stopped:
        control.stop()
    sampling = asyncio.create_task(sampler.run(begin_s))
    watching = asyncio.create_task(_watch(begin_s, received, sampler, watch))
    try:
        await asyncio.gather(*map(received.listen, processes))
    finally:
        for task in (sampling, watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    await sampler.measure(begin_s)


async def _watch(
    begin_s: float, received: _Received, sampler: Sampler, watch: Callable[[Progress], None]
) -> None:
    while True:
        await asyncio.sleep(0.5)
        elapsed_s = max(0.0, time.time() - begin_s)
        watch(Progress(elapsed_s, received.total, received.latest, sampler.latest))


async def _judge(
    settings: LoadSettings, world: World, folder: Path, before: dict[str, Any]
) -> tuple[Verdict, Calls, dict[str, int]]:
    config, account_ids = world.config, settings.account_ids()
    after = await world.stats()
    inspection = world.ledger.inspection
    points = read_told([config.data_dir / "told"], config.redis.key_prefix)
    audit = await Auditor(inspection, world.database, points).audit(account_ids)
    books = await read_books(inspection, world.database, account_ids)
    records = [records_file(folder, number) for number in range(settings.processes)]
    told = Told.read(records, identity_of(config))
    calls = Calls.between(before, after)
    outcomes = {
        name: count - before["outcomes"].get(name, 0)
        for name, count in sorted(after["outcomes"].items())
    }
    return judge(books, told, calls, audit), calls, outcomes


async def _redis_version(world: World) -> str:
    [first, *_] = await primaries(world.client)
    with contextlib.suppress(Exception):
        return str((await first.info("server")).get("redis_version", ""))
    return ""
