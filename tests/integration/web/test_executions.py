"""Executions over HTTP: one, and many side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from runtime.api_keys.keys import Scope
from runtime.web import executing
from runtime.web.execution_bodies import ExecutionAnswer, PendingAnswer
from tests.harness.raw_requests import connected, post
from tests.harness.service import ACTION, Served, open_served, request_body
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

HASTY = "hasty"
_HASTY_DEADLINE_S = 0.5


def _with_hasty(config: dict[str, Any]) -> None:
    hasty = dict(config["actions"][ACTION])
    hasty["limits"] = hasty["limits"] | {"deadline_ms": int(_HASTY_DEADLINE_S * 1000)}
    config["actions"][HASTY] = hasty


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One service for all tests, each of which has people of its own."""
    folder = tmp_path_factory.mktemp("executions")
    prefix = f"t{folder.name}"
    async with open_served(folder, redis_server.url, prefix, change=_with_hasty) as opened:
        await opened.open_account()
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of the account's that may execute."""
    async with await served.client(Scope.EXECUTE) as opened:
        yield opened
    served.mock.play(None)


async def execute(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post("/v1/executions", json=request_body(**changes))


async def batch(client: httpx.AsyncClient, *bodies: object) -> list[dict[str, Any]]:
    answer = await client.post("/v1/executions:batch", json={"executions": bodies}, timeout=60)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    assert len(items) == len(bodies)
    return items


async def test_an_execution_is_answered_with_all_of_its_result(client: httpx.AsyncClient) -> None:
    answer = await execute(client, number=1)
    assert answer.status_code == 200, answer.text
    found = ExecutionAnswer.model_validate(answer.json(), strict=True)
    assert set(answer.json()) == set(ExecutionAnswer.model_fields)
    assert (found.status, found.kept, found.replayed) == ("model", True, False)
    assert found.charged_mc > 0
    assert found.attributes["customer"] == {"lead_score": found.values["score"]}


async def test_the_same_id_gives_the_first_outcome(client: httpx.AsyncClient) -> None:
    first = (await execute(client, number=2)).json()
    again = (await execute(client, number=2)).json()
    assert (again["replayed"], again["values"]) == (True, first["values"])
    assert again["charged_mc"] == first["charged_mc"]


async def test_fallback_values_are_an_answer_of_200(served: Served) -> None:
    await served.open_account("poor", amount_mc=1)
    async with await served.client(Scope.EXECUTE, account_id="poor") as client:
        body = request_body(3)
        del body["account_id"]
        answer = await client.post("/v1/executions", json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["status"], found["charged_mc"]) == ("fallback", 0)
    assert found["values"]["intent"] == "other"
    assert found["origins"]["intent"] == {"mark": "fallback", "reason": "execution_too_large"}


async def test_an_account_on_trial_and_one_that_is_not_there_get_fallback_values(
    served: Served,
) -> None:
    await served.service.ledger.accounts.open_account("trying", plan="trial")
    for account_id, reason in (("trying", "plan_not_eligible"), ("nobody", "account_unknown")):
        body = request_body(3, account_id=account_id)
        answer = await served.operator.post("/v1/executions", json=body)
        assert answer.status_code == 200
        assert {each["reason"] for each in answer.json()["origins"].values()} == {reason}


async def test_an_id_used_for_something_else_is_a_conflict_that_names_the_field(
    client: httpx.AsyncClient,
) -> None:
    await execute(client, number=4)
    answer = await execute(client, number=4, person_id="somebody-else")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:creditgate:problem:execution_conflict"
    assert "person_id" in answer.json()["detail"]


async def test_an_unknown_action_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await execute(client, number=5, action="nothing")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:creditgate:problem:action_not_found"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_what_runs_elsewhere_is_accepted_and_asked_for_again(
    served: Served, client: httpx.AsyncClient
) -> None:
    served.mock.play("delay_ms=1500")
    first = asyncio.create_task(execute(client, number=6))
    await asyncio.sleep(0.3)
    second = await execute(client, number=6, action=HASTY)
    assert second.status_code == 409, "another action is something else"
    first_hasty = asyncio.create_task(execute(client, number=7))
    await asyncio.sleep(0.3)
    service = served.service
    config = service.config.model_copy(
        update={
            "actions": {
                **service.config.actions,
                ACTION: service.config.actions[HASTY].model_copy(update={"id": ACTION}),
            }
        }
    )
    await service.runtime.reload(config)
    try:
        pending = await execute(client, number=7)
    finally:
        await service.runtime.reload(service.config)
    assert pending.status_code == 202
    found = PendingAnswer.model_validate(pending.json(), strict=True)
    assert found.execution_id == "journey-7:route:1"
    assert 1 <= int(pending.headers["retry-after"]) <= 1 + found.retry_after_ms / 1000
    assert {(await task).status_code for task in (first, first_hasty)} == {200}


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"execution_id": ""}, "execution_id"),
        ({"execution_id": "a\nb"}, "execution_id"),
        ({"execution_id": 7}, "execution_id"),
        ({"workspace_id": "x" * 201}, "workspace_id"),
        ({"action": "no spaces please"}, "action"),
        ({"action": {"id": "inline"}}, "action"),
        ({"data": []}, "data"),
        ({"data": {"person": {}}}, "data"),
        ({"data": {"customer": None}}, "data.customer"),
        ({"data": {f"s{n}": {} for n in range(200)}}, "data"),
        ({"source": "prod"}, "source"),
        ({"model": "gpt-9"}, "model"),
        ({f"m{n}": 1 for n in range(200)}, "body"),
    ],
)
async def test_a_wrong_field_is_named(
    client: httpx.AsyncClient, changes: dict[str, Any], field: str
) -> None:
    answer = await execute(client, **changes)
    assert answer.status_code == 422, answer.text
    fields = [error["field"] for error in answer.json()["errors"]]
    assert any(found == field or found.startswith(f"{field}.") for found in fields), fields


