"""GET /v1/executions/{execution_id}: an execution's receipt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from runtime.api_keys.keys import Scope
from runtime.archive import receipts
from runtime.archive.copier import Copier
from runtime.redis.keys import Keys
from runtime.web.execution_bodies import EXAMPLE_RECEIPT, ReceiptAnswer
from tests.harness.service import Served, open_served, request_body
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One service for all tests, each of which has people of its own."""
    folder = tmp_path_factory.mktemp("receipts")
    async with open_served(folder, redis_server.url, f"t{folder.name}") as opened:
        await opened.open_account()
        await opened.open_account("other")
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of the account's that may execute."""
    async with await served.client(Scope.EXECUTE) as opened:
        yield opened
    served.mock.play(None)


def path(execution_id: str) -> str:
    return f"/v1/executions/{quote(execution_id, safe='')}"


async def executed(client: httpx.AsyncClient, number: int, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/executions", json=request_body(number, **changes))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def receipt(client: httpx.AsyncClient, execution_id: str) -> dict[str, Any]:
    answer = await client.get(path(execution_id))
    assert answer.status_code == 200, answer.text
    ReceiptAnswer.model_validate_json(answer.content)
    found: dict[str, Any] = answer.json()
    return found


async def archive(served: Served) -> None:
    """Archive all that there is."""
    service = served.service
    database = await service.store.database()
    keys = Keys(service.config.redis.key_prefix)
    copier = Copier(database, service.client, keys, timeout_ms=10_000)
    async with asyncio.timeout(20):
        stored = await service.ledger.inspection.stored(ACCOUNT)
        for _ in range(100):
            await copier.run_once()
            async with database.connect() as connection:
                found = await connection.scalar(
                    text("SELECT seq FROM accounts WHERE account_id = 'acme'")
                )
            if found == stored.seq:
                return
    raise TimeoutError


async def test_a_receipt_has_what_an_execution_cost_who_paid_and_what_it_answered(
    served: Served, client: httpx.AsyncClient
) -> None:
    result = await executed(client, 1)
    waiting = await receipt(client, result["execution_id"])
    await archive(served)
    found = await receipt(client, result["execution_id"])
    assert found == waiting, "it is the same before and after its entry is archived"
    assert set(found) == set(ReceiptAnswer.model_fields) == set(EXAMPLE_RECEIPT)
    assert (found["state"], found["charged_mc"]) == ("settled", result["charged_mc"])
    assert found["reserved_mc"] == result["reserved_mc"]
    assert [(paid["kind"], paid["reference"], paid["amount_mc"]) for paid in found["paid_by"]] == [
        ("promotional", "start", result["charged_mc"])
    ]
    assert found["tokens"] == result["usage"]
    assert found["by_rate_card"]["cost_mc"] == result["charged_mc"]
    assert [found[name] for name in ("workspace", "campaign", "action", "model", "source")] == [
        *("retail", "welcome", "route", "writer", "live")
    ]
    assert found["action_version"] == result["action_version"]
    assert found["rate_card"] == result["rate_card_version"]
    assert found["outcome"] == {
        name: result[name] for name in ("status", "values", "attributes", "origins")
    }
    [entry] = found["entries"]
    assert (entry["kind"], entry["charged_mc"]) == ("settled", result["charged_mc"])


async def test_what_it_cost_outlives_its_values(served: Served, client: httpx.AsyncClient) -> None:
    result = await executed(client, 2)
    await archive(served)
    keys = Keys(served.service.config.redis.key_prefix)
    attempt = served.service.ledger.unnamed_attempt(ACCOUNT, result["execution_id"])
    assert await served.service.client.delete(keys.outcome(ACCOUNT, attempt.execution_key))
    found = await receipt(client, result["execution_id"])
    assert found["outcome"] is None
    assert (found["state"], found["charged_mc"]) == ("settled", result["charged_mc"])
    assert sum(paid["amount_mc"] for paid in found["paid_by"]) == result["charged_mc"]


@pytest.mark.parametrize(
    "execution_id", ["a/b", "/a//b/", "a:b/..", "50% off?#1", "ключ é", "a+b c", "x" * 200]
)
async def test_any_id_is_found_by_its_percent_encoded_form(
    client: httpx.AsyncClient, execution_id: str
) -> None:
    await executed(client, 3, execution_id=execution_id)
    assert (await receipt(client, execution_id))["execution_id"] == execution_id


async def test_a_refused_execution_says_why(served: Served) -> None:
    await served.open_account("poor", amount_mc=1)
    async with await served.client(Scope.EXECUTE, account_id="poor") as client:
        result = await executed(client, 4, account_id="poor")
        found = await receipt(client, result["execution_id"])
    assert (found["state"], found["reason"]) == ("refused", "execution_too_large")
    assert (found["charged_mc"], found["paid_by"]) == (0, [])
    assert found["outcome"]["status"] == "fallback"


async def test_an_execution_that_runs_is_running(served: Served, client: httpx.AsyncClient) -> None:
    served.mock.play("delay_ms=400")
    running = asyncio.create_task(executed(client, 5))
    await asyncio.sleep(0.2)
    found = await receipt(client, "journey-5:route:1")
    assert (found["state"], found["charged_mc"], found["outcome"]) == ("running", 0, None)
    await running
    assert (await receipt(client, "journey-5:route:1"))["state"] == "settled"


async def test_another_accounts_execution_looks_like_one_that_is_not_there(
    served: Served, client: httpx.AsyncClient
) -> None:
    await executed(client, 6)
    unknown = await client.get(path("journey-77:route:1"))
    assert unknown.status_code == 404
    assert unknown.json()["type"] == "urn:creditgate:problem:execution_not_found"
    async with await served.client(Scope.EXECUTE, account_id="other") as other:
        theirs = await other.get(path("journey-6:route:1"))
        ours = await other.get(path("journey-6:route:1"), params={"account_id": ACCOUNT})
        nobody = await other.get(path("journey-6:route:1"), params={"account_id": "nobody"})
    assert theirs.status_code == 404
    assert theirs.text == unknown.text.replace("journey-77", "journey-6")
    assert ours.status_code == nobody.status_code == 404
    assert ours.text.replace(ACCOUNT, "nobody") == nobody.text
    operator = served.operator
    found = await operator.get(path("journey-6:route:1"), params={"account_id": ACCOUNT})
    assert found.json()["state"] == "settled"
    assert (await operator.get(path("journey-6:route:1"))).status_code == 422


async def test_a_receipt_is_looked_up_by_an_index(served: Served) -> None:
    database = await served.service.store.database()
    async with database.connect() as connection:
        plan = await connection.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT * FROM entries e "
                "WHERE e.account = 1 AND substr(e.body, 24, 8) = 'x'"
            )
        )
        assert "entries_execution" in " ".join(str(row) for row in plan)


async def test_law_15_a_receipt_looks_through_a_bounded_number_of_entries(
    served: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive(served)
    result = await executed(client, 8)
    monkeypatch.setattr(receipts, "MOST_WAITING", 0)
    found = await receipt(client, result["execution_id"])
    assert (found["state"], found["charged_mc"]) == ("settled", result["charged_mc"])
    assert found["outcome"]["values"] == result["values"]
    await archive(served)
    assert len((await receipt(client, result["execution_id"]))["entries"]) == 1
