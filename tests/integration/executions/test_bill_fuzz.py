"""Laws 4 and 17: any usage that a provider reports ends in one outcome, and nothing reserved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing.usage import TokenUsage
from providers.http import HttpAnswer, HttpClient
from providers.litellm.adapter import LiteLLMProvider
from tests.harness.usage_objects import usage_objects
from tests.harness.workbench import OpenWorkbench, Workbench, action

TEXT = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})
JSON = ((b"Content-Type", b"application/json"),)


def openai_body(usage: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "1", "model": "m", "object": "chat.completion", "choices": [choice]} | {
        "usage": usage
    }


def anthropic_body(usage: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": TEXT}]
    return {"id": "1", "type": "message", "role": "assistant", "content": content} | {
        "model": "m",
        "stop_reason": "end_turn",
        "usage": usage,
    }


def gemini_body(usage: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": TEXT}]}
    return {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}


BODIES = {"writer": openai_body, "claude": anthropic_body, "gem": gemini_body}
MODELS = {"claude": "anthropic/claude-sonnet-4-5", "gem": "gemini/gemini-2.0-flash"}


def with_models(config: dict[str, Any]) -> None:
    for name, litellm_model in MODELS.items():
        model = config["models"]["writer"] | {"litellm_model": litellm_model}
        config["models"][name] = model | {"json_schema": False}
        config["rate_cards"][0]["rates"][name] = config["rate_cards"][0]["rates"]["writer"]


class Biller(HttpClient):
    """Our client before a provider that answers with whatever body it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.body = b""
        self.calls = 0

    async def send(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        **options: Any,
    ) -> HttpAnswer:
        self.calls += 1
        return HttpAnswer(200, JSON, self.body)


async def check(bench: Workbench, client: Biller, model: str, body: bytes) -> None:
    """Execute once more, and check that what the provider says is billed within the bound."""
    client.body, client.calls = body, 0
    before = await bench.books()
    request = bench.request(action(model=model), execution_id=uuid4().hex)

    result, trace = await bench.traced(request)
    after = await bench.books()

    quote = trace.progress.quote
    most_input = max(2 * quote.input_tokens, quote.input_tokens + 500)
    bound_mc = trace.cost_mc(TokenUsage(most_input, quote.max_output_tokens))
    assert client.calls == 1
    assert after.charged_mc - before.charged_mc == result.charged_mc <= bound_mc
    assert after.overage_mc == 0
    if result.status == "model":
        assert result.charged_mc > 0
    else:
        assert after.exposure_mc - before.exposure_mc == result.reserved_mc
    assert after.exposure_mc >= before.exposure_mc
    if result.kept:
        again = await bench.run(request)
        assert (again.replayed, again.charged_mc) == (True, result.charged_mc)
        assert client.calls == 1


@pytest.mark.parametrize("model", BODIES)
@pytest.mark.usefixtures("imported_litellm")
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(usages=st.lists(usage_objects(), min_size=8, max_size=8))
def test_law_17_any_usage_object_ends_in_one_outcome_and_nothing_reserved(
    open_bench: OpenWorkbench, model: str, usages: list[Any]
) -> None:
    async def execute_all() -> None:
        client = Biller()
        async with open_bench(provider=LiteLLMProvider(client), change=with_models) as bench:
            for usage in usages:
                await check(bench, client, model, json.dumps(BODIES[model](usage)).encode())

    asyncio.run(execute_all())
