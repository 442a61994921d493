"""Any answer, and any prompt, means the same on the direct route as on LiteLLM's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.http import Headers
from tests.harness.routes.asking import FORMS, MODELS, Wording, good_answer, request
from tests.harness.routes.comparing import BothRoutesInHand, difference, http_answer
from tests.harness.routes.mutated import http_answers

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Pydantic serializer warnings:UserWarning",
        r"ignore:Items? .+ on TypedDict class '_Ollama:UserWarning",
    ),
]

ADDRESS = "http://127.0.0.1:9/v1"
ASKED = [
    *(MODELS[name] for name in ("openai", "anthropic", "gemini", "ollama_chat")),
    *("anthropic/claude-3-haiku-20240307", "groq/llama-3.3-70b-versatile", "azure/gpt-4o-mini"),
]
"""One of each form, Anthropic's also with a forced tool."""
OTHERS = [
    *(MODELS[name] for name in ("mistral", "deepseek", "openrouter", "xai", "hosted_vllm")),
    *(MODELS[name] for name in ("together_ai", "perplexity", "minimax", "azure_ai", "ollama")),
    *("openai/gpt-5", "fireworks_ai/m", "moonshot/m", "cerebras/m", "deepseek/deepseek-reasoner"),
]
PLAIN, WITH_SCHEMA = FORMS[0], FORMS[7]
SHORT = Wording([{"role": "user", "content": "Hello"}], 10)

Answer = tuple[int, Headers, bytes]
Runner = tuple[asyncio.Runner, BothRoutesInHand]


@pytest.fixture(scope="module")
def both() -> Iterator[Runner]:
    """Both routes, and what runs their calls: one event loop for all examples."""
    with asyncio.Runner() as runner:
        routes = BothRoutesInHand()
        runner.run(routes.warm_up())
        yield runner, routes


def drawn(models: list[str]) -> st.SearchStrategy[tuple[str, Answer]]:
    """Return models, each with an answer in its form or in that of another."""
    of_its_form = st.sampled_from(models).flatmap(
        lambda model: st.tuples(st.just(model), http_answers(model))
    )
    of_another = st.sampled_from(models).flatmap(http_answers)
    return of_its_form | of_its_form | st.tuples(st.sampled_from(models), of_another)


def check(both: Runner, model: str, answer: Answer, *, with_schema: bool) -> None:
    runner, routes = both
    asked = request(model, ADDRESS, WITH_SCHEMA if with_schema else PLAIN, SHORT)
    assert runner.run(routes.compare(asked, *answer)) is None


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(asked=drawn(ASKED), with_schema=st.booleans())
def test_an_answer_of_any_kind_means_the_same_on_both_routes(
    both: Runner, asked: tuple[str, Answer], with_schema: bool
) -> None:
    check(both, *asked, with_schema=with_schema)


@pytest.mark.long
@pytest.mark.timeout(300)
@settings(max_examples=3_000, suppress_health_check=[HealthCheck.too_slow])
@given(asked=drawn(ASKED + OTHERS), with_schema=st.booleans())
def test_answers_of_many_kinds_mean_the_same_on_both_routes(
    both: Runner, asked: tuple[str, Answer], with_schema: bool
) -> None:
    check(both, *asked, with_schema=with_schema)


ROLES = (("user",), ("system", "user"), ("system", "user", "user"), ("user", "assistant", "user"))
texts = (
    st.text(max_size=20)
    | st.text(st.characters(max_codepoint=127), max_size=20)
    | st.text(st.sampled_from("\ud83d\ude00 \t\n\x00é"), max_size=4)
    | st.sampled_from(
        (
            *(
                "Probe 0.0 é",
                "Probe 1.0 é",
                "12347",
                "data:image/png;base64,AA==",
                "https://x/a.png",
            ),
            *("Hello ", " Hello", "{}", '{"type": "text", "text": "x"}', "</s>", "[INST]", "\\n"),
        )
    )
)
prompts = st.sampled_from(ROLES).flatmap(
    lambda roles: st.tuples(*(texts for _ in roles)).map(
        lambda said: [
            {"role": role, "content": text} for role, text in zip(roles, said, strict=True)
        ]
    )
)
limits = st.integers(1, 200_000) | st.sampled_from((12_347, 5_113, 12_348, 1, 16))
GOOD = {model: http_answer(good_answer(model)) for model in ASKED + OTHERS}


def check_prompt(both: Runner, model: str, wording: Wording, *, with_schema: bool) -> None:
    runner, routes = both
    asked = request(model, ADDRESS, WITH_SCHEMA if with_schema else PLAIN, wording)
    assert difference(**runner.run(routes.calls(asked, GOOD[model]))) is None


wordings = st.builds(Wording, prompts, limits)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(model=st.sampled_from(ASKED[:4]), wording=wordings, with_schema=st.booleans())
def test_a_prompt_of_any_kind_is_sent_the_same_on_both_routes(
    both: Runner, model: str, wording: Wording, with_schema: bool
) -> None:
    check_prompt(both, model, wording, with_schema=with_schema)


@pytest.mark.long
@settings(max_examples=1_000, suppress_health_check=[HealthCheck.too_slow])
@given(model=st.sampled_from(ASKED + OTHERS), wording=wordings, with_schema=st.booleans())
def test_prompts_of_many_kinds_are_sent_the_same_on_both_routes(
    both: Runner, model: str, wording: Wording, with_schema: bool
) -> None:
    check_prompt(both, model, wording, with_schema=with_schema)
