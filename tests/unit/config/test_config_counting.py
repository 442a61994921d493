"""How a model's tokens are counted follows from its name, unless the configuration says it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pricing.tokens import OTHER, TokenCounter
from runtime.catalog.models import build_models
from runtime.config import Config
from runtime.config.sections import ModelSection
from tests.harness.configs import load, right

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def section(litellm_model: str, **settings: Any) -> ModelSection:
    return ModelSection.model_validate(
        {"litellm_model": litellm_model, "endpoint": "mock", "class": "quick", **settings}
    )


@pytest.mark.parametrize(
    "litellm_model, counting",
    [
        ("openai/gpt-4.1", ("o200k_base", 10, 0)),
        ("azure/gpt-4", ("cl100k_base", 10, 0)),
        ("azure/our-deployment", (OTHER, 75, 0)),
        ("gemini/gemini-3.8-flash", (OTHER, 75, 0)),
        ("anthropic/claude-sonnet-5", (OTHER, 75, 850)),
        ("bedrock/eu.anthropic.Claude-Haiku-4-5", (OTHER, 75, 850)),
    ],
)
def test_what_is_left_out_is_safe_for_the_model_of_that_name(
    litellm_model: str, counting: tuple[str, int, int]
) -> None:
    assert section(litellm_model).counting() == counting


def test_what_is_said_counts_each_by_itself() -> None:
    claude = "anthropic/claude-sonnet-5"

    assert section(claude, schema_overhead_tokens=0).counting() == (OTHER, 75, 0)
    assert section(claude, token_margin_percent=0).counting() == (OTHER, 0, 850)
    assert section(claude, encoding="o200k_base").counting() == ("o200k_base", 10, 850)


@pytest.mark.parametrize(
    "litellm_model, settings, warned",
    [
        ("anthropic/claude-sonnet-5", {"encoding": "o200k_base"}, True),
        ("gemini/gemini-3.8-flash", {"encoding": "cl100k_base"}, True),
        ("gemini/gemini-3.8-flash", {"encoding": "other"}, False),
        ("gemini/gemini-3.8-flash", {}, False),
        ("azure/our-deployment", {"encoding": "o200k_base"}, False),
        ("openrouter/openai/gpt-5", {"encoding": "o200k_base"}, False),
    ],
)
def test_an_encoding_that_can_not_be_a_providers_own_is_a_warning(
    litellm_model: str, settings: dict[str, str], warned: bool
) -> None:
    data = right()
    data["models"]["writer"] |= {"litellm_model": litellm_model, **settings}

    warnings = load(data).warnings

    assert [warning.path for warning in warnings] == ["models.writer.encoding"] * warned
    assert all("leave it out" in warning.message for warning in warnings)


def test_models_are_quoted_with_what_their_sections_say() -> None:
    config = Config.model_validate(
        {
            "version": 1,
            "endpoints": {"mock": {}},
            "plans": {"growth": {"ai_credits": True}},
            "models": {
                "claude": section("anthropic/claude-sonnet-5").model_dump(by_alias=True),
                "gpt": section("openai/gpt-4.1").model_dump(by_alias=True),
            },
        }
    )
    models = build_models(config)
    expected = {
        "claude": TokenCounter(OTHER, 75, schema_overhead_tokens=850),
        "gpt": TokenCounter("o200k_base", 10),
    }

    for name, counter in expected.items():
        model = models.usable(name, date(2026, 1, 1), allow_replacement=False)
        assert model is not None
        messages = [{"role": "user", "content": "Привет, 12345!"}]
        assert model.counter.count_messages(messages, SCHEMA) == (
            counter.count_messages(messages, SCHEMA)
        )
