"""A process of the scaling measurements: executes when it is told to, and says what that took.

``python -m tests.bench.scaling_worker PLAN``: it prints a line when it is ready, waits for a line,
executes, and prints what it took as one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from creditgate import ActionRuntime, Config, ExecutionRequest, Pending, load_config, open_runtime
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from tests.bench.loads import run_calls
from tests.bench.workload import Workload
from tests.harness.paths import ROOT

_PROMPT_TOKENS = 300
_ANSWER = {"intent": "card", "urgency": "high", "reply": "We look into it and write to you today."}
_COMPLETION = Completion(json.dumps(_ANSWER), FinishReason.STOP, TokenUsage(470, 30))
_TIMEOUT_MS = 30_000
_PEOPLE_APART = 10_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of one process.

    Args:
        number: of the process, so that no two have the same people.
        accounts: they take turns.
        latency_ms: of the model, which costs nothing but the wait.
        provider_url: the mock provider that is called in its place, if any.
    """

    redis_url: str
    folder: str
    number: int
    accounts: tuple[str, ...]
    executions: int
    callers: int
    latency_ms: float
    provider_url: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def config(self) -> Config:
        """The example's configuration on the servers that are measured."""
        config = load_config(ROOT / "config.example.yaml")
        redis = config.redis.model_copy(
            update={"url": self.redis_url, "cluster": True, "timeout_ms": _TIMEOUT_MS}
        )
        own = {"data_dir": Path(self.folder), "offers": {}, "redis": redis}
        config = config.model_copy(update=own)
        if self.provider_url:
            config = config.with_api_base("mock", f"{self.provider_url}/v1")
        return config


@dataclass(frozen=True, slots=True)
class Took:
    """What a process took: CPU of all its threads, and time."""

    executions: int
    cpu_s: float
    wall_s: float


class FreeModel:
    """Costs nothing but a wait."""

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s

    async def complete(self, request: CompletionRequest) -> Completion:
        """Answer the same to everybody."""
        await asyncio.sleep(self._latency_s)
        return _COMPLETION

    async def aclose(self) -> None:
        """There is nothing to close."""


async def run(plan: Plan) -> None:
    """Execute once told to."""
    provider = None if plan.provider_url else FreeModel(plan.latency_ms / 1_000)
    async with open_runtime(plan.config(), provider=provider) as runtime:
        requests = _requests(plan)
        await _execute(runtime, list(itertools.islice(requests, plan.executions // 4)), plan)
        people = list(itertools.islice(requests, plan.executions))
        gc.collect()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        await _execute(runtime, people, plan)
        took = Took(len(people), time.process_time() - cpu_s, time.perf_counter() - wall_s)
        print(json.dumps(asdict(took)), flush=True)


async def _execute(runtime: ActionRuntime, requests: list[ExecutionRequest], plan: Plan) -> None:
    async def execute(request: ExecutionRequest) -> None:
        result = await runtime.execute(request)
        if isinstance(result, Pending) or result.status != "model":
            raise RuntimeError(f"not answered by the model: {result}")

    await run_calls(execute, requests, plan.callers)


def _requests(plan: Plan) -> Iterator[ExecutionRequest]:
    workload = Workload(_PROMPT_TOKENS, first=plan.number * _PEOPLE_APART)
    accounts = itertools.cycle(plan.accounts)
    for data in workload.people():
        yield replace(workload.request(data), account_id=next(accounts))


if __name__ == "__main__":
    _plan: dict[str, Any] = json.loads(sys.argv[1])
    asyncio.run(run(Plan(**_plan | {"accounts": tuple(_plan["accounts"])})))
