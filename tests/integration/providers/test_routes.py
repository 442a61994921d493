"""Each provider that can be called, in an environment that would have all of it otherwise."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from providers.base import CompletionRequest, Endpoint, FinishReason
from providers.errors import NotSent, PossiblyExecuted, ProviderError, Rejected
from providers.litellm.routes import ROUTES, WITHOUT_JSON_OBJECT
from tests.harness.paths import ROOT
from tests.harness.raw_http import answering, response
from tests.harness.routes.comparing import ROUTES as WAYS
from tests.harness.routes.comparing import RouteProvider

pytestmark = pytest.mark.filterwarnings(
    # LiteLLM's, as it loads what it has for Ollama.
    r"ignore:Items? .+ on TypedDict class '_Ollama:UserWarning"
)

KEY = "sk-of-the-config"
TRAP_KEY = "sk-of-the-environment"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
MODELS = {
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "groq": "groq/llama-3.3-70b-versatile",
}
"""Where LiteLLM refuses a model's name that it does not know."""
ALLOWED_HEADERS = {
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "content-type",
    "content-length",
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "anthropic-version",
}

# One answer that every provider's format finds its own in.
ANSWER: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "service_tier": "on_demand",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": USAGE | {"input_tokens": 3, "output_tokens": 2},
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "message": {"role": "assistant", "content": "Hi"},
    "response": "Hi",
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 3,
    "eval_count": 2,
}
GEMINI_ANSWER = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    ],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
}


def body_of(provider: str) -> bytes:
    return json.dumps(GEMINI_ANSWER if provider == "gemini" else ANSWER).encode()


def to(provider: str, url: str, **endpoint: Any) -> CompletionRequest:
    return CompletionRequest(
        MODELS.get(provider, f"{provider}/m"),
        Endpoint("main", api_key=KEY, api_base=url, **endpoint),
        [{"role": "user", "content": "Hello"}],
        max_output_tokens=20,
    )


def hostile_environment(trap: str) -> dict[str, str]:
    """Return an environment that points to a trap in every way that is known."""
    names = {provider.upper() for provider in ROUTES} | {"OPENAI", "AZURE_OPENAI", "GOOGLE"}
    names |= {"LITELLM", "TOGETHERAI", "TOGETHER", "PERPLEXITYAI", "HOSTED_VLLM", "GEMINI"}
    found = {f"{name}_{kind}": TRAP_KEY for name in names for kind in ("API_KEY", "TOKEN")}
    found |= {
        f"{name}_{kind}": trap
        for name in names
        for kind in ("API_BASE", "BASE_URL", "API_URL", "ENDPOINT", "PROXY_API_BASE")
    }
    found |= dict.fromkeys(
        ("OPENAI_ADMIN_KEY", "ANTHROPIC_AUTH_TOKEN", "AZURE_AD_TOKEN", "AZURE_OPENAI_AD_TOKEN"),
        TRAP_KEY,
    )
    found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), trap)
    found |= dict.fromkeys(("https_proxy", "all_proxy"), trap)
    return found | {
        "NO_PROXY": "",
        "no_proxy": "",
        "OPENAI_ORGANIZATION": "org-trap",
        "OPENAI_ORG_ID": "org-trap",
        "OPENAI_PROJECT_ID": "project-trap",
        "OPENAI_CUSTOM_HEADERS": f"Authorization: {TRAP_KEY}\napi-key: {TRAP_KEY}\nX-Trap: 1",
        "OPENAI_LOG": "debug",
        "LITELLM_LOG": "DEBUG",
        "LITELLM_USER_AGENT": "trap",
        "OR_SITE_URL": "http://trap",
        "OR_APP_NAME": "trap",
        "USE_LITELLM_PROXY": "True",
        "EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER": "True",
        "LITELLM_ANTHROPIC_DISABLE_URL_SUFFIX": "True",
        "AZURE_API_VERSION": "trap",
        "OPENAI_API_VERSION": "trap",
        "OPENAI_API_TYPE": "azure",
        "AZURE_API_TYPE": "trap",
        "SSL_VERIFY": "False",
        "SSL_CERT_FILE": "/no/such/file",
        "AIOHTTP_TRUST_ENV": "True",
        "DISABLE_AIOHTTP_TRANSPORT": "True",
    }


SCRIPT = """
import asyncio, sys
from tests.harness import network_guard
network_guard.install()
from tests.harness.routes.comparing import ROUTES
from tests.integration.providers.test_routes import call_all
for route in ROUTES.values():
    asyncio.run(call_all(route(), sys.argv[1:]))
"""


async def call_all(provider: RouteProvider, addresses: list[str]) -> None:
    """Call each provider at its address, and write what came of it. Run in its own process."""
    await provider.warm_up()
    for name, address in zip(ROUTES, addresses, strict=True):
        try:
            came = (await provider.complete(to(name, address))).text
        except ProviderError as error:
            came = repr(error)
        sys.stdout.write(f"{name} {came}\n")
    await provider.aclose()


