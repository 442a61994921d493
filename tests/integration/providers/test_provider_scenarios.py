"""Any mixture of faults, for any provider: nothing that is billed goes unnoticed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, Endpoint
from providers.errors import NotSent, ProviderError, Rejected
from providers.litellm.adapter import LiteLLMProvider
from providers.mock.server import MockOptions, start
from tests.harness.executions.certainty import MODELS

SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["card", "transfer"]},
        "reply": {"type": "string", "description": "At most 80 characters."},
    },
    "required": ["intent", "reply"],
    "additionalProperties": False,
}

tokens = st.integers(0, 60)
answers = st.sampled_from(
    [
        "",
        "empty",
        "truncated",
        "refusal",
        "filtered",
        "malformed=broken_json",
        "malformed=wrong_types",
    ]
)
usages = st.sampled_from(["", "usage=missing", "usage=zero", "usage=xai"])
failures = st.integers(400, 599).map("status={}".format) | st.sampled_from(
    [
        "insufficient_quota",
        "context_length_exceeded",
        "content_filter",
        "json_validate_failed",
        "reset",
        "reset_early",
        "not_json",
    ]
)
answered = st.tuples(
    answers,
    usages,
    tokens.map("reasoning={}".format),
    tokens.map("cached={}".format),
    # Gemini has no such class.
    st.just("") | tokens.map("cache_write={}".format),
).map(lambda words: ",".join(filter(None, words)))
scenarios = answered | failures


async def ask(provider: LiteLLMProvider, name: str, scenario: str) -> str | None:
    """Return what is wrong with what came of one request, if anything is."""
    server = await start(MockOptions(scenario=scenario))
    version = "" if name.startswith(("anthropic", "gemini")) else "/v1"
    request = CompletionRequest(
        MODELS[name],
        Endpoint("main", api_key="k", api_base=server.url + version),
        [{"role": "user", "content": "Where is my card?"}],
        max_output_tokens=70,
        response_schema=SCHEMA,
    )
    outcome: Completion | ProviderError
    try:
        outcome = await provider.complete(request)
    except ProviderError as error:
        outcome = error
    stats = server.stats()
    await server.aclose()

    if stats["requests"] != 1:
        return f"{stats['requests']} requests"
    if isinstance(outcome, NotSent):
        return "it was sent"
    if isinstance(outcome, Rejected) and stats["model_runs"]:
        return "the model ran"
    if isinstance(outcome, Completion) and outcome.usage is not None:
        billed = stats["tokens"]
        cached, written = billed["cached_input"], billed["cache_write"]
        if name == "gemini":
            # It has no such class, and LiteLLM drops the other where a filter took the answer.
            written = 0
            cached = outcome.usage.cached_input_tokens if not outcome.text else cached
        real = TokenUsage(
            billed["input"], billed["output"], cached, written, outcome.usage.reasoning_tokens
        )
        lost_reasoning = outcome.usage.reasoning_tokens < billed["reasoning"]
        if outcome.usage != real or (lost_reasoning and outcome.text):
            return f"{outcome.usage} for {billed}"
    return None


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12, deadline=None)
@given(drawn=st.lists(scenarios, min_size=20, max_size=20))
def test_whatever_happens_what_is_billed_is_known_or_possible(name: str, drawn: list[str]) -> None:
    async def all_at_once() -> dict[str, str]:
        provider = LiteLLMProvider()
        found = await asyncio.gather(*(ask(provider, name, scenario) for scenario in drawn))
        await provider.aclose()
        return {scenario: wrong for scenario, wrong in zip(drawn, found, strict=True) if wrong}

    assert asyncio.run(all_at_once()) == {}
