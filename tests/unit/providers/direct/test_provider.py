"""The direct route: which requests take it, and what becomes of unusual answers."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from providers.base import CompletionRequest, Endpoint, FinishReason, ModelRoute
from providers.direct import provider as provider_module
from providers.direct.provider import DirectProvider
from providers.direct.routes import route_of
from providers.direct.shapes import Recent, SchemaNames
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected
from providers.http import HttpAnswer, HttpError, Lost, NotConnected
from providers.litellm.adapter import LiteLLMProvider

GOOD: dict[str, Any] = {
    "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
VIOLATION = "Invalid prompt: it was flagged as potentially violating our usage policy."


class Http:
    """Answers with what it is told, and keeps what it was asked."""

    def __init__(self, said: Any = GOOD, status: int = 200) -> None:
        self.said: HttpAnswer | HttpError = HttpAnswer(status, (), json.dumps(said).encode())
        self.bodies: list[dict[str, Any]] = []

    async def send(
        self, method: str, url: str, headers: Any, body: bytes, **more: Any
    ) -> HttpAnswer:
        await asyncio.sleep(0)
        self.bodies.append(json.loads(body))
        if isinstance(self.said, HttpError):
            raise self.said
        return self.said


def asking(model: str = "openai/gpt-5", **more: Any) -> CompletionRequest:
    messages = [{"role": "user", "content": "Hello"}]
    return CompletionRequest(model, Endpoint("main", api_key="k"), messages, 50, **more)


def provider_over(http: Http) -> DirectProvider:
    return DirectProvider(http)  # type: ignore[arg-type] # a stand-in for our client


@pytest.fixture
def whole_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of models that were called by ``acompletion``."""
    called: list[str] = []
    complete = LiteLLMProvider.complete

    async def counted(self: LiteLLMProvider, request: CompletionRequest) -> Any:
        called.append(request.litellm_model)
        return await complete(self, request)

    monkeypatch.setattr(LiteLLMProvider, "complete", counted)
    return called


async def test_the_first_request_of_a_shape_goes_by_acompletion_the_others_directly(
    whole_calls: list[str],
) -> None:
    http = Http()
    provider = provider_over(http)
    for _ in range(3):
        assert (await provider.complete(asking())).text == "Hi"

    assert whole_calls == ["openai/gpt-5"]
    assert http.bodies == [http.bodies[0]] * 3


async def test_requests_that_come_while_one_learns_are_answered_too(
    whole_calls: list[str],
) -> None:
    http = Http()
    provider = provider_over(http)
    texts = await asyncio.gather(*(provider.complete(asking()) for _ in range(20)))

    assert [completion.text for completion in texts] == ["Hi"] * 20
    assert len(http.bodies) == 20
    await provider.complete(asking())
    assert len(whole_calls) < 21


async def test_a_learner_that_is_cancelled_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch, whole_calls: list[str]
) -> None:
    provider = provider_over(Http())
    await provider.complete(asking())
    with monkeypatch.context() as patched:
        patched.setattr(provider_module, "learn", lambda *args: asyncio.sleep(60))
        learner = asyncio.create_task(provider.complete(asking()))
        await asyncio.sleep(0.01)
        learner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await learner
    await provider.complete(asking())

    assert whole_calls == ["openai/gpt-5"]


async def test_the_route_that_the_configuration_asks_for_is_taken(
    whole_calls: list[str],
) -> None:
    provider = provider_over(Http())
    for _ in range(3):
        await provider.complete(asking("openai/gpt-4.1", route=ModelRoute.ACOMPLETION))
    assert whole_calls == ["openai/gpt-4.1"] * 3

    await provider.complete(asking("openai/gpt-4.1"))
    assert len(whole_calls) == 3


@pytest.mark.parametrize("text", ["", " \n", "\ud800"])
async def test_texts_that_litellm_has_rules_for_are_sent_by_it(
    whole_calls: list[str], text: str
) -> None:
    provider = provider_over(Http())
    messages = [{"role": "user", "content": text}]
    try:
        await provider.complete(replace(asking("openai/gpt-4.1"), messages=messages))
    except NotSent:
        assert text == "\ud800"
    assert whole_calls == ["openai/gpt-4.1"]


