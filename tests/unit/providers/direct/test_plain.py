"""Requests that are known without LiteLLM are those that LiteLLM makes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from providers.base import CompletionRequest, Endpoint
from providers.direct.learned import learn
from providers.direct.plain import PROVED_WITH, plain
from providers.litellm.adapter import LiteLLMProvider
from tests.harness.litellm_module import litellm_module
from tests.harness.paths import ROOT

MODELS = [
    f"openai/{name}"
    for name in (
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-4.1-nano-2025-04-14",
        "gpt-4.1-2025-04-14",
    )
]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"größe": {"type": "string", "enum": ["S", "M", "<L>"]}},
    "required": ["größe"],
    "additionalProperties": False,
}
FORMS: list[dict[str, Any]] = [
    {},
    {"response_schema": SCHEMA},
    {"json_object": True},
    {"temperature": 0.0},
    {"temperature": 1, "response_schema": SCHEMA},
]
ADDRESSES = [None, "http://h.test/v1", "https://h.test:8443/", "http://127.0.0.1:1/a/b-c/v1/"]
ROLES = [("user",), ("system", "user"), ("system", "user", "user")]


def asking(model: str, **more: Any) -> CompletionRequest:
    endpoint = Endpoint("main", api_key="sk-abc_1.2", api_base=None)
    return CompletionRequest(model, endpoint, [{"role": "user", "content": "x"}], 50, **more)


@pytest.fixture(scope="module")
def litellm() -> LiteLLMProvider:
    return LiteLLMProvider()


async def test_the_installed_litellm_is_the_proved_one(litellm: LiteLLMProvider) -> None:
    await litellm.warm_up()
    assert litellm_module().__name__ == "litellm"
    assert plain(asking(MODELS[0])) is not None, f"prove it anew: PROVED_WITH = {PROVED_WITH!r}"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", FORMS)
async def test_a_plain_request_is_the_one_that_litellm_makes(
    litellm: LiteLLMProvider, model: str, form: dict[str, Any]
) -> None:
    request = asking(model, **form)
    for place, roles in enumerate(ROLES):
        messages = [{"role": role, "content": f"Zoë {number}"} for number, role in enumerate(roles)]
        address = ADDRESSES[(place + MODELS.index(model)) % len(ADDRESSES)]
        endpoint = replace(request.endpoint, api_base=address)
        asked = replace(request, messages=messages, endpoint=endpoint)
        known, learned = plain(asked), await learn(litellm, asked)

        assert known is not None
        assert (known.url, set(known.headers)) == (learned.url, set(learned.headers))
        assert json.loads(known.body(asked) or b"") == json.loads(learned.body(asked) or b"")


@pytest.mark.parametrize(
    "request_",
    [
        asking("openai/gpt-5"),
        asking("openai/o3-mini"),
        asking("openai/gpt-4o-audio-preview"),
        asking("openai/gpt-4o-mini#hang"),
        asking("groq/gpt-4o"),
        replace(asking(MODELS[0]), endpoint=Endpoint("e", api_key="schlüssel")),
        replace(asking(MODELS[0]), endpoint=Endpoint("e", api_base="http://h.test/v1?a=b")),
        replace(asking(MODELS[0]), endpoint=Endpoint("e", api_base="http://H.test/ü")),
    ],
)
def test_whatever_is_not_known_to_be_plain_is_learned(request_: CompletionRequest) -> None:
    assert plain(request_) is None


SCRIPT = """
import asyncio, json, sys
from providers.base import *
from providers.direct.provider import DirectProvider
from providers.http import HttpAnswer

class Http:
    answer = {"choices": [{"message": {"role": "assistant", "content": "Hi"},
                           "finish_reason": "stop"}],
              "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    async def send(self, *args, **kwargs):
        return HttpAnswer(200, (), json.dumps(self.answer).encode())

async def main():
    provider = DirectProvider(Http())
    request = CompletionRequest("openai/gpt-4.1", Endpoint("e", api_key="k"),
                                [{"role": "user", "content": "x"}], 50)
    await provider.warm_up([request])
    print((await provider.complete(request)).text, "litellm" in sys.modules)

asyncio.run(main())
"""


def test_a_plain_request_is_answered_without_litellm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["Hi", "False"]
