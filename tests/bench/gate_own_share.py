"""``gate_own_share``: the CPU of the gate's own part of an execution, and where that goes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fallback.reasons import FallbackReason
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason, Message, ModelRoute
from runtime.actions import answers
from runtime.actions.requests import Pending
from runtime.credits.endings import Settlement
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.results import Reserved
from runtime.executions.execution import Execution
from tests.bench.bare import LiteLLMCaller
from tests.bench.conditions import median, say, spread
from tests.bench.loads import CONCURRENCY, cost_of, run_calls
from tests.bench.registry import Measured
from tests.bench.stage import Stage, open_stage
from tests.bench.workload import Workload

_PROMPT_TOKENS = 300
_ROUNDS = 15
_CALLS = 512
_LATENCY_S = 0.02
_BARE_CALLS = 96
_BARE_LATENCY_MS = 5.0
_TTL_MS = 120_000

_ANSWER = {"intent": "card", "urgency": "high", "reply": "We look into it and write to you today."}
_COMPLETION = Completion(json.dumps(_ANSWER), FinishReason.STOP, TokenUsage(470, 30))

_Data = dict[str, Any]
_T = TypeVar("_T")


class _FreeModel:
    """Costs nothing but a wait."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Answer the same to everybody."""
        await asyncio.sleep(_LATENCY_S)
        return _COMPLETION

    async def aclose(self) -> None:
        """There is nothing to close."""


def measure() -> Measured:
    """Measure executions on a model that costs nothing, less the wait for it, and bare calls."""
    return asyncio.run(_measure(Workload(_PROMPT_TOKENS)))


async def _measure(workload: Workload) -> Measured:
    async with (
        open_stage(provider=_FreeModel()) as stage,
        open_stage(route=ModelRoute.ACOMPLETION, latency_ms=_BARE_LATENCY_MS) as stage_of_bare,
    ):
        parts = _Parts(stage, workload)
        bare = LiteLLMCaller(stage_of_bare, workload.spec)
        await run_calls(parts.execute, parts.people())
        await run_calls(bare.call, parts.prompts(_BARE_CALLS))
        trace = await parts.trace()

        async def bare_call_ms() -> float:
            return (await cost_of(bare.call, parts.prompts(_BARE_CALLS))).cpu_ms

        gc.collect()
        gate_ms: list[float] = []
        bare_ms: list[float] = []
        rounds_us: list[dict[str, float]] = []
        for number in range(_ROUNDS):
            if number % 2:
                bare_ms.append(await bare_call_ms())
                gate_ms.append(await parts.execution_ms())
            else:
                gate_ms.append(await parts.execution_ms())
                bare_ms.append(await bare_call_ms())
            rounds_us.append(await parts.steps_us(trace))
            say(f"  {number + 1} of {_ROUNDS}: {gate_ms[-1]:.3f} ms and {bare_ms[-1]:.2f} ms")
    steps_us = {step: median([steps[step] for steps in rounds_us]) for step in rounds_us[0]}
    steps_us["everything else"] = median(gate_ms) * 1000 - sum(steps_us.values())
    shares = [gate / bare for gate, bare in zip(gate_ms, bare_ms, strict=True)]
    return Measured(
        median(shares),
        {
            **spread(shares),
            "gate_cpu_ms": median(gate_ms),
            "bare_cpu_ms": median(bare_ms),
            "share_of_best_rounds": round(min(gate_ms) / min(bare_ms), 3),
            "executions_a_round": _CALLS,
            "bare_calls_a_round": _BARE_CALLS,
            "concurrency": CONCURRENCY,
            "latency_ms": _LATENCY_S * 1000,
            "bare_latency_ms": _BARE_LATENCY_MS,
            "prompt_tokens": _PROMPT_TOKENS,
            "steps_us": {step: round(us) for step, us in steps_us.items()},
            "redis_server": stage.redis,
        },
    )