@pytest.mark.long
async def test_law_16_nothing_of_a_hostile_environment_counts_for_any_provider(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        trap = await stack.enter_async_context(answering(response(json.dumps(ANSWER).encode())))
        servers = {
            name: await stack.enter_async_context(answering(response(body_of(name))))
            for name in ROUTES
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SCRIPT,
            *(server.url for server in servers.values()),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | hostile_environment(trap.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 110)

    came = [f"{name} Hi" for name in ROUTES]
    assert (out.decode().splitlines(), err.decode()) == (came * len(WAYS), "")
    assert trap.requests == []
    for name, server in servers.items():
        assert len(server.requests) == len(WAYS)
        for line, headers, body in server.requests:
            whole = f"{line} {headers} {body!r}"
            assert KEY in whole, name
            assert TRAP_KEY not in whole, name
            assert "trap" not in whole.lower(), name
            assert headers.keys() <= ALLOWED_HEADERS, name


@pytest.fixture(params=["acompletion", pytest.param("direct", marks=pytest.mark.long)])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[RouteProvider]:
    provider = WAYS[request.param]()
    await provider.warm_up()
    yield provider
    await provider.aclose()


@pytest.mark.parametrize("name", ROUTES)
async def test_law_16_each_provider_is_called_once_and_not_where_it_redirects_to(
    provider: RouteProvider, name: str
) -> None:
    async with answering(response(body_of(name))) as elsewhere:
        location = b"Location: " + elsewhere.url.encode()
        moved = response(b"", location, status=b"307 X")
        async with answering(moved) as server:
            with pytest.raises(Rejected) as caught:
                await provider.complete(to(name, server.url))

    assert caught.value.status == 307
    assert not caught.value.retryable
    assert (len(server.requests), elsewhere.requests) == (1, [])


@pytest.mark.parametrize("name", ROUTES)
async def test_a_json_object_is_asked_for_unless_the_config_refuses_it_for_the_provider(
    provider: RouteProvider, name: str
) -> None:
    async with answering(response(body_of(name))) as server:
        with suppress(NotSent):
            await provider.complete(replace(to(name, server.url), json_object=True))

    asked = any(
        json.loads(body).get("response_format") == {"type": "json_object"}
        or json.loads(body).get("format") == "json"
        or b"application/json" in body
        for _, _, body in server.requests
    )
    assert asked == (name not in WITHOUT_JSON_OBJECT)


@pytest.mark.parametrize("name", ROUTES)
async def test_a_byte_beyond_ascii_in_a_header_spoils_no_answer(
    provider: RouteProvider, name: str
) -> None:
    async with answering(response(body_of(name), b"X-Region: Z\xfcrich")) as server:
        completion = await provider.complete(to(name, server.url))

    assert (completion.text, completion.finish) == ("Hi", FinishReason.STOP)
    assert completion.usage is not None
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ROUTES)
async def test_a_byte_beyond_ascii_in_a_header_of_an_error_changes_nothing(
    provider: RouteProvider, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = AsyncMock()
    monkeypatch.setattr("anyio.sleep", waits)  # how OpenAI's SDK waits before a retry
    answer = response(b'{"error": {}}', b"X-Region: Z\xfcrich", status=b"429 X")
    async with answering(answer) as server:
        with pytest.raises(Rejected) as caught:
            await provider.complete(to(name, server.url))

    assert (caught.value.status, caught.value.retryable) == (429, True)
    assert len(server.requests) == 1
    assert not waits.called


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "mistral", "azure"])
async def test_what_litellm_sends_through_another_client_is_never_sent(
    provider: RouteProvider, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from providers.litellm.clients import Clients

    monkeypatch.setattr(Clients, "get", lambda *args: None)
    async with answering(response(body_of(name))) as server:
        with pytest.raises(NotSent):
            await provider.complete(to(name, server.url))

    assert server.requests == []


@pytest.mark.parametrize("name", ["openai", "anthropic", "mistral"])
async def test_an_endpoint_is_called_through_its_proxy(provider: RouteProvider, name: str) -> None:
    async with answering(response(body_of(name))) as proxy:
        completion = await provider.complete(to(name, "http://127.0.0.1:9", proxy=proxy.url))

    assert completion.text == "Hi"
    assert proxy.requests[0][0].startswith("POST http://127.0.0.1:9/")


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "mistral"])
async def test_law_15_an_answer_packed_many_times_is_lost(
    provider: RouteProvider, name: str
) -> None:
    answer = response(body_of(name), b"Content-Encoding: gzip, gzip, gzip")
    async with answering(answer) as server:
        with pytest.raises(PossiblyExecuted) as caught:
            await provider.complete(to(name, server.url))

    assert not caught.value.retryable
    assert len(server.requests) == 1
