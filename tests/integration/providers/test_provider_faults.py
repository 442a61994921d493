"""Providers that fail in every way that providers fail in, over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, Endpoint, FinishReason
from providers.errors import (
    FailureKind,
    NotSent,
    PossiblyExecuted,
    ProviderError,
    Refusal,
    Rejected,
)
from providers.mock.server import MockOptions, MockServer, start
from providers.pacing.deadline import Deadline
from providers.pacing.queue import EndpointLimit, EndpointQueues
from providers.pacing.retry import RetriedCall
from tests.harness.litellm_module import litellm_module
from tests.harness.routes.comparing import ROUTES, RouteProvider

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"intent": {"type": "string", "enum": ["card_arrival", "top_up"]}},
    "required": ["intent"],
    "additionalProperties": False,
}
KEY = "k-123"


ON_BOTH_ROUTES = pytest.mark.parametrize("provider", ROUTES, indirect=True)


@pytest.fixture(params=["acompletion", pytest.param("direct", marks=pytest.mark.long)])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[RouteProvider]:
    provider = ROUTES[request.param]()
    await provider.warm_up()
    yield provider
    await provider.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in left if "litellm" in repr(task.get_coro()).lower()]


@pytest.fixture
async def mock() -> AsyncIterator[MockServer]:
    server = await start(MockOptions(api_key=KEY))
    yield server
    await server.aclose()


def to(url: str, scenario: str = "", text: str = "Where is my card?") -> CompletionRequest:
    return CompletionRequest(
        f"openai/gpt-4o-mini#{scenario}" if scenario else "openai/gpt-4o-mini",
        Endpoint("main", api_key=KEY, api_base=f"{url}/v1"),
        [{"role": "user", "content": text}],
        max_output_tokens=20,
        response_schema=SCHEMA,
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the server's books ring no bell
            await asyncio.sleep(0.01)


# Answers that say what is wrong


@ON_BOTH_ROUTES
async def test_an_answer_comes_with_what_the_provider_counted(
    provider: RouteProvider, mock: MockServer
) -> None:
    completion = await provider.complete(to(mock.url, "cached=3,reasoning=5"))

    tokens = mock.stats()["tokens"]
    assert json.loads(completion.text)["intent"] in SCHEMA["properties"]["intent"]["enum"]
    assert completion.finish is FinishReason.STOP
    assert completion.usage == TokenUsage(
        tokens["input"], tokens["output"], cached_input_tokens=3, reasoning_tokens=5
    )


@pytest.mark.parametrize(
    "scenario, certainty, kind, status, retryable",
    [
        ("status=400", Rejected, FailureKind.REJECTED, 400, False),
        ("status=401", Rejected, FailureKind.REJECTED, 401, False),
        ("status=403", Rejected, FailureKind.REJECTED, 403, False),
        ("status=404", Rejected, FailureKind.REJECTED, 404, False),
        ("status=408", PossiblyExecuted, FailureKind.TIMEOUT, 408, False),
        ("status=413", Rejected, FailureKind.REJECTED, 413, False),
        ("status=429", Rejected, FailureKind.RATE_LIMITED, 429, True),
        ("insufficient_quota", Rejected, FailureKind.RATE_LIMITED, 429, False),
        ("context_length_exceeded", Rejected, FailureKind.REJECTED, 400, False),
        ("content_filter", PossiblyExecuted, FailureKind.REJECTED, 400, False),
        ("status=500", PossiblyExecuted, FailureKind.ERROR, 500, True),
        ("status=502", PossiblyExecuted, FailureKind.ERROR, 502, True),
        ("status=503", Rejected, FailureKind.ERROR, 503, True),
        ("status=504", PossiblyExecuted, FailureKind.TIMEOUT, 504, False),
        ("status=529", Rejected, FailureKind.ERROR, 529, True),
        ("reset", PossiblyExecuted, FailureKind.ERROR, None, False),
    ],
)
async def test_every_failure_of_the_mock_provider_is_told_by_what_is_certain(
    provider: RouteProvider,
    mock: MockServer,
    scenario: str,
    certainty: type[ProviderError],
    kind: FailureKind,
    status: int | None,
    retryable: bool,
) -> None:
    with pytest.raises(ProviderError) as caught:
        await provider.complete(to(mock.url, scenario))

    error = caught.value
    assert (type(error), error.kind, error.status, error.retryable) == (
        certainty,
        kind,
        status,
        retryable,
    )
    assert mock.stats()["requests"] == 1


@pytest.mark.parametrize(
    "scenario, finish, has_text, has_usage",
    [
        ("usage=missing", FinishReason.STOP, True, False),
        ("usage=zero", FinishReason.STOP, True, False),
        ("truncated", FinishReason.LENGTH, True, True),
        ("refusal", FinishReason.REFUSED, False, True),
        ("filtered", FinishReason.REFUSED, False, True),
        ("empty", FinishReason.STOP, False, True),
        ("malformed=broken_json", FinishReason.STOP, True, True),
        ("reasoning=500", FinishReason.LENGTH, False, True),
    ],
)
async def test_answers_that_are_not_what_was_asked_for_are_answers(
    provider: RouteProvider,
    mock: MockServer,
    scenario: str,
    finish: FinishReason,
    has_text: bool,
    has_usage: bool,
) -> None:
    completion = await provider.complete(to(mock.url, scenario))

    assert completion.finish is finish
    assert (completion.text != "", completion.usage is not None) == (has_text, has_usage)


# Connections that break

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Reads whole HTTP requests and does with the connection as it is told."""

    def __init__(self, then: Conversation) -> None:
        self._then = then
        self.requests = 0
        self.connections = 0
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                self.requests += 1
                await self._then(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(then: Conversation) -> AsyncIterator[RawServer]:
    raw = RawServer(then)
    server = await asyncio.start_server(raw.talk, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw
    finally:
        server.close()


def answering(body: Any, *, status: int = 200) -> Conversation:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"

    async def then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()

    return then


def chat_answer(**fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": '{"intent":"top_up"}'}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37},
    } | fields


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def close_in_the_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()


async def speak_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01 no HTTP\r\n\r\n")
    await writer.drain()
    writer.close()


PATHS = {
    "openai/gpt-4o-mini": "/v1",
    "anthropic/claude-sonnet-4-5": "/v1/messages",
    "gemini/gemini-2.5-flash": "",
    "groq/llama-3.3-70b-versatile": "/v1",
    "mistral/mistral-small-latest": "/v1",
    "hosted_vllm/m": "/v1",
    "azure/gpt-4o-mini": "",
}


def to_model(model: str, url: str) -> CompletionRequest:
    return CompletionRequest(
        model,
        Endpoint("main", api_key=KEY, api_base=url + PATHS[model]),
        [{"role": "user", "content": "Where is my card?"}],
        max_output_tokens=20,
    )


@pytest.mark.parametrize("then", [reset, close, close_in_the_answer, speak_nonsense])
@pytest.mark.parametrize("model", PATHS)
async def test_law_16_a_request_that_was_read_is_neither_sent_again_nor_taken_for_unsent(
    provider: RouteProvider, model: str, then: Conversation
) -> None:
    async with serving(then) as server:
        with pytest.raises(PossiblyExecuted) as caught:
            await provider.complete(to_model(model, server.url))

    assert server.requests == 1
    assert (caught.value.kind, caught.value.retryable) == (FailureKind.ERROR, False)


@pytest.mark.parametrize("model", PATHS)
async def test_a_refused_connection_is_certainly_not_sent(
    provider: RouteProvider, model: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(NotSent) as caught:
            await provider.complete(to_model(model, f"http://127.0.0.1:{closed.getsockname()[1]}"))

    assert (caught.value.kind, caught.value.retryable) == (FailureKind.ERROR, True)


@pytest.mark.parametrize("model", PATHS)
async def test_a_name_that_nobody_knows_is_certainly_not_sent(
    provider: RouteProvider, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(NotSent) as caught:
        await provider.complete(to_model(model, "http://no-such-host.invalid"))

    assert caught.value.retryable


ANTHROPIC_ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
}
GEMINI_ANSWER: dict[str, Any] = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "Hello"}]},
            "finishReason": "STOP",
            "index": 0,
        }
    ]
}
NO_USAGE = {
    "openai/gpt-4o-mini": chat_answer(usage=None),
    "hosted_vllm/m": chat_answer(usage=None),
    "azure/gpt-4o-mini": chat_answer(usage=None),
    "mistral/mistral-small-latest": chat_answer(usage=None),
    "groq/llama-3.3-70b-versatile": chat_answer(usage=None, service_tier="on_demand"),
    "anthropic/claude-sonnet-4-5": ANTHROPIC_ANSWER,
    "gemini/gemini-2.5-flash": GEMINI_ANSWER,
}