async def test_a_batch_answers_each_as_it_would_be_alone_and_in_order(
    served: Served, client: httpx.AsyncClient
) -> None:
    await execute(client, number=10)
    bodies = [
        request_body(11),
        request_body(10),
        {},
        "text",
        request_body(12, account_id="other"),
        request_body(12, action="nothing"),
        request_body(10, person_id="somebody-else"),
        request_body(11),
        request_body(12),
    ]
    items = await batch(client, *bodies)
    assert [item["status"] for item in items] == [200, 200, 422, 422, 404, 404, 409, 200, 200]
    for item, body in zip(items, bodies, strict=True):
        if item["status"] == 200:
            assert item["body"]["execution_id"] == body["execution_id"]  # type: ignore[index]
        else:
            alone = await client.post("/v1/executions", json=body)
            assert (alone.status_code, alone.json()) == (item["status"], item["body"])
    assert items[1]["body"]["replayed"]
    assert sorted(items[at]["body"]["replayed"] for at in (0, 7)) == [False, True]
    assert items[0]["body"]["values"] == items[7]["body"]["values"]


@pytest.mark.parametrize(
    "body",
    [[], {}, {"executions": []}, {"executions": {}}, {"executions": [{}] * 1_001}, {"items": []}],
)
async def test_a_batch_that_is_none_is_refused_as_a_whole(
    client: httpx.AsyncClient, body: object
) -> None:
    answer = await client.post("/v1/executions:batch", json=body)
    assert answer.status_code == 422, answer.text


async def test_law_15_a_thousand_executions_are_a_batch_and_hold_up_nobody(
    served: Served, client: httpx.AsyncClient
) -> None:
    before_mc = (await served.service.ledger.accounts.balance(ACCOUNT)).charged_mc
    running = asyncio.create_task(
        batch(client, *(request_body(number) for number in range(1_000, 2_000)))
    )
    longest_s = 0.0
    while not running.done():
        began_s = time.perf_counter()
        assert (await client.get("/healthz")).status_code == 200
        longest_s = max(longest_s, time.perf_counter() - began_s)
        await asyncio.sleep(0.05)
    items = await running
    assert [item["status"] for item in items] == [200] * 1_000
    assert [item["body"]["execution_id"] for item in items] == [
        f"journey-{number}:route:1" for number in range(1_000, 2_000)
    ]
    charged_mc = sum(item["body"]["charged_mc"] for item in items)
    after_mc = (await served.service.ledger.accounts.balance(ACCOUNT)).charged_mc
    assert after_mc - before_mc == charged_mc > 0
    assert longest_s < 5, "a health check waited for a batch"


