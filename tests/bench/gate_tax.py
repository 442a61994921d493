"""``gate_tax``: the CPU of one ``execute()`` against that of one bare ``litellm.acompletion``."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import dataclass
from itertools import islice
from typing import Any

from providers.base import CompletionRequest, Message
from providers.litellm.adapter import LiteLLMProvider
from runtime.actions.requests import Pending
from tests.bench.conditions import median, say, spread
from tests.bench.loads import CONCURRENCY, Cost, cost_of, run_calls
from tests.bench.registry import Measured
from tests.bench.stage import Stage, bare_arguments, open_stage
from tests.bench.workload import Workload

_ROUNDS = 40
_CALLS = 96
_WARM_UPS = 3
_TELL_EVERY = 10
_LATENCY_MS = 5.0


@dataclass(frozen=True, slots=True)
class _Person:
    """Somebody's data, and the prompt that a bare caller has at hand."""

    data: dict[str, Any]
    messages: list[Message]


def measure(prompt_tokens: int) -> Measured:
    """Measure with a prompt of so many tokens, half of them different for each person."""
    return asyncio.run(_measure(Workload(prompt_tokens)))


async def _measure(workload: Workload) -> Measured:
    async with open_stage(latency_ms=_LATENCY_MS) as stage:
        callers = _Callers(stage, workload)
        await callers.check_equality()
        sides = (callers.gate, callers.bare, callers.adapter)
        for side in sides * _WARM_UPS:
            await run_calls(side, callers.people(CONCURRENCY))
        # Nobody pays for what was left behind before.
        gc.collect()
        rounds: list[list[Cost]] = []
        for number in range(_ROUNDS):
            people = callers.people(_CALLS)
            costs = {
                side: await cost_of(side, people) for side in sides[:: -1 if number % 2 else 1]
            }
            rounds.append([costs[side] for side in sides])
            if (number + 1) % _TELL_EVERY == 0:
                say(f"  {number + 1} of {_ROUNDS} rounds")
        tokens = await callers.prompt_tokens()
        await callers.aclose()
    ratios = [gate.cpu_ms / bare.cpu_ms for gate, bare, _ in rounds]
    return Measured(
        median(ratios),
        {
            **spread(ratios),
            "executions_a_round": _CALLS,
            "concurrency": CONCURRENCY,
            "gate_cpu_ms": median([gate.cpu_ms for gate, _, _ in rounds]),
            "bare_cpu_ms": median([bare.cpu_ms for _, bare, _ in rounds]),
            "adapter_cpu_ms": median([adapter.cpu_ms for _, _, adapter in rounds]),
            "ratio_of_best_rounds": round(
                min(gate.cpu_ms for gate, _, _ in rounds)
                / min(bare.cpu_ms for _, bare, _ in rounds),
                3,
            ),
            "ratio_to_adapter": median([gate.cpu_ms / a.cpu_ms for gate, _, a in rounds]),
            **tokens,
            "latency_ms": _LATENCY_MS,
            "redis_server": stage.redis,
        },
    )


class _Callers:
    """Three ways to the same answer: through the gate, bare, and through our adapter alone."""

    def __init__(self, stage: Stage, workload: Workload) -> None:
        # Imported by the adapter by now, which keeps the import off the internet.
        import litellm

        self._acompletion = litellm.acompletion
        self._runtime = stage.runtime
        self._workload = workload
        self._spec = workload.spec
        self._endpoint = stage.endpoint(self._spec.model)
        self._litellm_model = stage.config.models[self._spec.model].litellm_model
        self._adapter = LiteLLMProvider()

    def people(self, count: int) -> list[_Person]:
        """Return people who were never asked about before."""
        return [
            _Person(data, self._spec.render(data))
            for data in islice(self._workload.people(), count)
        ]

    async def gate(self, person: _Person) -> dict[str, Any]:
        """Execute; return the values."""
        result = await self._runtime.execute(self._workload.request(person.data))
        if isinstance(result, Pending) or result.status != "model":
            raise RuntimeError(f"the gate did not answer: {result}")
        return result.values

    async def bare(self, person: _Person) -> str:
        """Call LiteLLM as its users do; return the answer's text."""
        response = await self._acompletion(
            **bare_arguments(self._spec, self._litellm_model, self._endpoint, person.messages)
        )
        return str(response.choices[0].message.content)

    async def adapter(self, person: _Person) -> str:
        """Call the adapter as the executor does; return the answer's text."""
        completion = await self._adapter.complete(
            CompletionRequest(
                litellm_model=self._litellm_model,
                endpoint=self._endpoint,
                messages=person.messages,
                max_output_tokens=self._spec.limits.max_output_tokens,
                response_schema=self._spec.json_schema,
            )
        )
        return completion.text

    async def aclose(self) -> None:
        """Close the adapter's connections."""
        await self._adapter.aclose()

    async def check_equality(self) -> None:
        """Make sure that all three ask for the same: the mock provider's answers depend on it."""
        (person,) = self.people(1)
        values = await self.gate(person)
        for text in (await self.bare(person), await self.adapter(person)):
            if json.loads(text) != values:
                raise RuntimeError("the gate and a bare call don't ask for the same")

    async def prompt_tokens(self) -> dict[str, int]:
        """Return how long the prompt is, alone and as it is billed."""
        (person,) = self.people(1)
        _, trace = await self._runtime.execute_traced(self._workload.request(person.data))
        if trace is None or trace.progress.usage is None:
            raise RuntimeError("the gate did not answer")
        count = trace.model.counter.count_text
        texts = [message["content"] for message in trace.messages]
        return {
            "prompt_tokens": sum(count(text) for text in texts),
            "prompt_tokens_of_the_person": count(texts[-1]),
            "input_tokens_with_schema": trace.progress.usage.input_tokens,
        }
