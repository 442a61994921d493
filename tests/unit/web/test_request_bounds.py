"""Bounds of every request: head, body, content type, JSON."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from runtime.web import request_bounds
from runtime.web.problems import Problem
from runtime.web.request_bounds import BATCH, USUAL, RequestBounds, parsed_json
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes

MB = 1024 * 1024
_TYPE = (b"content-type", b"application/json")


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the parsed body, as its route sees it."""
    request = Request(scope, receive)
    body = await request.body()
    same = not body or len(body) > MB or parsed_json(request) == json.loads(body)
    answer = {"bytes": len(body), "same": same}
    await JSONResponse(answer)(scope, receive, send)


class _Client:
    """Sends requests to the bounds, and keeps the answer's status, headers and body."""

    def __init__(self, app: Any = _echo) -> None:
        self._app = RequestBounds(app)
        self.taken = 0

    async def send(
        self,
        parts: Iterable[bytes] = (),
        headers: Iterable[tuple[bytes, bytes]] = (_TYPE,),
        *,
        path: str = "/v1/executions",
        query: bytes = b"",
        method: str = "POST",
        has_length: bool = True,
        stalls: bool = False,
    ) -> tuple[int, dict[str, Any], dict[bytes, bytes]]:
        parts = list(parts)
        fields = list(headers)
        if parts:
            size = str(sum(map(len, parts))).encode()
            fields.append(
                (b"content-length", size) if has_length else (b"transfer-encoding", b"chunked")
            )
        scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": fields,
        }
        left = iter(parts)
        sent: list[Message] = []

        async def receive() -> Message:
            part = next(left, None)
            if part is None and stalls:
                await asyncio.Event().wait()
            self.taken += len(part or b"")
            return {"type": "http.request", "body": part or b"", "more_body": part is not None}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        if not sent:
            return 0, {}, {}
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], json.loads(body), dict(sent[0]["headers"])


async def _answer(body: bytes, **how: Any) -> tuple[int, str]:
    status, found, _ = await _Client().send([body], **how)
    return status, found.get("detail", "")


async def test_a_body_is_parsed_once_and_given_to_its_route() -> None:
    status, found, _ = await _Client().send([b'{"a": [1, 2', b'.5, "\xc3\xa9"]}'])
    assert (status, found) == (200, {"bytes": 21, "same": True})


async def test_requests_without_a_body_pass() -> None:
    for method in ("GET", "POST", "DELETE"):
        status, found, _ = await _Client().send(headers=(), method=method)
        assert (status, found["bytes"]) == (200, 0)


@pytest.mark.parametrize(
    "headers, word",
    [
        ([], "found none"),
        ([(b"content-type", b"text/plain")], "text/plain"),
        ([(b"content-type", b"application/x-www-form-urlencoded")], "form"),
        ([(b"content-type", b"application/json; charset=utf-16")], "utf-16"),
        ([_TYPE, (b"content-encoding", b"gzip")], "gzip"),
        ([(b"content-type", b"\xff" * 3_000)], "..."),
    ],
)
async def test_a_body_that_is_not_plain_json_is_an_unsupported_media_type(
    headers: list[tuple[bytes, bytes]], word: str
) -> None:
    status, detail = await _answer(b"{}", headers=headers)
    assert status == 415
    assert word in detail
    assert len(detail) < 200


async def test_a_charset_of_utf_8_is_fine() -> None:
    for value in (b"application/json; charset=utf-8", b'Application/JSON;charset="UTF-8"'):
        assert (await _answer(b"{}", headers=[(b"content-type", value)]))[0] == 200


