"""Accounts, credits, caps and reports over HTTP."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from creditgate import ExecutionRequest
from runtime.api_keys.keys import Scope
from runtime.archive.copier import Copier
from runtime.archive.statement import Statements
from runtime.redis.keys import Keys
from tests.harness.service import Served, open_served, request_body
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One service for all tests, each of which has accounts of its own."""
    folder: Path = tmp_path_factory.mktemp("served")
    async with open_served(folder, redis_server.url, f"t{folder.name}") as opened:
        yield opened


async def opened(served: Served, account_id: str, amount_mc: int = 0) -> None:
    answer = await served.operator.put(f"/v1/accounts/{account_id}", json={"plan": "growth"})
    assert answer.status_code == 200, answer.text
    if amount_mc:
        await given(served, account_id, amount_mc, "start")


async def given(served: Served, account_id: str, amount_mc: int, reference: str) -> httpx.Response:
    body = {"amount_mc": amount_mc, "kind": "promotional", "reference": reference}
    return await served.operator.post(f"/v1/accounts/{account_id}/grants", json=body)


async def archived(served: Served, account_id: str) -> None:
    """Archive until all of the account is there; the service does so too, every few seconds."""
    service = served.service
    database = await service.store.database()
    keys = Keys(service.config.redis.key_prefix)
    copier = Copier(database, service.client, keys, timeout_ms=10_000)
    statements = Statements(database, service.installation)
    async with asyncio.timeout(20):
        while True:
            await copier.run_once()
            balance = await service.ledger.accounts.balance(account_id)
            if (await statements.account(account_id)).seq == balance.journal_seq:
                return


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:creditgate:problem:")


async def test_an_account_is_brought_to_what_was_put_and_a_repeat_changes_nothing(
    served: Served,
) -> None:
    path, body = "/v1/accounts/put-1", {"plan": "growth", "timezone": "Europe/Berlin"}
    first = (await served.operator.put(path, json=body)).json()
    assert (first["new"], first["timezone"], first["ai_credits"]) == (True, "Europe/Berlin", True)
    again = (await served.operator.put(path, json=body)).json()
    assert again == {**first, "new": False}
    before = (await served.operator.get(f"{path}/balance")).json()["journal_seq"]

    changed = (await served.operator.put(path, json={"plan": "trial", "timezone": "UTC"})).json()
    assert (changed["plan"], changed["timezone"], changed["ai_credits"]) == ("trial", "UTC", False)
    assert (await served.operator.get(f"{path}/balance")).json()["journal_seq"] == before + 2


@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "plan"),
        ({"plan": "gold"}, "plan"),
        ({"plan": "growth", "timezone": "Mars"}, "timezone"),
        ({"plan": "growth", "paid_since": "yesterday"}, "paid_since"),
        ({"plan": "growth", "color": "red"}, "color"),
        ([], "body"),
    ],
)
async def test_a_wrong_account_is_refused_by_its_field_and_not_opened(
    served: Served, body: Any, field: str
) -> None:
    answer = await served.operator.put("/v1/accounts/wrong", json=body)
    assert problem(answer) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await served.operator.get("/v1/accounts/wrong/balance")).status_code == 404


async def test_credits_are_given_bought_and_taken_back_once_for_each_reference(
    served: Served,
) -> None:
    await opened(served, "books")
    path = "/v1/accounts/books"
    first, again = [await given(served, "books", 5_000_000, "gift") for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "new": False}
    assert problem(await given(served, "books", 6_000_000, "gift")) == (409, "reference_conflict")

    bought = await served.operator.post(
        f"{path}/purchases", json={"amount_mc": 200_000_000, "reference": "invoice-1"}
    )
    assert (bought.status_code, bought.json()["available_mc"]) == (201, 205_000_000)
    odd = await served.operator.post(
        f"{path}/purchases", json={"amount_mc": 150_000_000, "reference": "invoice-2"}
    )
    assert problem(odd) == (422, "invalid_request")

    void = {"grant_id": first.json()["grant_id"], "reference": "v1", "reason": "by mistake"}
    taken = (await served.operator.post(f"{path}/voids", json=void)).json()
    assert (taken["amount_mc"], taken["new"]) == (5_000_000, True)
    assert (await served.operator.post(f"{path}/voids", json=void)).json()["new"] is False
    balance = (await served.operator.get(f"{path}/balance")).json()
    assert (balance["available_mc"], balance["voided_mc"], balance["conserved"]) == (
        200_000_000,
        5_000_000,
        True,
    )


