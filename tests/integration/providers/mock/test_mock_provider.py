"""The mock provider as its clients meet it: over HTTP, in this process and as its own."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
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
ASKING_FOR_JSON: dict[str, Any] = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
    }
}

Reply = tuple[int, dict[str, str], Any]


class Client:
    """Asks a mock provider as an OpenAI client would."""

    def __init__(self, session: aiohttp.ClientSession, server: MockServer) -> None:
        self._session = session
        self.server = server

    async def ask(
        self,
        text: str = "Where is my card?",
        *,
        scenario: str | None = None,
        key: str | None = None,
        path: str = "/v1/chat/completions",
        **fields: Any,
    ) -> Reply:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]} | fields
        headers = {"x-mock-scenario": scenario} if scenario is not None else {}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return await self.post(json.dumps(body).encode(), headers, path)

    async def post(
        self, body: bytes, headers: dict[str, str] | None = None, path: str = "/v1/chat/completions"
    ) -> Reply:
        url = self.server.url + path
        async with self._session.post(url, data=body, headers=headers) as response:
            return response.status, dict(response.headers), await response.json()

    async def get(self, path: str) -> Any:
        async with self._session.get(self.server.url + path) as response:
            assert response.status == 200
            return await response.json()


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Client]:
    server = await start(MockOptions(**options))
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, server)
    finally:
        await server.aclose()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


def content_of(reply: Reply) -> str:
    content = reply[2]["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def finish_of(reply: Reply) -> str:
    return str(reply[2]["choices"][0]["finish_reason"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the server's books ring no bell
            await asyncio.sleep(0.01)


async def test_it_answers_by_the_schema_with_a_bill_that_adds_up(client: Client) -> None:
    status, headers, body = await client.ask(**ASKING_FOR_JSON)

    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    answer = json.loads(body["choices"][0]["message"]["content"])
    assert answer.keys() == {"intent", "reply"}
    assert answer["intent"] in SCHEMA["properties"]["intent"]["enum"]
    assert body["choices"][0]["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_json_object_needs_the_word_and_follows_a_schema_in_the_prompt(
    client: Client,
) -> None:
    as_object: dict[str, Any] = {"response_format": {"type": "json_object"}}
    status, _, body = await client.ask(messages=[{"role": "user", "content": "Go"}], **as_object)
    assert (status, body["error"]["code"]) == (400, None)
    assert "must contain the word 'json'" in body["error"]["message"]

    prompt = f"Answer in JSON:\n{json.dumps(SCHEMA)}"
    reply = await client.ask(messages=[{"role": "system", "content": prompt}], **as_object)
    assert json.loads(content_of(reply)).keys() == {"intent", "reply"}


async def test_a_server_that_takes_no_schema_says_so_and_answers_in_json() -> None:
    async with serving(scenario="schema_refused") as client:
        status, _, body = await client.ask(**ASKING_FOR_JSON)
        as_object = await client.ask(
            messages=[{"role": "user", "content": "Answer in JSON"}],
            response_format={"type": "json_object"},
        )
    assert status == 400
    assert "use json_object" in body["error"]["message"]
    assert json.loads(content_of(as_object)).keys() == {"answer"}


async def test_both_paths_answer_alike(client: Client) -> None:
    assert content_of(await client.ask()) == content_of(await client.ask(path="/chat/completions"))


async def test_answers_and_faults_depend_on_neither_order_nor_concurrency_nor_server() -> None:
    options: dict[str, Any] = {
        "seed": 7,
        "error_rate": 0.2,
        "malformed_rate": 0.2,
        "usage_missing_rate": 0.2,
        "latency_median_ms": 3,
        "latency_sigma": 1,
    }
    texts = [f"Question {number}" for number in range(60)]

    def outcome(reply: Reply) -> Any:
        status, _, body = reply
        return status, body.get("choices"), body.get("usage")

    async with serving(**options) as one:
        in_a_row = [outcome(await one.ask(text, **ASKING_FOR_JSON)) for text in texts]
    async with serving(**options) as two:
        at_once = await asyncio.gather(
            *(two.ask(text, **ASKING_FOR_JSON) for text in reversed(texts))
        )

    assert [outcome(reply) for reply in reversed(at_once)] == in_a_row
    assert len({status for status, _, _ in in_a_row}) > 1


async def test_a_request_that_failed_by_chance_gets_its_usual_answer_on_a_later_try() -> None:
    async with serving() as usual:
        expected = content_of(await usual.ask())
    async with serving(error_rate=0.7) as flaky:
        replies = [await flaky.ask() for _ in range(30)]

    assert {status for status, _, _ in replies} == {200, 429, 500, 503}
    assert {content_of(reply) for reply in replies if reply[0] == 200} == {expected}


@pytest.mark.parametrize(
    "scenario, status, code",
    [
        ("status=400", 400, None),
        ("status=401", 401, "invalid_api_key"),
        ("status=403", 403, None),
        ("status=404", 404, "model_not_found"),
        ("status=408", 408, None),
        ("status=413", 413, "request_too_large"),
        ("status=429", 429, "rate_limit_exceeded"),
        ("insufficient_quota", 429, "insufficient_quota"),
        ("context_length_exceeded", 400, "context_length_exceeded"),
        ("content_filter", 400, "invalid_prompt"),
        ("json_validate_failed", 400, "json_validate_failed"),
        ("status=500", 500, None),
        ("status=502", 502, None),
        ("status=503", 503, None),
        ("status=529", 529, None),
    ],
)
async def test_a_scenario_fails_alike_by_header_by_model_name_and_by_option(
    client: Client, scenario: str, status: int, code: str | None
) -> None:
    by_header = await client.ask(scenario=scenario)
    by_model = await client.ask(model=f"m#{scenario}")
    async with serving(scenario=scenario) as told:
        by_option = await told.ask()

    for reply in (by_header, by_model, by_option):
        assert reply[0] == status
        assert reply[2]["error"]["code"] == code
        assert reply[2]["error"]["message"]
        assert "Retry-After" not in reply[1]
    assert client.server.stats()["tokens"] == {
        "input": 0,
        "cached_input": 0,
        "cache_write": 0,
        "output": 0,
        "reasoning": 0,
    }


async def test_a_request_may_overrule_the_servers_scenario() -> None:
    async with serving(scenario="status=500") as told:
        assert (await told.ask(scenario=""))[0] == 500
        assert (await told.ask(scenario="usage=zero"))[0] == 200
        assert (await told.ask(model="m#refusal", scenario="status=503"))[0] == 503


async def test_it_says_when_to_come_back(client: Client) -> None:
    status, headers, _ = await client.ask(scenario="status=429,retry_after=2")

    assert (status, headers["Retry-After"]) == (429, "2")


async def test_a_scenario_may_pass_after_some_tries(client: Client) -> None:
    replies = [(await client.ask(scenario="status=503,times=2"))[0] for _ in range(4)]

    assert replies == [503, 503, 200, 200]


async def test_a_model_keeps_its_plain_name_in_answers_and_books(client: Client) -> None:
    reply = await client.ask(model="gpt-4o-mini#reasoning=5,cached=3")

    assert reply[2]["model"] == "gpt-4o-mini"
    assert reply[2]["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5
    assert reply[2]["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert client.server.stats()["models"] == {"gpt-4o-mini": 1}


async def test_usage_can_be_missing_or_zero(client: Client) -> None:
    whole = (await client.ask())[2]["usage"]
    missing = (await client.ask(scenario="usage=missing"))[2]
    zero = (await client.ask(scenario="usage=zero"))[2]["usage"]

    assert "usage" not in missing
    assert (zero["prompt_tokens"], zero["completion_tokens"], zero["total_tokens"]) == (0, 0, 0)
    stats = client.server.stats()
    assert stats["tokens"]["output"] == whole["completion_tokens"]
    assert stats["unreported_tokens"]["input"] == 2 * whole["prompt_tokens"]
    assert stats["unreported_tokens"]["output"] == 2 * whole["completion_tokens"]


async def test_answers_that_are_none(client: Client) -> None:
    refusal = await client.ask(scenario="refusal")
    filtered = await client.ask(scenario="filtered")
    empty = await client.ask(scenario="empty")
    truncated = await client.ask(scenario="truncated", **ASKING_FOR_JSON)

    assert refusal[2]["choices"][0]["message"]["content"] is None
    assert refusal[2]["choices"][0]["message"]["refusal"]
    assert (content_of(filtered), finish_of(filtered)) == ("", "content_filter")
    assert (content_of(empty), finish_of(empty)) == ("", "stop")
    assert finish_of(truncated) == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(content_of(truncated))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_it_stops_at_the_token_limit(client: Client, name: str) -> None:
    limit: dict[str, Any] = {name: 4}
    reply = await client.ask(**limit)

    assert finish_of(reply) == "length"
    assert reply[2]["usage"]["completion_tokens"] == 4


async def test_a_thinking_model_can_spend_its_whole_limit_and_say_nothing(client: Client) -> None:
    reply = await client.ask(scenario="reasoning=500", max_completion_tokens=20)

    usage = reply[2]["usage"]
    assert (content_of(reply), finish_of(reply)) == ("", "length")
    assert usage["completion_tokens"] == 20
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 20


async def test_a_connection_can_be_reset_after_the_request_was_read(client: Client) -> None:
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.ask(scenario="reset")

    assert client.server.stats()["outcomes"] == {"reset": 1}


@pytest.mark.parametrize("scenario", ["hang", "drip"])
async def test_a_request_that_gets_no_answer_ends_when_its_client_leaves(
    client: Client, scenario: str
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.ask(scenario=scenario)

    await until(lambda: client.server.stats()["in_flight"] == 0)
    assert client.server.stats()["outcomes"] == {scenario: 1}


async def test_a_drip_outlives_a_timeout_that_watches_single_reads(client: Client) -> None:
    patient_with_silence = aiohttp.ClientTimeout(total=None, sock_read=0.3)
    async with (
        aiohttp.ClientSession(timeout=patient_with_silence) as session,
        session.post(
            client.server.url + "/v1/chat/completions",
            json={"model": "m#drip", "messages": [{"role": "user", "content": "Hi"}]},
        ) as response,
    ):
        assert response.status == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.9):
                await response.read()


@pytest.mark.parametrize("scenario", ["hang", "drip", "delay_ms=60000"])
async def test_closing_ends_open_requests(scenario: str) -> None:
    server = await start(MockOptions())
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(Client(session, server).ask(scenario=scenario))
        await until(lambda: server.stats()["in_flight"] == 1)

        async with asyncio.timeout(10):
            await server.aclose()
            with pytest.raises(aiohttp.ClientError):
                await asking


async def test_an_answer_that_nobody_waits_for_is_billed_all_the_same(client: Client) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.ask(scenario="delay_ms=60000")

    await until(lambda: client.server.stats()["in_flight"] == 0)
    stats = client.server.stats()
    assert stats["outcomes"] == {"abandoned": 1}
    assert stats["tokens"]["output"] == 0
    assert stats["unreported_tokens"]["output"] > 0


async def test_the_books_agree_with_the_answers_that_were_given() -> None:
    async with serving(error_rate=0.2, cached_tokens_share=0.3, reasoning_tokens=4) as client:
        replies = await asyncio.gather(*(client.ask(f"Question {n}") for n in range(80)))
        over_http = await client.get("/stats")

    usages = [body["usage"] for status, _, body in replies if status == 200]
    assert over_http["requests"] == 80
    assert sum(over_http["outcomes"].values()) == 80
    assert over_http["outcomes"]["answered"] == len(usages) < 80
    assert over_http["in_flight"] == 0
    assert over_http["tokens"] == {
        "input": sum(usage["prompt_tokens"] for usage in usages),
        "cached_input": sum(u["prompt_tokens_details"]["cached_tokens"] for u in usages),
        "cache_write": 0,
        "output": sum(usage["completion_tokens"] for usage in usages),
        "reasoning": 4 * len(usages),
    }


async def test_it_wants_its_key_and_never_shows_it() -> None:
    async with serving(api_key="k-123") as client:
        for wrong in (None, "", "k-124", "k-12", "ключ"):
            status, _, body = await client.ask(key=wrong)
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")
            assert "k-123" not in json.dumps(body)
        assert (await client.ask(key="k-123"))[0] == 200
        assert "k-123" not in json.dumps(await client.get("/stats"))


BAD_BODIES: list[Any] = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b"[" * 100_000,
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"model": 5, "messages": [{"role": "user", "content": "Hi"}]},
    {"model": "m"},
    {"model": "m", "messages": []},
    {"model": "m", "messages": "Hi"},
    {"model": "m", "messages": [{"content": "Hi"}]},
    {"model": "m", "messages": [{"role": "user", "content": 7}]},
    {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True},
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": 2},
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 0},
    {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": "9"},
    {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_schema"},
    },
    {"model": "m#nonsense", "messages": [{"role": "user", "content": "Hi"}]},
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: str(body)[:60])
async def test_a_request_that_can_not_be_read_is_answered_with_what_is_wrong(
    client: Client, body: Any
) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()

    status, _, answer = await client.post(sent)

    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["message"]


@pytest.mark.parametrize(
    "text",
    ["word " * 20_000, "a" * 100_000, "你好😀 \u202e\x00\u0000'\"{{ x }}{%", "\ud800", ""],
    ids=["100 kB of words", "100 kB of one letter", "odd characters", "half a character", "empty"],
)
async def test_any_text_is_answered(client: Client, text: str) -> None:
    reply = await client.ask(text, **ASKING_FOR_JSON)

    assert reply[0] == 200
    assert json.loads(content_of(reply)).keys() == {"intent", "reply"}


async def test_text_in_parts_counts_as_the_text(client: Client) -> None:
    parts = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "my card?"}]

    in_parts = await client.ask(messages=[{"role": "user", "content": parts}])

    assert in_parts[2]["usage"] == (await client.ask("Where is my card?"))[2]["usage"]


async def test_it_says_that_it_is_there(client: Client) -> None:
    models = await client.get("/v1/models")

    assert models["object"] == "list"
    assert all(model["id"] for model in models["data"])
    assert await client.get("/health") == {"status": "ok"}


async def test_hundreds_of_requests_wait_at_once_rather_than_in_a_row() -> None:
    async with serving(latency_median_ms=300) as client:
        replies = await asyncio.gather(*(client.ask(f"Question {n}") for n in range(300)))

        assert {status for status, _, _ in replies} == {200}
        assert client.server.stats()["peak_in_flight"] >= 50


async def test_an_address_in_use_is_an_os_error(client: Client) -> None:
    port = int(client.server.url.rpartition(":")[2])

    with pytest.raises(OSError, match="in use"):
        await start(MockOptions(port=port))


MAIN = """
from providers.mock.server import MockOptions, main_loop
main_loop(MockOptions(), lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ask", ["GET /health", "hang"])
async def test_as_a_process_it_announces_itself_and_ends_cleanly_on_a_signal(
    number: signal.Signals, ask: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        async with aiohttp.ClientSession() as session:
            waiting: list[Awaitable[Any]] = []
            if ask == "hang":
                body = {"model": "m#hang", "messages": [{"role": "user", "content": "Hi"}]}
                waiting.append(
                    asyncio.ensure_future(session.post(f"{url}/v1/chat/completions", json=body))
                )
                await asyncio.sleep(0.2)
            async with session.get(f"{url}/health") as response:
                assert response.status == 200

            process.send_signal(number)
            out, err = await asyncio.wait_for(process.communicate(), 20)
            await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert (process.returncode, out, err) == (0, b"", b"")
