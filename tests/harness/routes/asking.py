"""The models that are asked, and everything that a request can say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

from providers.base import CompletionRequest, Endpoint, Message
from providers.litellm.routes import ROUTES
from tests.harness.routes.native_answers import (
    ANTHROPIC,
    GEMINI,
    OLLAMA,
    anthropic_answers,
    gemini_answers,
    ollama_answers,
)
from tests.harness.routes.openai_answers import GOOD, answers

KEY = "sk-of-the-config"
MAX_TOKENS = 50

_NAMED = {
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "groq": "groq/llama-3.3-70b-versatile",
}
"""Where LiteLLM refuses a model's name that it does not know."""
MODELS = {name: _NAMED.get(name, f"{name}/m") for name in ROUTES}
"""One of each provider."""
SPECIAL = (
    "openai/gpt-4o-mini",
    "openai/gpt-4o-mini#status=400",
    "openai/gpt-4.1",
    "openai/gpt-5",
    "openai/gpt-5-mini",
    "openai/gpt-5-chat-latest",
    "openai/gpt-5.1",
    "openai/gpt-5-pro",
    "openai/o1",
    "openai/o3-mini",
    "openai/o4-mini",
    "openai/responses/gpt-4o-mini",
    "openai/gpt-3.5-turbo-instruct",
    "openai/gpt-4o-audio-preview",
    "openai/ft:gpt-4o-mini:org::id",
    "openai/org/model",
    "anthropic/claude-sonnet-4-5",
    "anthropic/claude-opus-4-1",
    "anthropic/claude-opus-4-5",
    "anthropic/claude-haiku-4-5",
    "anthropic/claude-3-haiku-20240307",
    "anthropic/claude-3-7-sonnet-latest",
    "gemini/gemini-2.5-flash",
    "gemini/gemini-2.5-pro",
    "gemini/gemini-2.0-flash",
    "gemini/gemini-3-pro-preview",
    "gemini/gemma-3-27b-it",
    "groq/llama-3.3-70b-versatile",
    "groq/openai/gpt-oss-20b",
    "groq/meta-llama/llama-4-scout-17b-16e-instruct",
    "groq/moonshotai/kimi-k2-instruct",
    "groq/qwen/qwen3-32b",
    "mistral/mistral-small-latest",
    "mistral/magistral-medium-latest",
    "codestral/codestral-latest",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-reasoner",
    "xai/grok-3-mini",
    "xai/grok-4",
    "xai/grok-code-fast-1",
    "perplexity/sonar",
    "perplexity/sonar-reasoning-pro",
    "azure/gpt-4o-mini",
    "azure/gpt-5",
    "azure/o3-mini",
    "azure/gpt-35-turbo",
    "azure_ai/mistral-large",
    "azure_ai/claude-sonnet-4-5",
    "azure_ai/grok-3",
    "openrouter/openai/gpt-4o-mini",
    "openrouter/anthropic/claude-sonnet-4.5",
    "openrouter/google/gemini-2.5-flash",
    "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks_ai/accounts/fireworks/models/llama-v3p1-8b-instruct",
    "fireworks_ai/llama-v3p1-8b-instruct",
    "moonshot/kimi-k2-0905-preview",
    "moonshot/kimi-thinking-preview",
    "minimax/MiniMax-M2",
    "zai/glm-4.6",
    "dashscope/qwen-plus",
    "cerebras/gpt-oss-120b",
    "sambanova/DeepSeek-R1",
    "deepinfra/Qwen/Qwen3-235B-A22B",
    "hosted_vllm/openai/gpt-oss-20b",
    "ollama/llama3.2",
    "ollama_chat/gpt-oss:20b",
    "volcengine/doubao-seed-1-6",
    "nvidia_nim/meta/llama3-8b-instruct",
    "vercel_ai_gateway/openai/gpt-4o",
    "litellm_proxy/claude-sonnet-4-5",
    "perplexity/mistral-7b-instruct",
    "bedrock/anthropic.claude-v2",
    "nobody/gpt-4o-mini",
    "gibberish",
)
"""Those that LiteLLM treats in a way of their own, and some that can't be called."""

_Form = tuple[dict[str, Any], Callable[[], Iterator[tuple[str, Any]]]]
_OPENAI: _Form = (GOOD, answers)
_FORMS: Mapping[str, _Form] = {
    "anthropic": (ANTHROPIC, anthropic_answers),
    "gemini": (GEMINI, gemini_answers),
    "ollama": (OLLAMA, ollama_answers),
    "ollama_chat": (OLLAMA, ollama_answers),
}


def good_answer(model: str) -> dict[str, Any]:
    """Return a good answer in the form of the model's provider."""
    return _FORMS.get(model.partition("/")[0], _OPENAI)[0]


