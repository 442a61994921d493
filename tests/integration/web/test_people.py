"""People of a campaign over HTTP: streamed, bounded, and added once."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from runtime.redis.embedded import EmbeddedRedis
from runtime.web import uploads
from tests.harness.bounds import loop_holds_s
from tests.harness.service import ACTION, Served, open_served
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

NDJSON = "application/x-ndjson"
CSV = "text/csv"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("people")
    async with open_served(folder, redis_server.url, "people", timeout_ms=10_000) as found:
        await found.open_account(ACCOUNT)
        yield found


def lines(count: int, first: int = 0) -> bytes:
    rows = ({"person_id": f"p{number}", "message": "Hi"} for number in range(first, first + count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def send(
    served: Served,
    campaign: str,
    content: Any,
    *,
    kind: str = NDJSON,
    headers: dict[str, str] | None = None,
    **query: Any,
) -> httpx.Response:
    known = {
        "account_id": ACCOUNT,
        "workspace_id": "retail",
        "action": ACTION,
        "import_id": "first",
    }
    return await served.operator.post(
        f"/v1/campaigns/{campaign}/people",
        params=known | query,
        content=content,
        headers={"Content-Type": kind} | (headers or {}),
        timeout=60,
    )


async def waiting(served: Served, campaign: str) -> list[dict[str, Any]]:
    """The people who wait, with their data."""
    await served.service.queue.resume(ACCOUNT, campaign)
    found = []
    while (taken := await served.service.queue.take(ACCOUNT, "test", 500)) is not None:
        if taken.campaign_id == campaign:
            found += [
                {"id": entry.request.person_id, **entry.request.data} for entry in taken.entries
            ]
    return found


async def until_position(served: Served, campaign: str, position: int) -> None:
    """Wait until the import has so many rows in the queue."""
    queue = served.service.queue
    async with asyncio.timeout(20):
        while await queue.import_position(ACCOUNT, campaign, "first") < position:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(0.01)


async def test_people_are_added_as_they_are_read_and_each_once(served: Served) -> None:
    answer = await send(served, "json", lines(700))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "campaign_id": "json",
        "import_id": "first",
        "rows": 700,
        "accepted": 700,
        "position": 700,
    }
    again = (await send(served, "json", lines(700))).json()
    assert (again["accepted"], again["position"]) == (0, 700)
    overlapping = (await send(served, "json", lines(500, 600), row=600)).json()
    assert (overlapping["accepted"], overlapping["position"]) == (400, 1100)
    found = [person["id"] for person in await waiting(served, "json")]
    assert found == [f"p{number}" for number in range(1100)]


async def test_csv_may_be_packed_and_its_columns_have_the_declared_types(served: Served) -> None:
    text = 'person_id;age;message;event.pages\n p1 ;18;"one;\ntwo";3\np2;;x;\n'
    answer = await send(
        served,
        "csv",
        gzip.compress(text.encode()),
        kind=f"{CSV}; charset=utf-8",
        headers={"Content-Encoding": "gzip"},
        column="age=number",
    )
    assert answer.json()["accepted"] == 2, answer.text
    assert await waiting(served, "csv") == [
        {"id": "p1", "customer": {"age": 18, "message": "one;\ntwo"}, "event": {"pages": "3"}},
        {"id": "p2", "customer": {"message": "x"}},
    ]


@pytest.mark.parametrize(
    "kind, body, line, detail",
    [
        (NDJSON, b'{"person_id": "a"}\n{"person_id": \n', 2, "Line 2, column 1: not valid JSON"),
        (NDJSON, b'{"person_id": "a"}\n{"name": "b"}\n', 2, "Line 2: has no 'person_id'"),
        (NDJSON, b'{"person_id": "a"}\n\xff\xfe\n', 2, "Line 2: is not valid UTF-8 at byte 19"),
        (NDJSON, b'{"person_id": "a"}\n[' + b"[" * 100_000, 2, "Line 2"),
        (NDJSON, b'{"person_id": "a"}\n{"person_id": "' + b"b" * 201 + b'"}', 2, "Line 2"),
        (NDJSON, b'{"person_id": "a"}\n{"person_id": "b", "x": 1e999}', 2, "Line 2"),
        (NDJSON, b'{"person_id": "a"}\n' + b"x" * 2_000_000, 2, "longer than 1,048,576 bytes"),
        (
            NDJSON,
            b'{"person_id": "a"}\n{"person_id": "b", "x": "' + b"x" * 300_000 + b'"}',
            2,
            "Line 2: a person takes 300,",
        ),
        (CSV, b"person_id,x\na,1\nb,2,3\n", 3, "Line 3: has 3 cells"),
        (CSV, b'person_id,x\na,1\nb,"2\n', 3, "Line 3: not valid CSV"),
        (CSV, b"person_id,age\na,1\nb,old\n", 3, "Line 3: column 'age': must be a number"),
    ],
    ids=[
        "json",
        "no_id",
        "utf8",
        "nesting",
        "long_id",
        "number",
        "long_line",
        "large",
        "cells",
        "quote",
        "type",
    ],
)
async def test_a_row_that_can_not_be_used_is_named_and_those_before_it_are_in(
    served: Served, request: pytest.FixtureRequest, kind: str, body: bytes, line: int, detail: str
) -> None:
    campaign = f"bad_{request.node.callspec.id}"
    query: dict[str, Any] = {"column": "age=number"} if b"age" in body else {}
    answer = await send(served, campaign, body, kind=kind, **query)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:creditgate:problem:people_refused"
    assert detail in problem["detail"]
    assert (problem["line"], problem["accepted"], problem["position"]) == (line, 1, 1)
    assert [one["id"] for one in await waiting(served, campaign)] == ["a"]


@pytest.mark.parametrize(
    "kind, body, detail",
    [
        (CSV, b"", "is empty"),
        (CSV, b"name\nx\n", "no column 'person_id'"),
        (CSV, b"person_id" + b",a" * 20_000 + b"\n", "20,001 columns, 10,000 are allowed"),
        (CSV, b"person_id" + b",a" * 1_000_000 + b"\n", "longer than 1,048,576 bytes"),
        (CSV, b"person_id,age\n", None),
        (NDJSON, b"", None),
        (NDJSON, gzip.compress(b"{}", mtime=0), "not valid UTF-8"),
    ],
    ids=["empty", "no_id", "columns", "more_columns", "header", "no_line", "packed"],
)
async def test_a_body_without_a_row_adds_nobody(
    served: Served, kind: str, body: bytes, detail: str | None
) -> None:
    answer = await send(served, "nobody", body, kind=kind, import_id=str(hash(body)))
    assert answer.status_code == (200 if detail is None else 422), answer.text
    assert answer.json()["accepted"] == answer.json()["position"] == 0
    if detail is not None:
        assert detail in answer.json()["detail"]


async def test_a_body_that_is_cut_off_adds_whole_rows_alone(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = served.operator.headers["Authorization"]
    path = (
        f"/v1/campaigns/cut/people?account_id={ACCOUNT}&workspace_id=retail&action={ACTION}"
        "&import_id=first"
    )
    body = lines(300) + b'{"person_id": "p300"'
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Type: {NDJSON}\r\n"
        f"Content-Length: {len(body) + 2}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    await until_position(served, "cut", 250)
    writer.close()
    await until_position(served, "cut", 300)
    again = (await send(served, "cut", lines(301))).json()
    assert (again["accepted"], again["position"]) == (1, 301)
    assert [one["id"] for one in await waiting(served, "cut")] == [f"p{n}" for n in range(301)]
    assert await reader.read() == b""


@pytest.mark.parametrize(
    "query, status, kind",
    [
        ({"action": "nothing"}, 404, "action_not_found"),
        ({"account_id": "nobody"}, 404, "account_not_found"),
        ({"row": 5}, 409, "import_behind"),
        ({"row": -1}, 422, "invalid_request"),
        ({"import_id": ""}, 422, "invalid_request"),
        ({"import_id": "x" * 201}, 422, "invalid_request"),
        ({"workspace_id": "a\nb"}, 422, "invalid_request"),
        ({"source": "real"}, 422, "invalid_request"),
        ({"column": "age"}, 422, "invalid_request"),
        ({"delimiter": "x"}, 422, "invalid_request"),
        ({"id_column": " "}, 422, "invalid_request"),
        ({"id_column": "email"}, 422, "people_refused"),
    ],
)
async def test_a_query_that_can_not_be_used_is_refused(
    served: Served, query: dict[str, Any], status: int, kind: str
) -> None:
    answer = await send(served, "query", b"person_id\na\n", kind=CSV, **query)
    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (status, kind), answer.text


async def test_a_campaign_of_other_content_is_a_conflict(served: Served) -> None:
    await send(served, "conflict", lines(2))
    changes: list[dict[str, Any]] = [{"workspace_id": "other"}, {"source": "test"}]
    for query in changes:
        answer = await send(served, "conflict", lines(2), **query)
        assert answer.status_code == 409, answer.text
        assert answer.json()["type"].endswith("campaign_conflict")
    await served.service.queue.stop(ACCOUNT, "conflict")
    stopped = await send(served, "conflict", lines(2, 2), row=2)
    assert (stopped.status_code, stopped.json()["type"].split(":")[-1]) == (409, "campaign_stopped")


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "application/json"}, {"Content-Type": ""}, {"Content-Encoding": "br"}],
)
async def test_other_forms_of_bodies_are_refused(served: Served, headers: dict[str, str]) -> None:
    answer = await send(served, "form", lines(1), headers=headers)
    assert answer.status_code == 415, answer.text


async def test_law_15_a_body_has_bounds_of_bytes_rows_and_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_ROWS", 10)
    many = (await send(served, "bounds", lines(12))).json()
    assert (many["status"], many["accepted"], many["position"]) == (413, 10, 10)
    monkeypatch.setattr(uploads, "MOST_BYTES", 1_000)
    large = await send(served, "bounds", lines(100), import_id="second")
    assert large.status_code == 413, large.text
    monkeypatch.setattr(uploads, "MOST_BYTES", 10**6)
    monkeypatch.setattr(uploads, "IDLE_S", 0.2)

    async def slowly() -> AsyncIterator[bytes]:
        yield lines(3)
        await asyncio.sleep(1)
        yield lines(3)

    slow = (await send(served, "bounds", slowly(), import_id="third")).json()
    assert (slow["status"], slow["type"].split(":")[-1]) == (408, "body_too_slow")
    assert slow["position"] == 3


async def test_law_15_a_process_reads_so_many_bodies_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_UPLOADS", 1)
    go_on = asyncio.Event()

    async def waits() -> AsyncIterator[bytes]:
        yield lines(300)
        await go_on.wait()

    first = asyncio.create_task(send(served, "busy", waits()))
    try:
        await until_position(served, "busy", 250)
        refused = await send(served, "busy", lines(1), import_id="other")
    finally:
        go_on.set()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.json()["type"].endswith("too_many_uploads")
    assert (await first).json()["accepted"] == 300


async def test_law_15_a_body_of_people_takes_bounded_memory_and_leaves_the_event_loop_alone(
    served: Served,
) -> None:
    async def many() -> AsyncIterator[bytes]:
        yield b"person_id" + b"".join(b",column_%d" % number for number in range(500)) + b"\n"
        for number in range(1_500):
            yield b"p%d" % number + b",1234" * 500 + b"\n"

    tracemalloc.start()
    try:
        answer, holds = await loop_holds_s(send(served, "large", many(), kind=CSV))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.json()["accepted"] == 1_500, answer.text
    assert max(holds) < 0.05
    assert peak < 16 * 1024 * 1024
