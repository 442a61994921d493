"""Suggested rates charge what LiteLLM itself works out for the same usage."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal

import pytest

from pricing.price_map import load_price_map
from pricing.quote import cost_mc
from pricing.suggested_rates import suggest_rates
from pricing.usage import TokenUsage
from providers.litellm.adapter import LiteLLMProvider
from tests.harness.litellm_module import litellm_module

MODELS = {
    "openai/gpt-4.1": 200_000,
    "openai/gpt-5.4": 272_000,
    "anthropic/claude-sonnet-4-5": 200_000,
    "gemini/gemini-2.5-pro": 200_000,
    "mistral/codestral-2508": 200_000,
    "xai/grok-4.3": 200_000,
    "vertex_ai/claude-sonnet-5": 200_000,
}


@pytest.mark.parametrize("model, threshold", MODELS.items())
async def test_a_charge_is_what_litellm_works_out_on_both_sides_of_a_threshold(
    model: str, threshold: int
) -> None:
    await LiteLLMProvider().warm_up()
    litellm = litellm_module()
    listing = load_price_map().find(model)
    assert listing is not None
    rates = suggest_rates(listing, Decimal(1), date(2026, 11, 24))
    for input_tokens in (1_000, threshold - 1, threshold, threshold + 1):
        usage = TokenUsage(input_tokens, 700, cached_input_tokens=300, reasoning_tokens=200)
        sides_usd = litellm.cost_per_token(
            model=model,
            usage_object=litellm.Usage(
                prompt_tokens=usage.input_tokens,
                completion_tokens=usage.output_tokens,
                total_tokens=usage.input_tokens + usage.output_tokens,
                prompt_tokens_details={"cached_tokens": usage.cached_input_tokens},
                completion_tokens_details={"reasoning_tokens": usage.reasoning_tokens},
            ),
        )
        expected_mc = math.fsum(sides_usd) * 10_000 * 1_000
        # LiteLLM counts in floats: what it says is whole may be a hair above.
        assert cost_mc(rates, usage) in (math.ceil(expected_mc), math.ceil(expected_mc - 1e-6))