@pytest.mark.parametrize("model", NO_USAGE)
@pytest.mark.parametrize("usage", ["missing", "null"])
async def test_an_answer_without_usage_is_one_whose_usage_is_unknown(
    provider: RouteProvider, model: str, usage: str
) -> None:
    body = {key: value for key, value in NO_USAGE[model].items() if key != "usage"}
    if usage == "null":
        body["usageMetadata" if model.startswith("gemini") else "usage"] = None
    async with serving(answering(body)) as server:
        completion = await provider.complete(to_model(model, server.url))

    text = "Hello" if body.keys() & {"candidates", "content"} else '{"intent":"top_up"}'
    assert completion == Completion(text, FinishReason.STOP, usage=None)


async def test_an_answer_that_litellm_can_not_read_may_be_billed(
    provider: RouteProvider,
) -> None:
    # LiteLLM takes it that every answer of Groq's has a service tier.
    async with serving(answering(chat_answer())) as server:
        with pytest.raises(PossiblyExecuted) as caught:
            await provider.complete(to_model("groq/llama-3.3-70b-versatile", server.url))

    assert server.requests == 1
    assert (caught.value.kind, caught.value.retryable) == (FailureKind.ERROR, False)


async def test_anthropics_own_tokens_are_read_in_every_class(provider: RouteProvider) -> None:
    body = ANTHROPIC_ANSWER | {
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 1_000,
            "output_tokens": 7,
        }
    }
    async with serving(answering(body)) as server:
        completion = await provider.complete(to_model("anthropic/claude-sonnet-4-5", server.url))

    # Anthropic counts what was cached beside its input; ours includes it.
    assert completion.usage == TokenUsage(
        1_110, 7, cached_input_tokens=100, cache_write_tokens=1_000
    )


