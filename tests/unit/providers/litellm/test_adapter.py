"""What goes over the wire to a provider, and what is read from its answer."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import respx

from pricing.usage import TokenUsage
from providers.base import (
    MAX_ANSWER_CHARS,
    Completion,
    CompletionRequest,
    Endpoint,
    FinishReason,
    Message,
)
from providers.errors import NotSent, PossiblyExecuted, Rejected
from providers.http import MAX_ANSWER_BYTES
from providers.litellm import adapter
from providers.litellm.answers import MAX_CHOICES, MAX_VALUES_OF_CHOICES, prepared
from providers.litellm.routes import ROUTES
from tests.harness.litellm_module import is_internal_call, litellm_module
from tests.harness.routes.comparing import RouteProvider

BASE = "http://127.0.0.1:9/v1"
MESSAGES: list[Message] = [
    {"role": "system", "content": "Sort mail."},
    {"role": "user", "content": "Wo ist meine Karte? 你好 \u202e {{ x }}"},
]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["card_arrival", "top_up"]},
        "urgency": {"type": "number", "description": "0 to 1"},
    },
    "required": ["intent", "urgency"],
    "additionalProperties": False,
}
RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
}
USAGE = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
KEY = "sk-of-the-endpoint"
SECRET = "sk-of-the-environment"


def request(
    model: str = "openai/gpt-4o-mini",
    *,
    schema: dict[str, Any] | None = None,
    temperature: float | None = None,
    key: str | None = KEY,
    base: str | None = BASE,
) -> CompletionRequest:
    return CompletionRequest(
        litellm_model=model,
        endpoint=Endpoint("main", api_key=key, api_base=base),
        messages=MESSAGES,
        max_output_tokens=50,
        response_schema=schema,
        temperature=temperature,
    )


def answer(
    content: str | None = "Hello",
    *,
    finish: str = "stop",
    usage: dict[str, Any] | None = USAGE,
    **message: Any,
) -> httpx.Response:
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content} | message,
            }
        ],
    }
    return httpx.Response(200, json=body if usage is None else body | {"usage": usage})


def sent(wire: respx.MockRouter) -> httpx.Request:
    """Return the request that was sent; there was exactly one."""
    assert len(wire.calls) == 1
    call: httpx.Request = wire.calls[0].request
    return call


@pytest.fixture
def chat(wire: respx.MockRouter) -> respx.Route:
    """The chat completions of the endpoint."""
    return wire.post(f"{BASE}/chat/completions").mock(return_value=answer())


# What is sent


async def test_law_16_a_call_is_one_request_with_just_what_was_asked(
    provider: RouteProvider, wire: respx.MockRouter, chat: respx.Route
) -> None:
    completion = await provider.complete(request())

    assert completion == Completion("Hello", FinishReason.STOP, TokenUsage(30, 7))
    assert sent(wire).method == "POST"
    assert sent(wire).url == f"{BASE}/chat/completions"
    assert sent(wire).headers["authorization"] == f"Bearer {KEY}"
    assert sent(wire).headers["content-type"] == "application/json"
    assert json.loads(sent(wire).content) == {
        "model": "gpt-4o-mini",
        "messages": MESSAGES,
        "max_tokens": 50,
    }


async def test_schema_and_temperature_go_along_when_given(
    provider: RouteProvider, wire: respx.MockRouter, chat: respx.Route
) -> None:
    await provider.complete(request(schema=SCHEMA, temperature=0.2))

    assert json.loads(sent(wire).content) == {
        "model": "gpt-4o-mini",
        "messages": MESSAGES,
        "max_tokens": 50,
        "temperature": 0.2,
        "response_format": RESPONSE_FORMAT,
    }


@pytest.mark.parametrize("model", ["gpt-5-mini", "o3", "o4-mini"])
async def test_reasoning_models_get_their_limit_by_the_name_that_they_know(
    provider: RouteProvider, wire: respx.MockRouter, chat: respx.Route, model: str
) -> None:
    await provider.complete(request(f"openai/{model}"))

    body = json.loads(sent(wire).content)
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5-mini", "o3", "gpt-4.1", "my-own-model"])
async def test_the_short_way_for_schemas_sends_what_the_long_way_sends(
    provider: RouteProvider,
    wire: respx.MockRouter,
    hosts_wire: respx.MockRouter,
    chat: respx.Route,
    model: str,
) -> None:
    hosts_wire.route().mock(return_value=answer())
    await provider.complete(request(f"openai/{model}", schema=SCHEMA))
    await litellm_module().acompletion(
        model=f"openai/{model}",
        messages=MESSAGES,
        max_tokens=50,
        response_format=RESPONSE_FORMAT,
        api_key=KEY,
        api_base=BASE,
        num_retries=0,
        max_retries=0,
        timeout=5,
    )

    ours, theirs = sent(wire), sent(hosts_wire)
    assert ours.url == theirs.url
    assert json.loads(ours.content) == json.loads(theirs.content)
    assert ours.headers["authorization"] == theirs.headers["authorization"]


async def test_a_model_behind_another_api_does_not_take_the_short_way(
    provider: RouteProvider,
) -> None:
    await provider.warm_up()

    assert adapter._is_bridged("openai/responses/gpt-4o-mini")
    assert adapter._is_bridged("openai/gpt-5-pro")
    assert not adapter._is_bridged("openai/gpt-4o-mini")
    assert not adapter._is_bridged("mistral/mistral-small-latest")


WIRES = {
    "openai/gpt-4o-mini": ("OPENAI_API_KEY", BASE),
    "anthropic/claude-sonnet-4-5": ("ANTHROPIC_API_KEY", f"{BASE}/messages"),
    "gemini/gemini-2.5-flash": ("GEMINI_API_KEY", BASE),
    "groq/llama-3.3-70b-versatile": ("GROQ_API_KEY", BASE),
    "mistral/mistral-small-latest": ("MISTRAL_API_KEY", BASE),
    "deepseek/deepseek-chat": ("DEEPSEEK_API_KEY", BASE),
    "xai/grok-3-mini": ("XAI_API_KEY", BASE),
    "azure/gpt-4o-mini": ("AZURE_API_KEY", BASE),
    "hosted_vllm/m": ("HOSTED_VLLM_API_KEY", BASE),
    "openrouter/openai/gpt-4o-mini": ("OPENROUTER_API_KEY", BASE),
}


@pytest.mark.parametrize("model", WIRES)
async def test_law_16_a_key_in_the_environment_never_leaves_with_a_request_of_ours(
    provider: RouteProvider,
    wire: respx.MockRouter,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
) -> None:
    name, base = WIRES[model]
    for variable in (name, "OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(variable, SECRET)
    wire.route().mock(return_value=httpx.Response(400, json={}))

    with pytest.raises(Exception, match="status 400"):
        await provider.complete(request(model, key=None, base=base))

    whole = f"{sent(wire).url} {sent(wire).headers.multi_items()} {sent(wire).content!r}"
    assert SECRET not in whole


async def test_law_16_without_a_key_the_provider_is_told_so(
    provider: RouteProvider, wire: respx.MockRouter, chat: respx.Route
) -> None:
    await provider.complete(request(key=None))

    assert sent(wire).headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.address])
async def test_law_16_without_an_address_a_provider_is_where_litellm_has_it(
    provider: RouteProvider,
    wire: respx.MockRouter,
    hosts_wire: respx.MockRouter,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    model = {
        "anthropic": "anthropic/claude-sonnet-4-5",
        "gemini": "gemini/gemini-2.5-flash",
        "groq": "groq/llama-3.3-70b-versatile",
    }.get(name, f"{name}/m")
    refused = httpx.Response(400, json={})
    wire.route().mock(return_value=refused)
    hosts_wire.route().mock(return_value=refused)
    with pytest.raises(litellm_module().BadRequestError):
        await litellm_module().acompletion(
            model=model,
            messages=MESSAGES,
            max_tokens=50,
            api_key=KEY,
            num_retries=0,
            max_retries=0,
            timeout=5,
        )
    for variable in (f"{name.upper()}_BASE_URL", f"{name.upper()}_API_BASE"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1/elsewhere")

    with pytest.raises(Rejected, match="status 400"):
        await provider.complete(request(model, base=None))

    litellms, ours = sent(hosts_wire), sent(wire)
    assert ours.url == litellms.url
    assert ours.url.host != "127.0.0.1"
    assert json.loads(ours.content) == json.loads(litellms.content)
    keys = ("authorization", "x-api-key", "x-goog-api-key")
    assert [ours.headers.get(key) for key in keys] == [litellms.headers.get(key) for key in keys]


@pytest.mark.parametrize("model", WIRES)
async def test_a_request_can_be_sent_again_as_it_was(
    provider: RouteProvider, wire: respx.MockRouter, model: str
) -> None:
    wire.route().mock(return_value=httpx.Response(500, json={}))
    asked = request(model, schema=copy.deepcopy(SCHEMA), base=WIRES[model][1])
    before = copy.deepcopy(asked)

    bodies = []
    for _ in range(2):
        with pytest.raises(Exception, match="status 500"):
            await provider.complete(asked)
        bodies.append(json.loads(wire.calls.last.request.content))

    assert asked == before
    assert bodies[0] == bodies[1]


# What is read


@pytest.mark.parametrize(
    "finish, expected",
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.REFUSED),
        ("max_tokens", FinishReason.LENGTH),
        ("SAFETY", FinishReason.REFUSED),
        ("eos", FinishReason.STOP),
    ],
)
async def test_why_the_model_stopped(
    provider: RouteProvider, chat: respx.Route, finish: str, expected: FinishReason
) -> None:
    chat.mock(return_value=answer("Hel", finish=finish))

    completion = await provider.complete(request())

    assert (completion.text, completion.finish) == ("Hel", expected)
    assert completion.usage == TokenUsage(30, 7)


async def test_a_refusal_is_one_though_the_model_stopped_by_itself(
    provider: RouteProvider, chat: respx.Route
) -> None:
    chat.mock(return_value=answer(None, refusal="I can't help with that."))

    completion = await provider.complete(request(schema=SCHEMA))

    assert completion == Completion("", FinishReason.REFUSED, TokenUsage(30, 7))


async def test_a_forced_tool_call_is_an_answer(provider: RouteProvider, chat: respx.Route) -> None:
    function = {"name": "answer", "arguments": '{"intent":"top_up"}'}
    calls = [{"id": "1", "type": "function", "function": function}]
    chat.mock(return_value=answer(None, finish="tool_calls", tool_calls=calls))

    completion = await provider.complete(request())

    assert (completion.text, completion.finish) == ('{"intent":"top_up"}', FinishReason.STOP)


def test_an_answer_in_parts_is_one_text_without_its_thoughts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": '{"intent":"buy"}'}]}
    parts = [thinking, *({"type": "text", "text": text} for text in ('{"intent":', '"leave"}'))]
    body = {"choices": [{"message": {"role": "assistant", "content": parts}}]}

    whole = json.loads(prepared(json.dumps(body).encode()))

    assert whole["choices"][0]["message"]["content"] == '{"intent":"leave"}'


@pytest.mark.parametrize(
    "body",
    [b'{"content": [1]}', b'{"choices": 7}', b'{"choices": [7]}', b'{"choices": [{"message": 7}]}'],
)
def test_an_answer_in_another_form_is_left_as_it_is(body: bytes) -> None:
    assert prepared(body) == body


@pytest.mark.parametrize("content", [None, "", " \n"])
async def test_an_answer_that_a_server_took_for_thoughts_is_one(
    provider: RouteProvider, chat: respx.Route, content: str | None
) -> None:
    chat.mock(return_value=answer(content, reasoning_content=' {"intent":"leave"}\n'))

    completion = await provider.complete(request())

    assert completion.text.strip() == '{"intent":"leave"}'
    assert not completion.after_thoughts


@pytest.mark.parametrize(
    "thoughts, finish",
    [
        ('They wrote {"intent":"buy"}', "stop"),
        ('{"intent":"buy"} or {"intent":"leave"}', "stop"),
        ('["buy"]', "stop"),
        ('{"intent":"buy"}', "length"),
        ("", "stop"),
    ],
)
async def test_law_14_thoughts_are_no_answer(
    provider: RouteProvider, chat: respx.Route, thoughts: str, finish: str
) -> None:
    chat.mock(return_value=answer(None, finish=finish, reasoning_content=thoughts))

    assert (await provider.complete(request())).text == ""


@pytest.mark.parametrize(
    "content, fields",
    [
        ('{"intent":"buy"}', {"reasoning_content": "They wrote:"}),
        ('<think>They wrote:</think>{"intent":"buy"}', {}),
    ],
    ids=["the server", "LiteLLM"],
)
async def test_law_14_what_follows_thoughts_that_were_taken_off_is_known_to(
    provider: RouteProvider, chat: respx.Route, content: str, fields: dict[str, Any]
) -> None:
    chat.mock(return_value=answer(content, **fields))

    completion = await provider.complete(request())

    assert (completion.text, completion.after_thoughts) == ('{"intent":"buy"}', True)


async def test_an_answer_that_is_longer_than_what_is_read_is_cut_and_billed(
    provider: RouteProvider, chat: respx.Route
) -> None:
    chat.mock(return_value=answer("x" * 300_000))

    completion = await provider.complete(request())

    assert len(completion.text) == MAX_ANSWER_CHARS + 1
    assert completion.usage == TokenUsage(30, 7)


ANTHROPIC_ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "tool_use", "id": "t", "name": "json_tool_call", "input": {}}],
    "stop_reason": "max_tokens",
    "usage": {"input_tokens": 30, "output_tokens": 50},
}


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:9", "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1/messages"]
)
async def test_anthropic_is_found_at_its_address_with_and_without_the_version(
    provider: RouteProvider, wire: respx.MockRouter, base: str
) -> None:
    wire.post("http://127.0.0.1:9/v1/messages").mock(
        return_value=httpx.Response(200, json=ANTHROPIC_ANSWER)
    )

    await provider.complete(request("anthropic/claude-sonnet-4-5", base=base))

    assert sent(wire).headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    "output_tokens, expected", [(49, FinishReason.STOP), (50, FinishReason.LENGTH)]
)
async def test_a_forced_tool_call_that_was_cut_off_is_known_by_its_length(
    provider: RouteProvider, wire: respx.MockRouter, output_tokens: int, expected: FinishReason
) -> None:
    usage = {"input_tokens": 30, "output_tokens": output_tokens}
    wire.post(f"{BASE}/messages").mock(
        return_value=httpx.Response(200, json=ANTHROPIC_ANSWER | {"usage": usage})
    )

    completion = await provider.complete(
        request("anthropic/claude-3-haiku-20240307", schema=SCHEMA)
    )

    assert completion == Completion("{}", expected, TokenUsage(30, output_tokens))


async def test_a_thinking_model_can_say_nothing_and_is_billed_all_the_same(
    provider: RouteProvider, chat: respx.Route
) -> None:
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 50,
        "total_tokens": 80,
        "completion_tokens_details": {"reasoning_tokens": 50},
    }
    chat.mock(return_value=answer("", finish="length", usage=usage))

    completion = await provider.complete(request())

    assert completion == Completion(
        "", FinishReason.LENGTH, TokenUsage(30, 50, reasoning_tokens=50)
    )


@pytest.mark.parametrize(
    "usage, expected",
    [
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "total_tokens": 140,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            TokenUsage(100, 40, 60, 10, 30),
            id="every class",
        ),
        pytest.param(
            USAGE | {"prompt_cache_hit_tokens": 20},
            TokenUsage(30, 7, cached_input_tokens=20),
            id="DeepSeek's cache",
        ),
        pytest.param(
            {
                "prompt_tokens": 30,
                "completion_tokens": 7,
                "total_tokens": 337,
                "completion_tokens_details": {"reasoning_tokens": 300},
            },
            TokenUsage(30, 307, reasoning_tokens=300),
            id="xAI's reasoning, in the total alone",
        ),
        pytest.param(
            {
                "prompt_tokens": 30,
                "completion_tokens": 7,
                "completion_tokens_details": {"reasoning_tokens": 300},
            },
            TokenUsage(30, 307, reasoning_tokens=300),
            id="more reasoning than output",
        ),
        pytest.param(
            {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 5},
            TokenUsage(30, 7),
            id="a total below its parts",
        ),
        pytest.param(
            USAGE | {"prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 10}},
            TokenUsage(130, 7, 90, 10),
            id="cached tokens beside the prompt",
        ),
        pytest.param(
            USAGE | {"prompt_tokens_details": {"cached_tokens": None}},
            TokenUsage(30, 7),
            id="details without a number",
        ),
        pytest.param(None, None, id="missing"),
        pytest.param({}, None, id="empty"),
        pytest.param(
            {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, None, id="zeros"
        ),
        pytest.param({"completion_tokens": 7, "total_tokens": 7}, None, id="no prompt"),
        pytest.param({"prompt_tokens": 30, "total_tokens": 30}, None, id="no output for a text"),
    ],
)
async def test_usage_is_read_in_every_class_or_is_unknown(
    provider: RouteProvider,
    chat: respx.Route,
    usage: dict[str, Any] | None,
    expected: TokenUsage | None,
) -> None:
    chat.mock(return_value=answer(usage=usage))

    assert (await provider.complete(request())).usage == expected


async def test_an_answer_without_text_may_have_used_no_output(
    provider: RouteProvider, chat: respx.Route
) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 0, "total_tokens": 30}
    chat.mock(return_value=answer("", finish="content_filter", usage=usage))

    assert (await provider.complete(request())).usage == TokenUsage(30, 0)


# What is kept away


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


async def test_prompts_keys_and_answers_stay_out_of_logs_of_every_level(
    provider: RouteProvider, chat: respx.Route, everything_logged: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("tests").debug("logs are heard")
    await provider.complete(request(schema=SCHEMA))
    chat.mock(return_value=httpx.Response(500, json={"error": {"message": f"{KEY} {MESSAGES}"}}))
    with pytest.raises(Exception, match="status 500"):
        await provider.complete(request(schema=SCHEMA))

    assert "logs are heard" in everything_logged.text
    for secret in (KEY, "Sort mail", "Karte", "Hello", "card_arrival"):
        assert secret not in everything_logged.text


async def test_callbacks_of_the_process_are_not_handed_the_answer(
    provider: RouteProvider, chat: respx.Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litellm.integrations.custom_logger import CustomLogger

    heard: list[str] = []

    class Listener(CustomLogger):  # type: ignore[misc]  # LiteLLM is untyped here
        async def async_log_success_event(self, *args: Any) -> None:
            heard.append("success")

        async def async_log_failure_event(self, *args: Any) -> None:
            heard.append("failure")

    monkeypatch.setattr(litellm_module(), "callbacks", [Listener()])
    monkeypatch.setattr(
        litellm_module(), "success_callback", [lambda *args: heard.append("synchronous success")]
    )
    await provider.complete(request())
    chat.mock(return_value=httpx.Response(500, json={}))
    with pytest.raises(Exception, match="status 500"):
        await provider.complete(request())
    await asyncio.sleep(0.05)

    assert heard == []


async def test_a_call_leaves_the_hosts_own_calls_as_they_were(
    provider: RouteProvider, chat: respx.Route
) -> None:
    await provider.complete(request())
    assert not is_internal_call()

    chat.mock(return_value=httpx.Response(500, json={}))
    with pytest.raises(Exception, match="status 500"):
        await provider.complete(request())
    assert not is_internal_call()


async def ask_without_the_adapter(model: str) -> Any:
    return await litellm_module().acompletion(
        model=model, messages=MESSAGES, api_key=KEY, api_base=BASE, num_retries=0, max_retries=0
    )


async def test_litellm_still_prices_the_hosts_own_calls(hosts_wire: respx.MockRouter) -> None:
    hosts_wire.route().mock(return_value=answer())

    response = await ask_without_the_adapter("openai/gpt-4o-mini")

    # LiteLLM documents the cost of an answer under this name.
    assert response._hidden_params["response_cost"] > 0


async def test_litellm_still_sends_the_hosts_own_calls_anew(hosts_wire: respx.MockRouter) -> None:
    hosts_wire.route().mock(side_effect=[httpx.RemoteProtocolError("gone"), answer()])

    await ask_without_the_adapter("mistral/mistral-small-latest")

    assert len(hosts_wire.calls) == 2


async def test_the_environment_still_counts_for_the_hosts_own_calls(
    hosts_wire: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", SECRET)
    hosts_wire.route().mock(return_value=answer())

    await litellm_module().acompletion(model="mistral/mistral-small-latest", messages=MESSAGES)

    assert SECRET in sent(hosts_wire).headers["authorization"]


# What is not sent at all


@pytest.mark.parametrize(
    "model, base",
    [("bedrock/anthropic.claude-v2", BASE), ("hosted_vllm/m", None), ("azure/m", None)],
)
async def test_law_16_a_provider_without_a_client_of_ours_or_an_address_is_not_called(
    provider: RouteProvider,
    wire: respx.MockRouter,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    base: str | None,
) -> None:
    for variable in ("HOSTED_VLLM_API_BASE", "AZURE_API_BASE"):
        monkeypatch.setenv(variable, BASE)

    with pytest.raises(NotSent, match=model.partition("/")[0]):
        await provider.complete(request(model, base=base))

    assert not wire.calls


@pytest.mark.parametrize(
    "model, temperature",
    [("nobody/gpt-4o-mini", None), ("gibberish", None), ("openai/gpt-5-mini", 0.3)],
    ids=["unknown provider", "no provider", "a temperature that the model does not take"],
)
async def test_law_16_what_litellm_refuses_is_never_sent(
    provider: RouteProvider, wire: respx.MockRouter, model: str, temperature: float | None
) -> None:
    with pytest.raises(NotSent) as caught:
        await provider.complete(request(model, temperature=temperature))

    assert not wire.calls
    assert not caught.value.retryable


@pytest.mark.parametrize("provider", ["acompletion"], indirect=True)
async def test_a_budget_of_litellms_own_stops_a_call_before_it_is_sent(
    provider: RouteProvider, wire: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm_module(), "max_budget", 1.0)
    monkeypatch.setattr(litellm_module(), "_current_cost", 2.0)

    with pytest.raises(NotSent):
        await provider.complete(request())
    assert not wire.calls


async def test_text_that_can_not_be_encoded_is_never_sent(
    provider: RouteProvider, wire: respx.MockRouter
) -> None:
    lone: list[Message] = [{"role": "user", "content": "half a character: \ud83d"}]

    with pytest.raises(NotSent):
        await provider.complete(
            CompletionRequest("openai/m", Endpoint("main", KEY, BASE), lone, max_output_tokens=9)
        )
    assert not wire.calls


# What an answer costs


def broken(part: str, values: int) -> dict[str, Any]:
    """Return an answer with as many values of a wrong type as fit."""
    message = {"role": "assistant", "content": "Hi", part: [{"a": 1}] * (values // 2 - 12)}
    return {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


COSTLY: dict[str, dict[str, Any]] = {
    "text": broken("x", 24) | {"id": "x" * (MAX_ANSWER_BYTES - 1_000)},
    "quotes": broken("x", 24) | {"id": '"' * (MAX_ANSWER_BYTES // 2 - 1_000)},
    "choices": {"choices": broken("x", 24)["choices"] * MAX_CHOICES},
    "annotations": broken("annotations", MAX_VALUES_OF_CHOICES),
    "tool calls": broken("tool_calls", MAX_VALUES_OF_CHOICES),
    "images": broken("images", MAX_VALUES_OF_CHOICES),
    "content": broken("content", MAX_VALUES_OF_CHOICES),
    "blocks": ANTHROPIC_ANSWER | {"content": [{"type": "text", "text": "Hi"}] * 600},
    "unknown blocks": ANTHROPIC_ANSWER | {"content": [{"a": 1}] * 900},
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY)
@pytest.mark.parametrize("name", ["openai", "mistral", "anthropic"])
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic.main")
async def test_law_15_an_answer_at_its_bounds_does_not_hold_the_event_loop(
    provider: RouteProvider, wire: respx.MockRouter, name: str, body: dict[str, Any]
) -> None:
    wire.route().mock(return_value=httpx.Response(200, json=body))
    model = "anthropic/claude-sonnet-4-5" if name == "anthropic" else f"{name}/m"

    async def call_s() -> float:
        start_s = time.thread_time()
        with suppress(PossiblyExecuted):
            await provider.complete(request(model))
        return time.thread_time() - start_s

    await call_s()
    # What else the machine does only adds to it.
    assert min([await call_s() for _ in range(7)]) < 0.05