async def test_law_15_more_executions_than_a_process_runs_are_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executing, "MOST_RUNNING", 1)
    body = {"executions": [request_body(90), request_body(91)]}
    refused = await client.post("/v1/executions:batch", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["type"] == "urn:creditgate:problem:too_many_executions"
    assert (await execute(client, number=90)).status_code == 200


async def test_a_batch_is_answered_within_its_longest_deadline(
    served: Served, client: httpx.AsyncClient
) -> None:
    served.mock.play("hang")
    began_s = time.monotonic()
    items = await batch(client, *(request_body(n, action=HASTY) for n in range(30, 40)))
    assert time.monotonic() - began_s < _HASTY_DEADLINE_S + 1.5
    assert {item["status"] for item in items} <= {200, 202}


async def _ends(served: Served) -> None:
    async with asyncio.timeout(20):
        await served.service.running.drain()


async def _requests(served: Served, wanted: int) -> None:
    for _ in range(2_000):
        if served.mock.stats()["requests"] >= wanted:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the model was not called")


async def test_a_client_that_disconnects_in_the_call_finds_its_outcome(
    served: Served, client: httpx.AsyncClient
) -> None:
    served.mock.play("delay_ms=400")
    called = served.mock.stats()["requests"]
    before_mc = (await served.service.ledger.accounts.balance(ACCOUNT)).charged_mc
    async with connected(served.url) as (_, writer):
        writer.write(post("/v1/executions", client.headers["authorization"], request_body(50)))
        await _requests(served, called + 1)
    # The connection is aborted here, while the model still writes its answer.
    assert len(served.service.running) == 1
    await _ends(served)
    again = (await execute(client, number=50)).json()
    assert (again["status"], again["replayed"]) == ("model", True)
    assert served.mock.stats()["requests"] == called + 1
    after_mc = (await served.service.ledger.accounts.balance(ACCOUNT)).charged_mc
    assert after_mc - before_mc == again["charged_mc"] > 0


async def test_a_client_that_disconnects_cancels_none_of_its_batch(
    served: Served, client: httpx.AsyncClient
) -> None:
    served.mock.play("delay_ms=400")
    called = served.mock.stats()["requests"]
    bodies = [request_body(number) for number in range(60, 80)]
    async with connected(served.url) as (_, writer):
        key = client.headers["authorization"]
        writer.write(post("/v1/executions:batch", key, {"executions": bodies}))
        await _requests(served, called + 1)
    await _ends(served)
    items = await batch(client, *bodies)
    assert all(item["body"]["replayed"] and item["body"]["status"] == "model" for item in items)
    assert served.mock.stats()["requests"] == called + len(bodies)


async def test_what_runs_is_ended_before_the_service_closes(
    imported_litellm: None,
    redis_server: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("closing")
    async with open_served(folder, redis_server.url, f"t{folder.name}") as opened:
        await opened.open_account()
        opened.mock.play("delay_ms=400")
        async with await opened.client(Scope.EXECUTE) as client:
            key = client.headers["authorization"]
        async with connected(opened.url) as (_, writer):
            writer.write(post("/v1/executions", key, request_body(1)))
            await _requests(opened, 1)
        service = opened.service
    assert not len(service.running)
    async with open_served(folder, redis_server.url, f"t{folder.name}") as reopened:
        answer = await reopened.operator.post("/v1/executions", json=request_body(1))
        assert (answer.json()["status"], answer.json()["replayed"]) == ("model", True)
        assert reopened.mock.stats()["requests"] == 0