@pytest.mark.parametrize(
    "status, certainty, kind, retryable",
    [
        (400, Rejected, FailureKind.REJECTED, False),
        (401, Rejected, FailureKind.REJECTED, False),
        (413, Rejected, FailureKind.REJECTED, False),
        (429, Rejected, FailureKind.RATE_LIMITED, True),
        (500, PossiblyExecuted, FailureKind.ERROR, True),
        (503, Rejected, FailureKind.ERROR, True),
        (529, Rejected, FailureKind.ERROR, True),
    ],
)
@pytest.mark.parametrize("model", PATHS)
async def test_a_status_means_the_same_in_every_providers_words(
    provider: RouteProvider,
    model: str,
    status: int,
    certainty: type[ProviderError],
    kind: FailureKind,
    retryable: bool,
) -> None:
    body = {"type": "error", "error": {"type": "api_error", "message": "no", "code": status}}
    async with serving(answering(body, status=status)) as server:
        with pytest.raises(ProviderError) as caught:
            await provider.complete(to_model(model, server.url))

    error = caught.value
    assert (type(error), error.kind, error.status, error.retryable) == (
        certainty,
        kind,
        status,
        retryable,
    )
    assert server.requests == 1


@pytest.mark.parametrize(
    "status, error, refusal",
    [
        (401, {}, Refusal.KEY),
        (403, {}, Refusal.KEY),
        (403, {"metadata": {"reasons": ["violence"], "flagged_input": "..."}}, None),
        (403, {"code": "content_filter"}, None),
        (404, {}, Refusal.MODEL),
        (400, {}, None),
        (429, {}, None),
    ],
)
async def test_a_refused_key_is_told_from_refused_words(
    provider: RouteProvider, status: int, error: dict[str, Any], refusal: Refusal | None
) -> None:
    body = {"error": {"message": "no", "code": status, **error}}
    async with serving(answering(body, status=status)) as server:
        with pytest.raises(ProviderError) as caught:
            await provider.complete(to_model("openai/gpt-4o-mini", server.url))

    assert caught.value.refusal is refusal


@ON_BOTH_ROUTES
async def test_a_connection_that_was_closed_while_idle_does_not_spoil_the_next_call(
    provider: RouteProvider,
) -> None:
    answer = answering(chat_answer())

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()

    async with serving(answer_and_close) as server:
        for _ in range(5):
            await provider.complete(to_model("openai/gpt-4o-mini", server.url))
            await asyncio.sleep(0.02)

    assert (server.requests, server.connections) == (5, 5)


