"""What LiteLLM is given of an answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.litellm.answers import (
    MAX_ANSWER_BYTES,
    AnswerTooLarge,
    guard_answers,
    status_of,
    with_usage,
)

CHUNK = b" " * 65_536

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
objects = st.dictionaries(st.text(max_size=9), scalars | st.lists(scalars, max_size=2), max_size=3)


class Endless(httpx.AsyncByteStream):
    """A body that goes on as long as somebody reads it, and knows how much that was."""

    def __init__(self, first: bytes = b"", chunk: bytes = CHUNK) -> None:
        self._first, self._chunk = first, chunk
        self.sent = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        while True:
            self.sent += len(self._chunk)
            yield self._chunk

    async def aclose(self) -> None:
        self.closed = True


class Transport:
    """Answers each request with what it was made for."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer


async def handed_on(answer: httpx.Response, *, ours: bool = True) -> httpx.Response:
    class Guarded(Transport):
        pass

    guard_answers(Guarded, ContextVar("is_internal_call", default=ours))
    return await Guarded(answer).handle_async_request(httpx.Request("POST", "http://h"))


@pytest.mark.parametrize("status", [200, 500])
async def test_law_15_an_answer_without_end_is_left_at_the_limit(status: int) -> None:
    body = Endless()

    with pytest.raises(AnswerTooLarge):
        await handed_on(httpx.Response(status, stream=body))

    assert body.closed
    assert MAX_ANSWER_BYTES < body.sent <= MAX_ANSWER_BYTES + 2 * len(CHUNK)


async def test_law_15_a_small_answer_that_unpacks_to_a_large_one_is_left_too() -> None:
    packed = gzip.compress(CHUNK * 400)
    assert len(packed) < MAX_ANSWER_BYTES / 100

    with pytest.raises(AnswerTooLarge):
        await handed_on(
            httpx.Response(
                200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(packed)
            )
        )


async def test_a_packed_answer_is_handed_on_unpacked_with_headers_that_are_true() -> None:
    packed = gzip.compress(b'{"choices": []}')
    answer = httpx.Response(
        200,
        headers={"Content-Encoding": "gzip", "Content-Length": str(len(packed)), "X-Id": "7"},
        stream=httpx.ByteStream(packed),
    )

    whole = await handed_on(answer)

    assert await whole.aread() == b'{"choices": []}'
    assert whole.headers["X-Id"] == "7"
    assert whole.headers["Content-Length"] == "15"
    assert "Content-Encoding" not in whole.headers


async def test_the_hosts_own_answers_are_not_touched() -> None:
    answer = httpx.Response(200, stream=Endless())

    assert await handed_on(answer, ours=False) is answer


@pytest.mark.parametrize(
    "body, usage",
    [
        ({"type": "message", "content": []}, {"usage": {}}),
        ({"type": "message", "content": [], "usage": None}, {"usage": {}}),
        ({"candidates": []}, {"usageMetadata": {}}),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, {"usageMetadata": {}}),
        ({"type": "message", "content": [{"text": '{"usage": {"a": 1}}'}]}, {"usage": {}}),
    ],
)
def test_an_answer_that_litellm_could_not_read_without_usage_gets_an_empty_one(
    body: dict[str, Any], usage: dict[str, Any]
) -> None:
    assert json.loads(with_usage(json.dumps(body).encode())) == body | usage


@pytest.mark.parametrize("name", ["usage", "usageMetadata"])
@given(body=objects, usage=objects)
def test_usage_that_is_there_is_never_touched(
    name: str, body: dict[str, Any], usage: dict[str, Any]
) -> None:
    content = json.dumps({"type": "message", "candidates": []} | body | {name: usage}).encode()

    assert with_usage(content) is content


@given(st.binary(max_size=40) | objects.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_answer_of_theirs_is_handed_on_as_it_is(content: bytes) -> None:
    assert with_usage(content) is content


def test_law_15_a_body_that_is_too_deep_to_read_is_handed_on_as_it_is() -> None:
    content = b"[" * 200_000

    assert with_usage(content) is content


@pytest.mark.parametrize(
    "error, status",
    [
        ({"code": 429, "message": "Rate limited by the provider"}, 429),
        ({"code": "429"}, 429),
        ({"code": 502, "message": "Provider returned error"}, 502),
        ({"code": 402, "message": "Insufficient credits"}, 402),
        ({"code": 503}, 503),
        ({"code": "rate_limit_exceeded"}, 429),
        ({"code": "insufficient_quota"}, 429),
        ({"type": "overloaded_error"}, 503),
        ({"type": "invalid_request_error", "code": None}, 400),
        ({"code": 200}, 502),
        ({"code": 10**30}, 502),
        ({"message": "something broke"}, 502),
        ("model not found", 502),
    ],
)
async def test_law_6_an_error_inside_a_200_has_the_status_of_its_own_code(
    error: object, status: int
) -> None:
    body = json.dumps({"id": "gen-1", "error": error}).encode()

    assert status_of(body) == status
    assert (await handed_on(httpx.Response(200, content=body))).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "ok"}}], "error": {"code": 429}},
        {"choices": [{"message": {"content": '"error": {"code": 429}'}}]},
        {"choices": [], "error": None},
        {"choices": [], "error": {}},
        {"candidates": [{}], "error": {"code": 429}},
        [{"error": {"code": 429}}],
        {},
    ],
)
def test_an_answer_that_is_there_is_no_error(body: object) -> None:
    assert status_of(json.dumps(body).encode()) == 200