@pytest.mark.parametrize(
    "body, word",
    [
        (b"{", "EOF"),
        (b"", "empty"),
        (b'{"a": NaN}', "line 1"),
        (b"[Infinity]", "line 1"),
        (b"[-Infinity]", "line 1"),
        (b"[1e999]", "larger than any float"),
        (b"[-1E+0400]", "larger than any float"),
        (b"[" + b"9" * 400 + b".0]", "larger than any float"),
        (b"[" + b"9" * 5_000 + b"]", "out of range"),
        (b'"\xff"', "UTF-8, at byte 1"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8, at byte 7"),
        (b'"\\ud800"', "escape"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b"{} {}", "trailing"),
        (b"{'a': 1}", "line 1"),
        (b'"a\nb"', "control character"),
    ],
)
async def test_what_is_not_json_is_told_where(body: bytes, word: str) -> None:
    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            parsed_json(Request(scope))
        except Problem as problem:
            await problem.response()(scope, receive, send)

    chunked = [_TYPE, (b"transfer-encoding", b"chunked")]
    status, found, _ = await _Client(read).send([body] if body else [], chunked)
    assert (status, found["type"]) == (400, "urn:creditgate:problem:not_json")
    assert word in found["detail"]


async def test_law_15_a_body_may_be_nested_200_levels_and_not_a_million() -> None:
    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({})(scope, receive, send)

    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        fine = opening * 200 + b"1" + closing * 200
        assert (await _Client(answered).send([fine]))[0] == 200
        for levels in (202, 20_000, 150_000):
            status, detail = await _answer(opening * levels)
            assert status in (400, 413)
            assert "nested" in detail or "brackets" in detail


async def test_law_15_a_large_body_is_refused_before_it_is_read() -> None:
    client = _Client()
    status, found, _ = await client.send([b" " * 10 * MB])
    assert (status, client.taken) == (413, 0)
    assert f"{MB:,} bytes" in found["detail"]


async def test_law_15_a_large_body_without_a_length_is_read_no_further_than_its_bound() -> None:
    client = _Client()
    status, _, _ = await client.send([b" " * 65_536] * 200, has_length=False)
    assert (status, client.taken) == (413, MB + 65_536)


async def test_law_15_a_batch_may_be_larger_and_no_path_around_it() -> None:
    body = b'"' + b"x" * 3 * MB + b'"'
    assert (await _answer(body, path="/v1/executions:batch"))[0] == 200
    assert (await _answer(body, path="/v1/executions:batch/"))[0] == 413
    assert (await _answer(body, path="/v1/executions/batch"))[0] == 413


async def test_law_15_a_body_of_too_many_parts_is_refused() -> None:
    status, detail = await _answer(b"[" + b"1," * USUAL.parts + b"1]")
    assert status == 413
    assert "commas and opening brackets" in detail


async def test_law_15_a_body_that_stops_coming_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_bounds, "BODY_S", 0.05)
    status, found, headers = await _Client().send([b'{"a"'], has_length=False, stalls=True)
    assert (status, found["type"]) == (408, "urn:creditgate:problem:body_too_slow")
    assert headers[b"connection"] == b"close"


async def test_law_15_the_bodies_of_all_requests_together_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_bounds, "MAX_HELD_BYTES", 1_000)
    going = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        await going.wait()
        await JSONResponse({})(scope, receive, send)

    client = _Client(wait)
    body = [b'"' + b"x" * 600 + b'"']
    first = asyncio.create_task(client.send(body))
    await asyncio.sleep(0)
    status, _, headers = await client.send(body)
    assert (status, headers[b"retry-after"]) == (503, b"1")
    going.set()
    assert (await first)[0] == 200
    assert (await client.send(body))[0] == 200, "what has ended counts no longer"
    for wrong in (b"{", b'"' + b"x" * 2 * MB + b'"'):
        await client.send([wrong], has_length=False)
    assert (await client.send(body))[0] == 200, "what was refused counts no longer"


async def test_law_15_a_head_that_is_too_large_is_refused() -> None:
    headers = [_TYPE, *((b"x-%d" % n, b"v" * 1_000) for n in range(17))]
    assert (await _answer(b"{}", headers=headers))[0] == 431
    assert (await _answer(b"{}", query=b"q" * 9_000))[0] == 414
    assert (await _answer(b"{}", path="/" + "p" * 9_000))[0] == 414


def _distinct(parts: int) -> bytes:
    return json.dumps({f"k{number}": number for number in range(parts - 2)}).encode()


def _empties(parts: int) -> bytes:
    return b"[" + b",".join([b"{}"] * (parts // 2 - 1)) + b"]"


def _infinite(parts: int) -> bytes:
    return b"[" + b",".join([b"1e100"] * (parts - 2)) + b",1e308]"


def _parsed(body: bytes) -> Callable[[], Any]:
    return lambda: request_bounds._parse(body, BATCH)  # noqa: SLF001 - the work itself


@pytest.mark.parametrize("make", [_distinct, _empties, _infinite])
def test_law_15_parsing_the_largest_body_takes_less_than_50_ms_and_grows_linearly(
    make: Callable[[int], bytes],
) -> None:
    body = make(BATCH.parts)
    assert body.count(b",") + body.count(b"[") + body.count(b"{") > 0.9 * BATCH.parts
    assert_cpu(_parsed(body), 0.050)
    # What the collector takes depends on everything else in the process.
    gc.disable()
    try:
        assert_linear(make, lambda each: _parsed(each)(), BATCH.parts // 2)
    finally:
        gc.enable()


@pytest.mark.parametrize("text", [b"\\u00e9", b"x", b"\xc3\xa9", b"9e"])
def test_law_15_parsing_the_longest_text_takes_less_than_50_ms(text: bytes) -> None:
    body = b'"' + text * ((BATCH.size - 2) // len(text)) + b'"'
    assert_cpu(_parsed(body), 0.050)


@pytest.mark.long
def test_law_15_a_parsed_body_takes_at_most_64_mb() -> None:
    for make in (_distinct, _empties):
        assert peak_bytes(_parsed(make(BATCH.parts))) < 64 * MB
