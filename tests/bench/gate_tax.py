"""The CPU of one ``execute()`` against that of one bare ``litellm.acompletion``.

``gate_tax`` has the gate call its models by ``acompletion`` too, ``direct_gate_tax`` directly.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiohttp

from providers.base import Completion, CompletionRequest, Message, ModelRoute
from providers.direct.provider import DirectProvider
from runtime.actions.requests import Pending
from tests.bench.bare import AiohttpCaller, LiteLLMCaller, RecordingClient, open_session
from tests.bench.conditions import median, say, spread
from tests.bench.loads import CONCURRENCY, Cost, cost_of, run_calls
from tests.bench.registry import Measured
from tests.bench.stage import Stage, open_stage
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

    @property
    def text(self) -> str:
        """The part of the prompt that nobody else has."""
        return self.messages[-1]["content"]


_Call = Callable[[_Person], Awaitable[object]]


def measure(prompt_tokens: int) -> Measured:
    """Measure with a prompt of so many tokens, half of them different for each person."""
    return asyncio.run(_measure(Workload(prompt_tokens), ModelRoute.ACOMPLETION))


def measure_direct() -> Measured:
    """Measure on the direct route, and aiohttp alone beside it with the same bytes."""
    return asyncio.run(_measure(Workload(prompt_tokens=300), ModelRoute.AUTO))


async def _measure(workload: Workload, route: ModelRoute) -> Measured:
    async with (
        open_stage(latency_ms=_LATENCY_MS, route=route) as stage,
        _open_callers(stage, workload) as callers,
    ):
        for _ in range(_WARM_UPS):
            for call in callers.sides.values():
                await run_calls(call, callers.people(CONCURRENCY))
        # Nobody pays for what was left behind before.
        gc.collect()
        rounds = [await _round(callers, number) for number in range(_ROUNDS)]
        tokens = await callers.prompt_tokens()
    cpu_ms = {side: [costs[side].cpu_ms for costs in rounds] for side in callers.sides}
    gate, bare = cpu_ms["gate"], cpu_ms["bare"]
    ratios = _ratios(gate, bare)
    return Measured(
        median(ratios),
        {
            **spread(ratios),
            "executions_a_round": _CALLS,
            "concurrency": CONCURRENCY,
            "route": str(route),
            **{f"{side}_cpu_ms": median(each) for side, each in cpu_ms.items()},
            "ratio_of_best_rounds": round(min(gate) / min(bare), 3),
            **{
                f"ratio_to_{side}": median(_ratios(gate, each))
                for side, each in cpu_ms.items()
                if side not in ("gate", "bare")
            },
            **tokens,
            "latency_ms": _LATENCY_MS,
            "redis_server": stage.redis,
        },
    )


async def _round(callers: _Callers, number: int) -> Mapping[str, Cost]:
    """Measure each side once, for the same people; every other round in reverse."""
    people = callers.people(_CALLS)
    order = list(callers.sides)[:: -1 if number % 2 else 1]
    costs = {side: await cost_of(callers.sides[side], people) for side in order}
    if (number + 1) % _TELL_EVERY == 0:
        say(f"  {number + 1} of {_ROUNDS} rounds")
    return costs


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


@asynccontextmanager
async def _open_callers(stage: Stage, workload: Workload) -> AsyncIterator[_Callers]:
    """Open all sides, and make sure that they ask for the same."""
    provider = DirectProvider()
    try:
        callers = _Callers(stage, workload, provider)
        if callers.route is ModelRoute.ACOMPLETION:
            await callers.check_equality()
            yield callers
        else:
            async with open_session() as session:
                await callers.add_aiohttp(session)
                await callers.check_equality()
                yield callers
    finally:
        await provider.aclose()


class _Callers:
    """Ways to the same answer. ``sides`` has the calls by name: the gate, bare, and others."""

    def __init__(self, stage: Stage, workload: Workload, provider: DirectProvider) -> None:
        model = stage.config.models[workload.spec.model]
        self.route = model.route
        self._litellm_model = model.litellm_model
        self._endpoint = stage.endpoint(workload.spec.model)
        self._runtime = stage.runtime
        self._workload = workload
        self._spec = workload.spec
        bare = LiteLLMCaller(stage, workload.spec)
        self.sides: dict[str, _Call] = {
            "gate": self._gate,
            "bare": lambda person: bare.call(person.messages),
            "adapter" if self.route is ModelRoute.ACOMPLETION else "direct": (
                lambda person: provider.complete(self._request(person))
            ),
        }

    def people(self, count: int) -> list[_Person]:
        """Return people who were never asked about before."""
        return [
            _Person(data, self._spec.render(data))
            for data in islice(self._workload.people(), count)
        ]

    async def add_aiohttp(self, session: aiohttp.ClientSession) -> None:
        """Add aiohttp alone, which sends the bytes that our provider sends for the same person.

        Raises:
            RuntimeError: our provider's requests differ in more than the person's text.
        """
        recording = RecordingClient()
        provider = DirectProvider(recording)
        people = self.people(4)
        for person in people:
            await provider.complete(self._request(person))
        await recording.aclose()
        # The first ones go by another way, while the provider makes the route ready.
        recorded, other = recording.sent[-2:]
        alone = AiohttpCaller(session, recorded, people[-2].text)
        if (alone.body(people[-1].text), recorded.headers) != (other.body, other.headers):
            raise RuntimeError("the provider's requests differ in more than the text")
        self.sides["aiohttp"] = lambda person: alone.call(person.text)

    async def check_equality(self) -> None:
        """Make sure that all sides ask for the same: the mock provider's answers depend on it.

        Raises:
            RuntimeError: two sides are not answered the same.
        """
        (person,) = self.people(1)
        answers = [_values(await call(person)) for call in self.sides.values()]
        if any(values != answers[0] for values in answers):
            raise RuntimeError(f"the sides don't ask for the same: {answers}")

    async def prompt_tokens(self) -> dict[str, int]:
        """Return how long the prompt is, alone and as it is billed."""
        (person,) = self.people(1)
        _, trace = await self._runtime.execute_traced(self._workload.request(person.data))
        if trace is None or trace.progress.usage is None:
            raise RuntimeError("the gate did not answer")
        count = trace.model.counter.count_text
        return {
            "prompt_tokens": sum(count(message["content"]) for message in trace.messages),
            "prompt_tokens_of_the_person": count(person.text),
            "input_tokens_with_schema": trace.progress.usage.input_tokens,
        }

    async def _gate(self, person: _Person) -> dict[str, Any]:
        result = await self._runtime.execute(self._workload.request(person.data))
        if isinstance(result, Pending) or result.status != "model":
            raise RuntimeError(f"the gate did not answer: {result}")
        return result.values

    def _request(self, person: _Person) -> CompletionRequest:
        """Return the request as the executor makes it."""
        return CompletionRequest(
            litellm_model=self._litellm_model,
            endpoint=self._endpoint,
            messages=person.messages,
            max_output_tokens=self._spec.limits.max_output_tokens,
            response_schema=self._spec.json_schema,
            route=self.route,
        )


def _values(answer: object) -> object:
    """Return the values in what a side answered: the gate's, a text, or the provider's bytes."""
    if isinstance(answer, bytes):
        answer = json.loads(answer)["choices"][0]["message"]["content"]
    if isinstance(answer, Completion):
        answer = answer.text
    return json.loads(answer) if isinstance(answer, str) else answer
