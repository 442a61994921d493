"""The mock's hostile scenarios send what they say, to a client that takes all of it."""

from __future__ import annotations

import gzip
import json
import zlib

import aiohttp
import pytest

from providers.mock.server import MockOptions, start

REQUEST = {
    "model": "mock-quick",
    "messages": [{"role": "user", "content": "I say {}"}],
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}},
        },
    },
}


async def ask(scenario: str) -> tuple[aiohttp.ClientResponse, bytes]:
    server = await start(MockOptions(scenario=scenario))
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            url = f"{server.url}/v1/chat/completions"
            async with session.post(url, json=REQUEST) as response:
                return response, await response.read()
    finally:
        await server.aclose()


@pytest.mark.long
async def test_the_bomb_is_small_and_unpacks_to_a_gigabyte() -> None:
    response, body = await ask("body=bomb")

    assert response.headers["Content-Encoding"] == "gzip"
    assert len(body) < 2_000_000
    unpacking, size = zlib.decompressobj(31), 0
    while len(part := unpacking.decompress(body, 50_000_000)) == 50_000_000:
        size += len(part)
        body = unpacking.unconsumed_tail
    assert size + len(part) == 1_000_000_000


async def test_what_is_packed_three_times_is_a_bomb_within_two_layers() -> None:
    response, body = await ask("body=gzip3")

    assert response.headers["Content-Encoding"] == "gzip, gzip, gzip"
    assert len(body) < 20_000
    inner = gzip.decompress(gzip.decompress(body))
    assert len(zlib.decompressobj(31).decompress(inner, 50_000_000)) == 50_000_000


async def test_a_client_that_follows_a_redirect_is_counted() -> None:
    server = await start(MockOptions(scenario="redirect=307"))
    try:
        async with aiohttp.ClientSession() as session:
            url = f"{server.url}/v1/chat/completions"
            async with session.post(url, json=REQUEST) as response:
                assert response.url.host == "localhost"
    finally:
        await server.aclose()

    stats = server.stats()
    assert (stats["requests"], stats["elsewhere"], stats["model_runs"]) == (1, 1, 0)


async def test_a_choices_body_holds_them_all() -> None:
    _, body = await ask("body=choices")

    assert len(json.loads(body)["choices"]) == 100_001
    assert len(body) < 2_000_000


@pytest.mark.parametrize("scenario", ["quote=think", "quote=beside", "answer=two"])
async def test_an_answer_has_the_message_or_two_answers(scenario: str) -> None:
    _, body = await ask(scenario)
    text = json.loads(body)["choices"][0]["message"]["content"]

    if scenario == "answer=two":
        assert '{"ok":true}' in text
        assert '{"ok":false}' in text
    else:
        assert "They wrote: I say {}" in text
        assert '{"ok":' in text


@pytest.mark.parametrize(
    "bill, output, total",
    [
        ("quintillion", 10**18, None),
        ("negative", -5, None),
        ("float", 12.5, None),
        ("text", "12", None),
        ("total", None, 10**7),
    ],
)
async def test_a_bill_says_what_it_is_told(bill: str, output: object, total: int | None) -> None:
    _, body = await ask(f"bill={bill}")
    usage = json.loads(body)["usage"]

    assert output is None or usage["completion_tokens"] == output
    assert total is None or usage["total_tokens"] == total