class _Parts:
    """An execution as a whole, and its steps one after the other."""

    def __init__(self, stage: Stage, workload: Workload) -> None:
        self._runtime = stage.runtime
        self._ledger = stage.ledger
        self._workload = workload
        self._people = workload.people()
        self._numbers = itertools.count()

    def people(self, count: int = _CALLS) -> list[_Data]:
        """Return people who were never asked about before."""
        return list(itertools.islice(self._people, count))

    def prompts(self, count: int) -> list[list[Message]]:
        """Return the prompts of as many new people."""
        return [self._workload.spec.render(data) for data in self.people(count)]

    async def execute(self, data: _Data) -> None:
        """Execute, as whoever uses creditgate does."""
        result = await self._runtime.execute(self._workload.request(data))
        if isinstance(result, Pending) or result.status != "model":
            raise RuntimeError(f"the gate did not answer: {result}")

    async def trace(self) -> Execution:
        """Return what is known of one execution."""
        data = next(self._people)
        _, trace = await self._runtime.execute_traced(self._workload.request(data))
        if trace is None:
            raise RuntimeError("the gate did not answer")
        return trace

    async def execution_ms(self) -> float:
        """Return the CPU of a whole execution, less that of waiting for the model."""
        people = self.people()
        return (await cost_of(self.execute, people)).cpu_ms - await _waiting_ms(people)

    async def steps_us(self, trace: Execution) -> dict[str, float]:
        """Return the CPU of each step by itself, for as many people."""
        people, spec = self.people(), self._workload.spec
        messages = [spec.render(data) for data in people]
        schema, count = spec.json_schema, trace.model.counter.count_messages
        attempts: list[ExecutionAttempt] = []

        def name_attempt(_: _Data) -> None:
            attempts.append(self._attempt(trace))

        def finish(_: _Data) -> None:
            resolved = trace.resolve(FallbackReason.OUTPUT_INVALID, _ANSWER)
            trace.outcome(resolved)
            trace.result(resolved, kept=True)

        steps = {
            "check the request": _each_us(self._workload.request, people),
            "render": _each_us(spec.render, people),
            "count tokens": _each_us(lambda prompt: count(prompt, schema), messages),
            "name the attempt": _each_us(name_attempt, people),
            "parse": _each_us(lambda _: answers.parse(_COMPLETION.text, spec.outputs), people),
            "outcome and result": _each_us(finish, people),
        }

        async def reserve_and_settle(attempt: ExecutionAttempt) -> None:
            await self._reserve_and_settle(trace, attempt)

        ledger_ms = (await cost_of(reserve_and_settle, attempts)).cpu_ms
        steps["reserve and settle"] = (ledger_ms - await _waiting_ms(people)) * 1000
        return steps

    def _attempt(self, trace: Execution) -> ExecutionAttempt:
        request, number = trace.request, next(self._numbers)
        return self._ledger.attempt(
            account_id=request.account_id,
            execution_id=f"steps.{number}:reference:1",
            workspace_id=request.workspace_id,
            campaign_id=request.campaign_id,
            person_id=f"steps.{number}",
            action=trace.spec.id,
            source=str(request.source),
            action_version=trace.spec.version,
            model=trace.model.id,
        )

    async def _reserve_and_settle(self, trace: Execution, attempt: ExecutionAttempt) -> None:
        ledger = self._ledger
        reserved = await ledger.reserve(attempt, trace.progress.quote.amount_mc, _TTL_MS)
        if not isinstance(reserved, Reserved):
            raise RuntimeError(f"nothing was reserved: {reserved}")
        await asyncio.sleep(_LATENCY_S)
        await ledger.settle(
            Settlement(
                attempt,
                cost_mc=reserved.amount_mc // 2,
                reserved_mc=reserved.amount_mc,
                reserved_at_ms=reserved.reserved_at_ms,
                tokens="470,0,0,30,0",
                rate_card_version=trace.card.version,
                outcome=_COMPLETION.text.encode(),
            )
        )


async def _waiting_ms(people: Sequence[_Data]) -> float:
    async def wait(_: _Data) -> None:
        await asyncio.sleep(_LATENCY_S)

    return (await cost_of(wait, people)).cpu_ms


def _each_us(step: Callable[[_T], object], items: Sequence[_T]) -> float:
    since_s = time.process_time()
    for item in items:
        step(item)
    return (time.process_time() - since_s) / len(items) * 1_000_000