async def test_law_13_nobody_gives_credits_to_themselves(served: Served) -> None:
    await opened(served, ACCOUNT)
    client = await served.client(Scope.ADMIN, Scope.BILLING_WRITE)
    body = {"amount_mc": 1_000, "kind": "promotional", "reference": "mine"}
    answer = await client.post(f"/v1/accounts/{ACCOUNT}/grants", json=body)
    assert problem(answer) == (403, "forbidden")
    put = await client.put(f"/v1/accounts/{ACCOUNT}", json={"plan": "growth"})
    assert problem(put) == (403, "forbidden")
    assert (await client.get(f"/v1/accounts/{ACCOUNT}/balance")).json()["granted_mc"] == 0
    await client.aclose()


async def test_a_cap_is_set_listed_changed_and_removed(served: Served) -> None:
    await opened(served, "capped", 1_000_000)
    cap_id = f"month;workspace_id={quote('a b/c', safe='')};source=preview"
    path = f"/v1/accounts/capped/caps/{quote(cap_id, safe='')}"
    put = await served.operator.put(path, json={"limit_mc": 500, "reference": "c1"})
    assert (put.status_code, put.json()) == (200, {"new": True})
    [cap] = (await served.operator.get("/v1/accounts/capped/caps")).json()
    assert (cap["id"], cap["limit_mc"], cap["workspace_id"]) == (cap_id, 500, "a b/c")

    assert (await served.operator.delete(path, params={"reference": "c2"})).json()["new"]
    assert (await served.operator.get("/v1/accounts/capped/caps")).json() == []
    gone = await served.operator.delete(path, params={"reference": "c3"})
    assert problem(gone) == (404, "cap_not_found")
    wrong = await served.operator.put(
        "/v1/accounts/capped/caps/year", json={"limit_mc": 1, "reference": "c4"}
    )
    assert problem(wrong) == (422, "invalid_request")


async def test_a_statement_is_read_page_by_page_and_as_a_file(served: Served) -> None:
    await opened(served, "paged")
    for number in range(1, 8):
        await given(served, "paged", number * 1_000, f"gift {number}")
    await archived(served, "paged")
    seen, cursor = [], None
    for _ in range(5):
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await served.operator.get("/v1/accounts/paged/statement", params=params)).json()
        seen += [line["seq"] for line in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list(range(8, 0, -1))

    text = (
        await served.operator.get("/v1/accounts/paged/statement", params={"format": "csv"})
    ).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["left_mc"] for row in rows][-1] == "28000"
    entry = (await served.operator.get("/v1/accounts/paged/statement/8")).json()
    assert (entry["reference"], entry["change_mc"]) == ("gift 7", 7_000)
    none = await served.operator.get("/v1/accounts/paged/statement/9")
    assert problem(none) == (404, "not_archived")


async def test_usage_performance_and_a_past_balance_come_from_the_archive(served: Served) -> None:
    await opened(served, "used", 10_000_000)
    runtime = served.service.runtime
    for number in range(3):
        await runtime.execute(ExecutionRequest(**request_body(number, account_id="used")))
    await runtime.drain()
    await archived(served, "used")
    path = "/v1/accounts/used"
    usage = (await served.operator.get(f"{path}/usage", params={"by": "model,class"})).json()
    [row] = usage["rows"]
    assert (row["model"], row["class"], row["executions"]) == ("writer", "quick", 3)
    as_csv = await served.operator.get(f"{path}/usage", params={"by": "model", "format": "csv"})
    assert as_csv.text.splitlines()[1].startswith("writer,3,")
    performance = (await served.operator.get(f"{path}/performance")).json()
    assert performance["actions"][0]["runs"] == 3
    at = (await served.operator.get(f"{path}/balance")).json()["at"]
    past = (await served.operator.get(f"{path}/balance", params={"at": at})).json()
    assert past["charged_mc"] == row["charged_mc"] > 0


@pytest.mark.parametrize(
    "path, field",
    [
        ("usage?by=colour", "query.by"),
        ("usage?from=soon", "query.from"),
        ("usage?from=2999-01-01", "query.from"),
        ("usage?timezone=Mars", "query.timezone"),
        ("statement?limit=0", "query.limit"),
        ("statement?from=2026-02-01&to=2026-01-01", "query.to"),
        ("statement?format=xml", "query.format"),
        ("statement/none", "path.seq"),
        ("balance?at=2999-01-01", "query.at"),
    ],
)
async def test_a_wrong_parameter_is_named(served: Served, path: str, field: str) -> None:
    await opened(served, "asked")
    await archived(served, "asked")
    answer = await served.operator.get(f"/v1/accounts/asked/{path}")
    assert problem(answer) == (422, "invalid_request")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
