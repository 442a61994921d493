"""Usage objects as providers send them, and as LiteLLM passes them on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.quote import cost_mc
from pricing.rate_card import Rates
from pricing.usage import TokenUsage
from providers.litellm.adapter import LiteLLMProvider
from providers.litellm.usage import read_usage
from tests.harness.litellm_module import litellm_module

RATES = Rates(
    input_mc=20_000_000,
    output_mc=80_000_000,
    cached_input_mc=5_000_000,
    cache_write_mc=25_000_000,
    reasoning_mc=80_000_000,
)


@pytest.mark.parametrize(
    "raw, expected, charge_mc",
    [
        pytest.param(
            {
                "prompt_tokens": 3030,
                "completion_tokens": 40,
                "total_tokens": 3070,
                "prompt_tokens_details": {"cached_tokens": 3000, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            TokenUsage(3030, 40, 3000),
            18_800,
            id="openai",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 240,
                "total_tokens": 340,
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
            TokenUsage(100, 240, reasoning_tokens=200),
            21_200,
            id="openai, reasoning within the output",
        ),
        pytest.param(
            {
                "prompt_tokens": 30,
                "completion_tokens": 40,
                "total_tokens": 3070,
                "prompt_tokens_details": {"cached_tokens": 3000},
            },
            TokenUsage(3030, 40, 3000),
            18_800,
            id="cached tokens beside the prompt, in the total",
        ),
        pytest.param(
            {
                "prompt_tokens": 3000,
                "completion_tokens": 40,
                "total_tokens": 3070,
                "prompt_tokens_details": {"cached_tokens": 30},
            },
            TokenUsage(3030, 40, 30),
            63_350,
            id="few cached tokens beside a long prompt",
        ),
        pytest.param(
            {
                "prompt_tokens": 30,
                "completion_tokens": 40,
                "total_tokens": 70,
                "cache_read_input_tokens": 3000,
            },
            TokenUsage(3030, 40, 3000),
            18_800,
            id="anthropic's counts on an endpoint that speaks openai's dialect",
        ),
        pytest.param(
            {
                "prompt_tokens": 3130,
                "completion_tokens": 40,
                "total_tokens": 3170,
                "cache_read_input_tokens": 3000,
                "cache_creation_input_tokens": 100,
            },
            TokenUsage(3130, 40, 3000, 100),
            21_300,
            id="anthropic, by litellm",
        ),
        pytest.param(
            {
                "prompt_tokens": 30,
                "completion_tokens": 40,
                "total_tokens": 70,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 3000,
            },
            TokenUsage(3030, 40, 0, 3000),
            78_800,
            id="anthropic's counts, the first time",
        ),
        pytest.param(
            {
                "prompt_tokens": 3019,
                "completion_tokens": 40,
                "total_tokens": 3059,
                "cached_tokens": 3000,
            },
            TokenUsage(3019, 40, 3000),
            18_580,
            id="moonshot",
        ),
        pytest.param(
            {
                "prompt_tokens": 3019,
                "completion_tokens": 40,
                "total_tokens": 3059,
                "prompt_cache_hit_tokens": 3000,
                "prompt_cache_miss_tokens": 19,
            },
            TokenUsage(3019, 40, 3000),
            18_580,
            id="deepseek",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "total_tokens": 340,
                "completion_tokens_details": {"reasoning_tokens": 200},
                "prompt_tokens_details": {"cached_tokens": 50},
            },
            TokenUsage(100, 240, 50, 0, 200),
            20_450,
            id="xai",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "total_tokens": 190,
                "completion_tokens_details": {"reasoning_tokens": 50},
                "prompt_tokens_details": {"cached_tokens": 50},
            },
            TokenUsage(100, 90, 50, 0, 50),
            8_450,
            id="xai, as many tokens cached as thought",
        ),
        pytest.param(
            {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 340},
            TokenUsage(100, 240),
            21_200,
            id="xai by openai/, in the total alone",
        ),
        pytest.param(
            {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140, "cost": 0.01},
            TokenUsage(100, 40),
            5_200,
            id="openrouter",
        ),
    ],
)
async def test_law_6_the_usage_of_each_dialect_is_charged_right(
    raw: dict[str, Any], expected: TokenUsage, charge_mc: int
) -> None:
    await LiteLLMProvider().warm_up()
    usage, _ = read_usage(litellm_module().types.utils.Usage(**raw), answered=True)

    assert usage == expected
    assert cost_mc(RATES, usage) == charge_mc


def test_reasoning_beside_the_answer_is_told_from_reasoning_within_it() -> None:
    def beside(**raw: int) -> bool:
        return read_usage(SimpleNamespace(prompt_tokens=100, **raw), answered=True)[1]

    assert beside(completion_tokens=40, total_tokens=340)
    assert not beside(completion_tokens=240, total_tokens=340)
    assert not beside(completion_tokens=240)


COUNTS = (
    st.integers(-5, 200)
    | st.integers(0, 10**30)
    | st.none()
    | st.just("12")
    | st.just(float("nan"))
    | st.booleans()
)
NAMES = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "prompt_cache_hit_tokens",
)


@given(
    counts=st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, COUNTS)),
    prompt_details=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("cached_tokens", "cache_write_tokens"), COUNTS)
    ),
    reasoning=COUNTS,
    answered=st.booleans(),
)
def test_law_17_usage_of_any_form_is_valid_and_never_less_than_what_was_reported(
    counts: dict[str, Any], prompt_details: dict[str, Any], reasoning: Any, answered: bool
) -> None:
    reported = SimpleNamespace(
        **counts,
        prompt_tokens_details=SimpleNamespace(**prompt_details),
        completion_tokens_details=SimpleNamespace(reasoning_tokens=reasoning),
    )

    usage, _ = read_usage(reported, answered=answered)

    if usage is None:
        return
    assert usage.output_tokens > 0 or not answered
    for name, found in (
        ("prompt_tokens", usage.input_tokens),
        ("completion_tokens", usage.output_tokens),
        ("total_tokens", usage.input_tokens + usage.output_tokens),
    ):
        if isinstance(counts.get(name), int):
            assert found >= counts[name]
