"""``vs_litellm_proxy``: calls a second of the service and of LiteLLM Proxy, one worker each."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

from providers.base import ModelRoute
from tests.bench.conditions import median, say, spread
from tests.bench.http_cost import own_load
from tests.bench.http_load import HttpLoad
from tests.bench.http_service import LATENCY_MS, PROMPT_TOKENS, open_process, request_body
from tests.bench.litellm_proxy import BUDGET, KEY, MODEL, open_proxy
from tests.bench.loads import CONCURRENCY
from tests.bench.registry import Measured
from tests.bench.workload import Workload

_ROUNDS = 11
_OWN_CALLS, _PROXY_CALLS = 512, 64


def measure() -> Measured:
    """Measure how many times the proxy's calls a second the service makes."""
    return asyncio.run(_measure())


async def _measure() -> Measured:
    workload = Workload(PROMPT_TOKENS)
    people = workload.people()
    core = min(os.sched_getaffinity(0))
    async with (
        open_process(ModelRoute.AUTO) as process,
        open_proxy(process.mock, core) as proxy_url,
    ):
        own = own_load(process)
        proxy = HttpLoad(
            proxy_url,
            "/v1/chat/completions",
            {"Authorization": f"Bearer {KEY}"},
            answered=b'"finish_reason":"stop"',
        )
        [data] = islice(people, 1)
        mine = await own.one(request_body(workload, data))
        theirs = await proxy.one(_completion(workload, data))
        _check_equality(mine, theirs)

        async def own_rate() -> float:
            bodies = [request_body(workload, each) for each in islice(people, _OWN_CALLS)]
            return _OWN_CALLS / await own.run(bodies)

        async def proxy_rate() -> float:
            bodies = [_completion(workload, each) for each in islice(people, _PROXY_CALLS)]
            return _PROXY_CALLS / await proxy.run(bodies)

        for _ in range(2):
            await own_rate()
            await proxy_rate()
        rates: list[tuple[float, float]] = []
        for number in range(_ROUNDS):
            if number % 2:
                rates.append((await own_rate(), await proxy_rate()))
            else:
                theirs_first = await proxy_rate()
                rates.append((await own_rate(), theirs_first))
            say(f"  {number + 1} of {_ROUNDS}: {rates[-1][0]:.0f} and {rates[-1][1]:.0f} a second")
        ratios = [ours / other for ours, other in rates]
        return Measured(
            median(ratios),
            {
                **spread(ratios),
                "calls_a_round": [_OWN_CALLS, _PROXY_CALLS],
                "concurrency": CONCURRENCY,
                "workers": 1,
                "prompt_tokens": PROMPT_TOKENS,
                "latency_ms": LATENCY_MS,
                "own_a_second": round(median([ours for ours, _ in rates])),
                "proxy_a_second": round(median([other for _, other in rates])),
                "proxy_budget": BUDGET,
                "redis_server": process.redis,
            },
        )


def _completion(workload: Workload, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that an application sends to the proxy for the same person."""
    spec = workload.spec
    schema = {"name": "answer", "strict": True, "schema": spec.json_schema}
    return {
        "model": MODEL,
        "messages": spec.render(data),
        "max_tokens": spec.limits.max_output_tokens,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


def _check_equality(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Make sure that both sides asked for the same.

    The texts differ: the proxy adds its user to the request, which the mock provider answers by.

    Raises:
        RuntimeError: the prompt has another length, or the answer other fields.
    """
    values = json.loads(theirs["choices"][0]["message"]["content"])
    tokens = mine["usage"]["input_tokens"], theirs["usage"]["prompt_tokens"]
    if values.keys() != mine["values"].keys() or tokens[0] != tokens[1]:
        raise RuntimeError(f"the sides don't ask for the same: {mine}, {theirs}")
