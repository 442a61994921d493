"""What the direct route remembers of actions, and what it takes to learn how one is asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from providers.base import CompletionRequest, Endpoint
from providers.direct.provider import DirectProvider
from providers.http import HttpAnswer
from tests.harness.bounds import assert_linear, loop_holds_s, peak_bytes

ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Http:
    """Answers the same to everybody."""

    async def send(self, *request: Any, **options: Any) -> HttpAnswer:
        return HttpAnswer(200, (), json.dumps(ANSWER).encode())


def direct_provider() -> DirectProvider:
    return DirectProvider(Http())  # type: ignore[arg-type] # a stand-in for our client


def asking(model: str, number: int) -> CompletionRequest:
    """A request of an action with a schema of its own, as long as that of a large one."""
    options = [f"option {option} of {number}" for option in range(77)]
    schema = {"type": "object", "properties": {"intent": {"type": "string", "enum": options}}}
    messages = [{"role": "user", "content": "Hello"}]
    return CompletionRequest(model, Endpoint("main", api_key="k"), messages, 50, schema)


def call_actions(count: int) -> None:
    """Make a call for each of so many actions."""

    async def call() -> None:
        provider = direct_provider()
        for number in range(count):
            await provider.complete(asking("openai/gpt-4.1", number))

    asyncio.run(call())


def test_law_15_remembering_actions_takes_at_most_10_mb() -> None:
    assert peak_bytes(lambda: call_actions(1_300)) < 10_000_000
    assert_linear(int, call_actions, 100)


async def test_law_15_learning_how_litellm_asks_never_holds_the_event_loop_for_50_ms() -> None:
    provider = direct_provider()
    await provider.warm_up()
    # LiteLLM imports parts of itself as it first meets a provider, which is when a runtime opens.
    models = ("openai/gpt-5", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash")
    for model in models:
        await provider.learn(asking(model, 0))

    for model in models:
        is_direct, holds_s = await loop_holds_s(provider.learn(asking(model, 1)))
        assert is_direct
        assert max(holds_s) < 0.050
