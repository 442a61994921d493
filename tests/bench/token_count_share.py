"""``token_count_share``: how much of an execution's CPU goes into counting tokens."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from pricing.tokens import OTHER, TokenCounter
from providers.base import Message, ModelRoute
from runtime.actions.requests import Pending
from tests.bench.conditions import median, say, spread
from tests.bench.loads import CONCURRENCY, cost_of, run_calls
from tests.bench.registry import Measured
from tests.bench.stage import Stage, open_stage
from tests.bench.workload import Workload

_PROMPT_TOKENS = 300
_ROUNDS = 20
_CALLS = 96
_LATENCY_MS = 5.0

_Schema = Mapping[str, Any]
_Count = Callable[[Sequence[Message], _Schema], int]


def measure() -> Measured:
    """Measure with texts that were never counted before; the system prompt's count is known."""
    return asyncio.run(_measure(Workload(_PROMPT_TOKENS)))


async def _measure(workload: Workload) -> Measured:
    async with open_stage(route=ModelRoute.ACOMPLETION, latency_ms=_LATENCY_MS) as stage:
        executor = _Executor(stage, workload)
        counts: dict[str, _Count] = {
            "exact": await executor.count(),
            "other": TokenCounter(OTHER).count_messages,
        }
        await run_calls(executor.execute, executor.people(CONCURRENCY * 3))
        for count in counts.values():
            _counting_ms(count, workload, executor.people(1))
        gc.collect()
        executions_ms: list[float] = []
        shares: dict[str, list[float]] = {name: [] for name in counts}
        for _ in range(_ROUNDS):
            execution_ms = (await cost_of(executor.execute, executor.people(_CALLS))).cpu_ms
            executions_ms.append(execution_ms)
            for name, count in counts.items():
                counting_ms = _counting_ms(count, workload, executor.people(_CALLS))
                shares[name].append(counting_ms / execution_ms)
        say(f"  {_ROUNDS} rounds of {_CALLS} executions")
    return Measured(
        median(shares["exact"]),
        {
            **spread(shares["exact"]),
            "executions_a_round": _CALLS,
            "execution_cpu_ms": median(executions_ms),
            "share_for_other_tokenizers": median(shares["other"]),
            "prompt_tokens": _PROMPT_TOKENS,
            "latency_ms": _LATENCY_MS,
            "redis_server": stage.redis,
        },
    )


class _Executor:
    """Executes for people who were never asked about before."""

    def __init__(self, stage: Stage, workload: Workload) -> None:
        self._runtime = stage.runtime
        self._workload = workload
        self._people = workload.people()

    def people(self, count: int) -> list[dict[str, Any]]:
        """Return so many new people."""
        return list(islice(self._people, count))

    async def execute(self, data: dict[str, Any]) -> None:
        """Execute, as whoever uses creditgate does."""
        result = await self._runtime.execute(self._workload.request(data))
        if isinstance(result, Pending) or result.status != "model":
            raise RuntimeError(f"the model did not answer: {result}")

    async def count(self) -> _Count:
        """Return the very count that executions are quoted with."""
        (data,) = self.people(1)
        _, trace = await self._runtime.execute_traced(self._workload.request(data))
        if trace is None:
            raise RuntimeError("the model did not answer")
        return trace.model.counter.count_messages


def _counting_ms(count: _Count, workload: Workload, people: Sequence[dict[str, Any]]) -> float:
    schema = workload.spec.json_schema
    prompts = [workload.spec.render(data) for data in people]
    since_s = time.process_time()
    for messages in prompts:
        count(messages, schema)
    return (time.process_time() - since_s) / len(prompts) * 1000
