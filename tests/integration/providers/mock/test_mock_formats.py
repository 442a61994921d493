"""The mock provider's other wire formats, as their own clients meet them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from providers.mock.server import MockOptions, MockServer, start

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["card_arrival", "card_lost", "top_up"]},
        "reply": {"type": "string", "description": "At most 120 characters."},
    },
    "required": ["intent", "reply"],
    "additionalProperties": False,
}
# Gemini's own dialect writes types in capitals.
OPENAPI_SCHEMA = json.loads(
    json.dumps(SCHEMA).replace('"object"', '"OBJECT"').replace('"string"', '"STRING"')
)
TOOL = {"name": "answer", "input_schema": SCHEMA}
GEMINI_PATH = "/v1beta/models/gemini-2.5-flash:generateContent"

Ask = Callable[..., Any]


def claude(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Where is my card?"}]
    return {"model": "claude", "max_tokens": 200, "messages": messages} | fields


def gemini(**config: Any) -> dict[str, Any]:
    contents = [{"role": "user", "parts": [{"text": "Where is my card?"}]}]
    return {"contents": contents, "generationConfig": config}


@pytest.fixture
async def server() -> AsyncIterator[MockServer]:
    server = await start(MockOptions(api_key="k-123"))
    yield server
    await server.aclose()


@pytest.fixture
async def post(server: MockServer) -> AsyncIterator[Ask]:
    """Ask with the key of either provider, and a scenario in the address."""
    async with aiohttp.ClientSession() as session:

        async def ask(path: str, body: Any, scenario: str = "") -> tuple[int, Any, Any]:
            prefix = f"/scenario/{scenario}" if scenario else ""
            headers = {"x-api-key": "k-123", "x-goog-api-key": "k-123"}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            url = server.url + prefix + path
            async with session.post(url, data=data, headers=headers) as response:
                return response.status, response.headers, await response.json()

        yield ask


# Anthropic


def follows_schema(answer: Any) -> bool:
    return answer.keys() == {"intent", "reply"} and answer["intent"] in {
        "card_arrival",
        "card_lost",
        "top_up",
    }


@pytest.mark.parametrize(
    "asking",
    [
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ],
    ids=["beta", "present"],
)
async def test_claude_answers_by_the_schema(post: Ask, asking: dict[str, Any]) -> None:
    status, _, body = await post("/v1/messages", claude(**asking))

    assert (status, body["type"], body["stop_reason"]) == (200, "message", "end_turn")
    assert follows_schema(json.loads(body["content"][0]["text"]))


async def test_claude_calls_the_tool_that_it_must(post: Ask) -> None:
    forced = claude(tools=[TOOL], tool_choice={"type": "tool", "name": "answer"})

    _, _, body = await post("/v1/messages", forced)
    _, _, free = await post("/v1/messages", claude(tools=[TOOL], tool_choice={"type": "auto"}))

    (block,) = body["content"]
    assert (block["type"], block["name"], body["stop_reason"]) == ("tool_use", "answer", "tool_use")
    assert follows_schema(block["input"])
    assert free["content"][0]["type"] == "text"


async def test_claude_counts_cached_tokens_beside_its_input(post: Ask, server: MockServer) -> None:
    asked = claude(system=[{"type": "text", "text": "You sort mail."}])

    _, _, body = await post("/v1/messages", asked, "cached=4,cache_write=3,reasoning=5")

    usage, tokens = body["usage"], server.stats()["tokens"]
    assert usage["input_tokens"] == tokens["input"] - 7
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (4, 3)
    assert usage["output_tokens"] == tokens["output"]
    assert usage["output_tokens_details"] == {"thinking_tokens": 5}


@pytest.mark.parametrize(
    "scenario, stop_reason",
    [
        ("truncated", "max_tokens"),
        ("reasoning=1000", "max_tokens"),
        ("refusal", "refusal"),
        ("filtered", "refusal"),
        ("empty", "end_turn"),
    ],
)
async def test_claude_says_why_it_stopped(post: Ask, scenario: str, stop_reason: str) -> None:
    status, _, body = await post("/v1/messages", claude(), scenario)

    assert (status, body["stop_reason"]) == (200, stop_reason)


@pytest.mark.parametrize(
    "scenario, status, kind",
    [
        ("status=400", 400, "invalid_request_error"),
        ("status=401", 401, "authentication_error"),
        ("status=403", 403, "permission_error"),
        ("status=404", 404, "not_found_error"),
        ("status=413", 413, "request_too_large"),
        ("status=429", 429, "rate_limit_error"),
        ("status=500", 500, "api_error"),
        ("status=529", 529, "overloaded_error"),
        ("insufficient_quota", 400, "invalid_request_error"),
        ("content_filter", 400, "invalid_request_error"),
    ],
)
async def test_claude_fails_in_its_own_words(
    post: Ask, scenario: str, status: int, kind: str
) -> None:
    answered, _, body = await post("/v1/messages", claude(), scenario)

    assert (answered, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        claude(model=""),
        claude(max_tokens=None),
        claude(max_tokens=0),
        claude(messages=[]),
        claude(messages=[{"role": "system", "content": "Hi"}]),
        claude(messages=[{"role": "user", "content": [{"type": "image"}]}]),
        claude(system=7),
        claude(stream=True),
        claude(output_format={"type": "json_schema"}),
        claude(tools=[TOOL], tool_choice={"type": "tool", "name": "another"}),
    ],
    ids=lambda body: str(body)[-50:],
)
async def test_what_claude_can_not_read_is_answered_with_what_is_wrong(
    post: Ask, body: Any
) -> None:
    status, _, answer = await post("/v1/messages", body)

    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


# Gemini


@pytest.mark.parametrize(
    "config",
    [
        {"responseJsonSchema": SCHEMA},
        {"response_json_schema": SCHEMA},
        {"responseSchema": OPENAPI_SCHEMA},
    ],
    ids=["camel case", "snake case", "its dialect"],
)
@pytest.mark.parametrize("version", ["/v1beta", "/v1", ""])
async def test_gemini_answers_by_the_schema(
    post: Ask, server: MockServer, config: dict[str, Any], version: str
) -> None:
    path = GEMINI_PATH.removeprefix("/v1beta")

    status, _, body = await post(version + path, gemini(**config))

    (candidate,) = body["candidates"]
    assert (status, candidate["finishReason"]) == (200, "STOP")
    assert follows_schema(json.loads(candidate["content"]["parts"][0]["text"]))
    assert body["modelVersion"] == "gemini-2.5-flash"
    assert server.stats()["models"] == {"gemini-2.5-flash": 1}


async def test_gemini_counts_thoughts_beside_what_it_writes(post: Ask, server: MockServer) -> None:
    asked = gemini() | {"system_instruction": {"parts": [{"text": "You sort mail."}]}}

    _, _, body = await post(GEMINI_PATH, asked, "cached=4,reasoning=5")

    usage, tokens = body["usageMetadata"], server.stats()["tokens"]
    assert usage["promptTokenCount"] == tokens["input"]
    assert (usage["cachedContentTokenCount"], usage["thoughtsTokenCount"]) == (4, 5)
    assert usage["candidatesTokenCount"] + 5 == tokens["output"]
    assert usage["totalTokenCount"] == tokens["input"] + tokens["output"]


@pytest.mark.parametrize(
    "scenario, finish, wrote",
    [
        ("truncated", "MAX_TOKENS", True),
        ("reasoning=1000", "MAX_TOKENS", False),
        ("refusal", "PROHIBITED_CONTENT", False),
        ("filtered", "SAFETY", False),
        ("empty", "STOP", False),
    ],
)
async def test_gemini_says_why_it_stopped(
    post: Ask, scenario: str, finish: str, wrote: bool
) -> None:
    status, _, body = await post(GEMINI_PATH, gemini(maxOutputTokens=30), scenario)

    (candidate,) = body["candidates"]
    assert (status, candidate["finishReason"]) == (200, finish)
    assert ("parts" in candidate["content"]) is wrote


async def test_gemini_answers_a_blocked_prompt_without_candidates(post: Ask) -> None:
    status, _, body = await post(GEMINI_PATH, gemini(), "content_filter")

    assert (status, body["promptFeedback"]) == (200, {"blockReason": "SAFETY"})
    assert "candidates" not in body
    assert body["usageMetadata"]["totalTokenCount"] == body["usageMetadata"]["promptTokenCount"]


@pytest.mark.parametrize(
    "scenario, status, word",
    [
        ("status=400", 400, "INVALID_ARGUMENT"),
        ("status=403", 403, "PERMISSION_DENIED"),
        ("status=404", 404, "NOT_FOUND"),
        ("status=429", 429, "RESOURCE_EXHAUSTED"),
        ("insufficient_quota", 429, "RESOURCE_EXHAUSTED"),
        ("status=500", 500, "INTERNAL"),
        ("status=503", 503, "UNAVAILABLE"),
    ],
)
async def test_gemini_fails_in_its_own_words(
    post: Ask, scenario: str, status: int, word: str
) -> None:
    answered, _, body = await post(GEMINI_PATH, gemini(), scenario)

    assert (answered, body["error"]["code"], body["error"]["status"]) == (status, status, word)


async def test_gemini_says_in_the_error_when_to_come_back(post: Ask) -> None:
    _, headers, body = await post(GEMINI_PATH, gemini(), "status=429,retry_after=2")

    assert "Retry-After" not in headers
    assert body["error"]["details"][-1]["retryDelay"] == "2s"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        {},
        {"contents": "Hi"},
        {"contents": [{"role": "user"}]},
        {"contents": [{"parts": [{"inlineData": {}}]}]},
        gemini() | {"systemInstruction": "Be brief."},
        gemini(maxOutputTokens=0),
        gemini(candidateCount=2),
        gemini() | {"generationConfig": 7},
    ],
    ids=lambda body: str(body)[-50:],
)
async def test_what_gemini_can_not_read_is_answered_with_what_is_wrong(
    post: Ask, body: Any
) -> None:
    status, _, answer = await post(GEMINI_PATH, body)

    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")


# All


@pytest.mark.parametrize("path", ["/v1/messages", GEMINI_PATH])
async def test_each_wants_its_key_where_its_clients_send_it(server: MockServer, path: str) -> None:
    headers = {"Authorization": "Bearer k-123"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url + path, json={}, headers=headers) as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize("path, body", [("/v1/messages", claude()), (GEMINI_PATH, gemini())])
async def test_usage_can_be_missing(post: Ask, path: str, body: Any) -> None:
    _, _, answer = await post(path, body, "usage=missing")

    assert not answer.keys() & {"usage", "usageMetadata"}


@pytest.mark.parametrize(
    "scenario, ran",
    [
        ("status=429", 0),
        ("status=503", 0),
        ("insufficient_quota", 0),
        ("status=500", 1),
        ("status=408", 1),
        ("content_filter", 1),
        ("usage=missing", 1),
    ],
)
@pytest.mark.parametrize("path, body", [("/v1/messages", claude()), (GEMINI_PATH, gemini())])
async def test_the_books_say_for_what_the_model_ran(
    post: Ask, server: MockServer, path: str, body: Any, scenario: str, ran: int
) -> None:
    await post(path, body, scenario)

    stats = server.stats()
    used = stats["tokens"]["input"] + stats["unreported_tokens"]["input"]
    assert (stats["requests"], stats["model_runs"], used > 0) == (1, ran, ran > 0)


async def test_a_scenario_in_the_address_that_can_not_be_meant_is_answered_with_the_words(
    post: Ask,
) -> None:
    status, _, body = await post("/v1/messages", claude(), "nonsense")

    assert status == 400
    assert "scenario: found 'nonsense', allowed are" in body["error"]["message"]


async def test_a_request_is_not_read_where_the_connection_is_reset_before(
    post: Ask, server: MockServer
) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await post("/v1/messages", b"not even JSON", "reset_early")

    assert server.stats()["outcomes"] == {"reset_early": 1}
    assert server.stats()["model_runs"] == 0


async def test_a_name_of_a_model_comes_too_late_to_reset_before_reading(post: Ask) -> None:
    status, _, body = await post("/v1/messages", claude(model="claude#reset_early"))

    assert status == 400
    assert "allowed are header, address and option" in body["error"]["message"]


async def test_an_answer_of_fifty_megabytes_is_one_and_ends_when_nobody_reads(
    post: Ask, server: MockServer
) -> None:
    _, _, body = await post("/v1/messages", claude(), "huge")

    assert body["stop_reason"] == "end_turn"
    assert server.stats()["outcomes"] == {"huge": 1}


async def test_an_answer_can_be_something_else(server: MockServer) -> None:
    headers = {"x-api-key": "k-123", "x-mock-scenario": "not_json"}
    url = f"{server.url}/v1/messages"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=claude(), headers=headers) as response,
    ):
        assert (response.status, response.content_type) == (200, "text/html")


async def test_headers_that_do_not_end_keep_a_client_waiting(server: MockServer) -> None:
    headers = {"x-api-key": "k-123", "x-mock-scenario": "slow_headers"}
    patient_with_silence = aiohttp.ClientTimeout(total=0.5, sock_read=0.3)
    async with aiohttp.ClientSession(timeout=patient_with_silence) as session:
        with pytest.raises(TimeoutError) as caught:
            await session.post(f"{server.url}/v1/messages", json=claude(), headers=headers)

    assert not isinstance(caught.value, aiohttp.SocketTimeoutError)