@pytest.mark.parametrize(
    "message, text, finish",
    [
        ({"content": [{"type": "text", "text": "Hi"}]}, "Hi", FinishReason.STOP),
        ({"content": "<think>x</think>Hi"}, "Hi", FinishReason.STOP),
        ({"content": None, "refusal": "No"}, "", FinishReason.REFUSED),
    ],
)
async def test_an_unusual_answer_is_read_by_litellm_and_asked_for_once(
    whole_calls: list[str], message: dict[str, Any], text: str, finish: FinishReason
) -> None:
    http = Http(GOOD | {"choices": [{"message": {"role": "assistant"} | message}]})
    completion = await provider_over(http).complete(asking("openai/gpt-4.1"))

    assert (completion.text, completion.finish) == (text, finish)
    assert (len(http.bodies), whole_calls) == (1, [])


@pytest.mark.parametrize(
    "status, said, error, kind, retryable",
    [
        (429, {"message": "slow"}, Rejected, FailureKind.RATE_LIMITED, True),
        (500, {}, PossiblyExecuted, FailureKind.ERROR, True),
        (400, {"code": "content_filter"}, PossiblyExecuted, FailureKind.REJECTED, False),
        (400, {"message": "our usage policy"}, Rejected, FailureKind.REJECTED, False),
        (400, {"message": VIOLATION}, PossiblyExecuted, FailureKind.REJECTED, False),
        (200, {"code": 429}, Rejected, FailureKind.RATE_LIMITED, True),
        (200, None, PossiblyExecuted, FailureKind.ERROR, False),
    ],
)
async def test_an_error_is_told_by_what_is_certain_and_nothing_is_sent_again(
    whole_calls: list[str],
    status: int,
    said: dict[str, Any] | None,
    error: type[ProviderError],
    kind: FailureKind,
    retryable: bool,
) -> None:
    http = Http({"error": said}, status)
    with pytest.raises(error) as caught:
        await provider_over(http).complete(asking("openai/gpt-4.1"))

    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
    assert (len(http.bodies), whole_calls) == (1, [])


@pytest.mark.parametrize(
    "failure, error",
    [(NotConnected("no connection"), NotSent), (Lost("it broke"), PossiblyExecuted)],
)
async def test_a_request_without_an_answer_is_told_by_whether_it_was_sent(
    failure: HttpError, error: type[Exception]
) -> None:
    http = Http()
    http.said = failure
    with pytest.raises(error, match=str(failure)):
        await provider_over(http).complete(asking("openai/gpt-4.1"))


async def test_a_model_that_is_not_equal_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="creditgate.providers")
    provider = provider_over(Http())
    model = "openai/gpt-5-codex"  # answers through the responses API
    for temperature in (None, 1.0):
        assert not await provider.learn(asking(model, temperature=temperature))

    assert len([record for record in caplog.records if model in record.getMessage()]) <= 1


def test_a_model_without_a_direct_route_says_why() -> None:
    auto = ModelRoute.AUTO
    assert route_of("openai/gpt-5", auto) == (True, "")
    assert route_of("openai/gpt-5", ModelRoute.ACOMPLETION) == (False, "configured")
    assert "ollama" in route_of("ollama/llama3", auto)[1]
    assert "custom" in route_of("custom/mine", auto)[1]
    assert "responses API" in route_of("openai/gpt-5-codex", auto, "responses")[1]


def test_law_15_the_memory_of_shapes_has_a_bound() -> None:
    recent: Recent[int, int] = Recent(3)
    for number in range(10):
        recent.put(number, number)
        recent.get(7)
    assert [number in recent for number in range(6, 10)] == [False, True, True, True]
    assert len(recent) == 3


def test_equal_schemas_have_one_name_and_others_another() -> None:
    names = SchemaNames()
    first = {"type": "object", "enum": [1, 2]}
    assert names.name(first) == names.name(dict(first)) != names.name({"type": "object"})
    assert names.name(None) is None
