"""Campaigns over HTTP: their figures, what changes them, and people who are put back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fallback.reasons import FallbackReason
from runtime.api_keys.keys import Scope
from runtime.queue.entries import Ended
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.queues import request_of, result_of
from tests.harness.service import Served, open_served
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("campaigns")
    async with open_served(folder, redis_server.url, "campaigns", timeout_ms=10_000) as found:
        await found.open_account(ACCOUNT)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with await served.client(Scope.EXECUTE) as found:
        yield found


async def fill(served: Served, campaign: str, count: int) -> None:
    requests = [
        request_of(f"{campaign}-{number}", campaign, account_id=ACCOUNT) for number in range(count)
    ]
    await served.service.queue.add(ACCOUNT, "retail", campaign, requests)


async def work(served: Served, count: int, reason: FallbackReason | None = None) -> None:
    taken = await served.service.queue.take(ACCOUNT, "test", count)
    assert taken is not None
    ended = [
        Ended(one, result_of(one.request, reason, charged_mc=100, kept=reason is None))
        for one in taken.entries
    ]
    await served.service.queue.finish(taken, ended)


async def change(client: httpx.AsyncClient, campaign: str, verb: str, **body: Any) -> Any:
    answer = await client.post(f"/v1/campaigns/{campaign}/{verb}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_campaign_is_shown_paused_resumed_stopped_and_run_again(
    served: Served, client: httpx.AsyncClient
) -> None:
    await fill(served, "spring", 10)
    await work(served, 4)
    await work(served, 2, FallbackReason.PROVIDER_ERROR)
    found = (await client.get("/v1/campaigns/spring")).json()
    assert (found["ended"], found["waiting"], found["model"], found["fallback"]) == (6, 4, 4, 2)
    assert found["fallbacks"] == found["missed"] == {"model": 2}
    assert (found["charged_mc"], found["expected_mc"]) == (400, 667)
    assert found["left_ms"] > 0

    assert (await change(client, "spring", "pause"))["state"] == "paused"
    assert await served.service.queue.take(ACCOUNT, "test", 10) is None
    assert (await change(client, "spring", "resume"))["state"] == "running"
    stopped = await change(client, "spring", "stop")
    assert (stopped["waiting"], stopped["stopped"]) == (0, 4)
    refused = await client.post("/v1/campaigns/spring/rerun", json={})
    assert (refused.status_code, refused.json()["type"].split(":")[-1]) == (409, "campaign_stopped")

    await change(client, "spring", "resume")
    estimate = await change(client, "spring", "estimate", groups=["model"])
    assert (estimate["people"], estimate["without_request"]) == (2, 0)
    assert estimate["estimate"]["cost"]["expected_mc"] > 0
    done = await change(client, "spring", "rerun", groups=["model"])
    assert (done["put_back"], done["not_put_back"], done["campaign"]["waiting"]) == (2, 0, 2)
    assert (await change(client, "spring", "rerun"))["put_back"] == 4
    assert (await change(client, "spring", "rerun"))["put_back"] == 0
    await work(served, 6)


async def test_campaigns_are_listed_page_by_page(served: Served, client: httpx.AsyncClient) -> None:
    for number in range(3):
        await fill(served, f"list-{number}", 1)
        await change(client, f"list-{number}", "pause")
    names: list[str] = []
    cursor = None
    for _ in range(10):
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/campaigns", params=query)).json()
        names += [item["campaign_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [name for name in names if name.startswith("list-")] == ["list-0", "list-1", "list-2"]
    assert len(set(names)) == len(names)
    wrong = await client.get("/v1/campaigns", params={"cursor": "?"})
    assert wrong.status_code == 422


async def test_a_switch_that_holds_a_campaign_is_named(
    served: Served, client: httpx.AsyncClient
) -> None:
    await fill(served, "held", 1)
    await served.service.ledger.accounts.switch(
        ACCOUNT, off=True, reason="test", actor="test", campaign_id="held"
    )
    found = (await client.get("/v1/campaigns/held")).json()
    assert (found["switched_off"], found["left_ms"]) == (["campaign held"], None)


@pytest.mark.parametrize(
    "method, path, body, status",
    [
        ("GET", "nothing", None, 404),
        ("POST", "nothing/pause", {}, 404),
        ("POST", "nothing/rerun", {}, 404),
        ("POST", "nothing/estimate", {}, 404),
        ("POST", "spring/start", {}, 422),
        ("POST", "spring/rerun", {"groups": ["all"]}, 422),
        ("POST", "spring/rerun", {"groups": []}, 422),
        ("POST", "spring/pause", {"more": 1}, 422),
        ("POST", "spring/pause", [], 422),
        ("GET", "%0a", None, 422),
        ("GET", "x" * 201, None, 422),
    ],
)
async def test_what_can_not_be_done_is_refused(
    client: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    sent = {} if body is None else {"json": body}
    answer = await client.request(method, f"/v1/campaigns/{path}", **sent)
    assert answer.status_code == status, answer.text
    assert answer.json()["type"].startswith("urn:creditgate:problem:")