# Time


@ON_BOTH_ROUTES
@pytest.mark.parametrize("scenario", ["hang", "drip", "delay_ms=60000"])
async def test_a_call_that_takes_too_long_ends_and_hangs_up(
    provider: RouteProvider, mock: MockServer, scenario: str
) -> None:
    await provider.complete(to(mock.url))
    records: list[ProviderError | None] = []

    with pytest.raises(PossiblyExecuted) as caught:
        await RetriedCall(
            provider,
            to(mock.url, scenario),
            attempts=1,
            deadline=Deadline(asyncio.get_running_loop().time() + 0.3),
            attempt_timeout_ms=None,
            before_attempt=lambda ends_s: None,
            record=lambda number, error, latency_ms: records.append(error),
        ).complete()

    assert caught.value.kind is FailureKind.TIMEOUT
    assert records == [caught.value]
    await until(lambda: mock.stats()["in_flight"] == 0)
    assert mock.stats()["requests"] == 2


@ON_BOTH_ROUTES
@pytest.mark.parametrize(
    "scenario, status",
    [("status=503,times=1", 503), ("status=429,retry_after=0.1,times=1", 429)],
)
async def test_what_passes_is_answered_at_the_second_attempt(
    provider: RouteProvider, mock: MockServer, scenario: str, status: int
) -> None:
    records: list[tuple[int, int | None]] = []

    completion = await RetriedCall(
        provider,
        to(mock.url, scenario),
        attempts=2,
        deadline=Deadline(asyncio.get_running_loop().time() + 20),
        attempt_timeout_ms=None,
        before_attempt=lambda ends_s: None,
        record=lambda number, error, ms: records.append((number, error.status if error else None)),
    ).complete()

    assert completion.finish is FinishReason.STOP
    assert records == [(1, status), (2, None)]
    assert mock.stats()["requests"] == 2


@ON_BOTH_ROUTES
async def test_calls_can_be_cancelled_at_any_moment(
    provider: RouteProvider, mock: MockServer
) -> None:
    await provider.complete(to(mock.url))

    for moment in range(60):
        calling = asyncio.create_task(provider.complete(to(mock.url, "delay_ms=5")))
        await asyncio.sleep(moment * 0.0005)
        calling.cancel()
        (outcome,) = await asyncio.gather(calling, return_exceptions=True)
        assert isinstance(outcome, Completion | asyncio.CancelledError)

    await until(lambda: mock.stats()["in_flight"] == 0)
    assert (await provider.complete(to(mock.url))).finish is FinishReason.STOP


@ON_BOTH_ROUTES
async def test_many_calls_at_once_get_each_their_own_answer(
    provider: RouteProvider, mock: MockServer
) -> None:
    texts = [f"Question {number}" for number in range(60)]
    queues = EndpointQueues({"main": EndpointLimit(8)})

    async def ask(text: str) -> Completion:
        async with queues.turn("main", 0, asyncio.get_running_loop().time() + 60):
            return await provider.complete(to(mock.url, text=text))

    at_once = await asyncio.gather(*(ask(text) for text in texts))
    assert mock.stats()["peak_in_flight"] <= 8
    in_a_row = [await ask(text) for text in reversed(texts)]

    assert at_once == list(reversed(in_a_row))
    assert len({completion.usage for completion in at_once}) > 1


@ON_BOTH_ROUTES
async def test_a_cache_of_the_process_is_neither_asked_nor_filled(
    provider: RouteProvider, mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    litellm = litellm_module()
    for name in ("input_callback", "success_callback", "_async_success_callback"):
        monkeypatch.setattr(litellm, name, [])
    cache = litellm.Cache(type="local")
    monkeypatch.setattr(litellm, "cache", cache)

    first = await provider.complete(to(mock.url))

    assert await provider.complete(to(mock.url)) == first
    assert mock.stats()["requests"] == 2
    assert cache.cache.cache_dict == {}


@ON_BOTH_ROUTES
async def test_after_closing_connections_are_made_anew(
    provider: RouteProvider, mock: MockServer
) -> None:
    first = await provider.complete(to(mock.url))
    await provider.aclose()
    await provider.aclose()

    assert await provider.complete(to(mock.url)) == first
