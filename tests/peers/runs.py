"""One run of one system: started, loaded, killed, asked for its books."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.conditions import say
from tests.peers.accounting import Calls, Columns, Kind, columns, read_log
from tests.peers.callers import Callers
from tests.peers.processes import DidNotStart, Program, provider, redis_server
from tests.peers.scenario import Plan
from tests.peers.system import Running, Stage, System

LATER_S = 45
"""Between the last call and the second look into the books."""
_QUIET_S = 3
"""After the last call, until the first look: settlements may come after the answer."""
_WARM_UP = 8


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a system: its columns, or why there are none."""

    system: System
    versions: Mapping[str, str] = field(default_factory=dict)
    control: Columns | None = None
    killed: Columns | None = None
    failed: str = ""
    odd: Mapping[str, int] = field(default_factory=dict)
    """Answers that are neither an answer, nor a refusal, nor the provider's fault."""


async def run_system(system: System, calls: int) -> Run:
    """Run a system without a kill, then with one, each on empty stores."""
    say(f"{system.title}:")
    versions: Mapping[str, str] = {}
    try:
        versions = await asyncio.to_thread(system.install)
        control, _ = await _run(system, Plan(calls, kills=False))
        killed, odd = await _run(system, Plan(calls))
    except DidNotStart as error:
        say(f"  did not start: {error}")
        return Run(system, versions, failed=str(error))
    return Run(system, versions, control, killed, odd=odd)


async def _run(system: System, plan: Plan) -> tuple[Columns, Mapping[str, int]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        address, log = await stack.enter_async_context(provider(folder))
        port, store = await stack.enter_async_context(redis_server(folder))
        stage = Stage(plan, address, folder, port)
        running: Running = await system.start(stack, stage)
        calls, cpu_s = await _load(running, plan, store)
        await asyncio.sleep(_QUIET_S)
        at_end = await running.books(plan.ids)
        await asyncio.sleep(LATER_S if plan.kills else 0)
        later = await running.books(None)
        line = columns(
            plan.budget,
            read_log(log.read_text().splitlines()),
            calls,
            (at_end, later),
            marked=plan.marked,
            cpu_s=cpu_s,
            has_budget=system.has_budget,
        )
    odd = Counter(calls.ended[call_id].detail for call_id in calls.of(Kind.BROKEN))
    say(f"  {'with' if plan.kills else 'without'} a kill: {line.as_json()}")
    for detail, count in odd.most_common(3):
        say(f"  {count} times: {detail}")
    return line, odd


async def _load(running: Running, plan: Plan, store: Program) -> tuple[Calls, float]:
    measured = (*running.programs, store)
    since_s = sum(each.cpu_s() for each in measured)
    spent_s: list[float] = []

    def at_mark() -> None:
        spent_s.append(sum(each.cpu_s() for each in measured) - since_s)

    callers = Callers(running, plan, running.programs[0].kill, at_mark)
    calls = await callers.run()
    if not spent_s:
        at_mark()
    return calls, spent_s[0]