def answers_of(model: str) -> Iterator[tuple[str, Any]]:
    """Return all answers in the form of the model's provider, and their names."""
    yield from _FORMS.get(model.partition("/")[0], _OPENAI)[1]()


_STRICT: dict[str, Any] = {"additionalProperties": False}
SCHEMAS: tuple[dict[str, Any], ...] = (
    {
        "type": "object",
        "properties": {"intent": {"type": "string", "enum": ["card_arrival", "top_up"]}},
        "required": ["intent"],
        **_STRICT,
    },
    {
        "type": "object",
        "properties": {
            "zeta": {"type": "string", "description": "At most 80 characters. Grüße 你好"},
            "alpha": {"type": "number", "description": "0 to 1"},
            "count": {"type": "integer"},
            "yes": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b", ""]}},
            "title": {"type": "string", "description": "named as a keyword"},
        },
        "required": ["zeta", "alpha", "count", "yes", "tags", "title"],
        **_STRICT,
    },
)


@dataclass(frozen=True, slots=True)
class Form:
    """The part of a request that stays the same for an action."""

    schema: dict[str, Any] | None = None
    temperature: float | None = None
    json_object: bool = False


FORMS = tuple(
    Form(schema, temperature, json_object)
    for (schema, json_object), temperature in product(
        ((None, False), (None, True), (SCHEMAS[0], False), (SCHEMAS[1], False)),
        (None, 0, 0.7),
    )
)
ODD_FORMS = (
    Form(temperature=0.0),
    Form(temperature=1),
    Form(temperature=1.0),
    Form(temperature=2),
    Form(temperature=-1.0),
    Form(temperature=1e-7),
    Form(SCHEMAS[0], json_object=True),
    Form({}),
    Form({"type": "object"}),
    Form({"type": "object", "properties": {}, "x": "{{ messages }} \U0001f600"}),
    Form({"type": "string", "enum": ["a"]}),
)


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


MESSAGES: Mapping[str, list[Message]] = {
    "one": [_user("Where is my card?")],
    "system and user": [_system("Sort mail."), _user("Wo ist meine Karte? 你好 \u202e {{ x }}")],
    "empty user": [_system("Sort mail."), _user("")],
    "empty system": [_system(""), _user("Hello")],
    "system alone": [_system("Sort mail.")],
    "two of the user": [_system("Sort mail."), _user("One."), _user("Two.")],
    "two of the system": [_system("Sort mail."), _system("Be brief."), _user("Hello")],
    "system last": [_user("Hello"), _system("Sort mail.")],
    "an answer between": [
        _user("Hello"),
        {"role": "assistant", "content": "Hi"},
        _user("Go on"),
    ],
    "an answer last": [_user("Hello"), {"role": "assistant", "content": '{"intent":'}],
    "none": [],
    "spaces": [_user(" \n\t ")],
    "unicode": [_user("Grüße \U0001f600 \x00 \x1f \x7f \u2028 \ufeff \\u0041 \\ \" ' </s> %s {0}")],
    "half a character": [_user("half \ud83d of one")],
    "half a character in the system": [_system("half \udc00 of one"), _user("Hello")],
    "keywords": [_user('{"type": "json_object"} "model": "messages" max_tokens 50 assistant')],
    "long": [_system("s" * 9_000), _user("Where is my card? " * 3_000)],
}
LIMITS = (MAX_TOKENS, 1, 100_000, 16)


@dataclass(frozen=True, slots=True)
class Wording:
    """The part of a request that differs from call to call."""

    messages: list[Message]
    max_output_tokens: int = MAX_TOKENS


WORDINGS = {
    f"{name}, {limit} tokens": Wording(messages, limit)
    for (name, messages), limit in zip(MESSAGES.items(), cycle(LIMITS), strict=False)
}
BASES = (
    "",
    "/",
    "/v1",
    "/v1/",
    "/v1beta",
    "/v1/messages",
    "/v1/chat/completions",
    "/chat/completions",
    "/api/generate",
    "/openai/deployments/m",
    "/a%20b/ü",
    "/v1?api-version=2024-10-21",
    "/v1#x",
)
"""What may follow the host in an endpoint's address."""


def request(
    model: str,
    address: str | None,
    form: Form = Form(),
    wording: Wording = WORDINGS["one, 50 tokens"],
    key: str | None = KEY,
) -> CompletionRequest:
    """Return a request of a form, in some words."""
    return CompletionRequest(
        model,
        Endpoint("main", api_key=key, api_base=address),
        wording.messages,
        max_output_tokens=wording.max_output_tokens,
        response_schema=form.schema,
        temperature=form.temperature,
        json_object=form.json_object,
    )
