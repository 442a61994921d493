"""Stopping, and carrying on: switches, and those who missed their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from pricing.offers import GrantKind
from runtime.api_keys.keys import Scope
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.service import Served, open_served, request_body
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

SWITCHES = f"/v1/accounts/{ACCOUNT}/switches"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: EmbeddedRedis,
) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    async with open_served(folder, redis_server.url, "stopping-http") as opened:
        await opened.open_account()
        yield opened


async def execute(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/v1/executions", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def reasons(result: dict[str, Any]) -> set[str | None]:
    return {origin["reason"] for origin in result["origins"].values()}


async def missed(client: httpx.AsyncClient, ids: list[str], **more: Any) -> list[dict[str, Any]]:
    answer = await client.post("/v1/executions:missed", json={"execution_ids": ids, **more})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    assert [item["execution_id"] for item in items] == ids
    return items


@pytest.mark.parametrize(
    "path, kind, target",
    [
        ("account", "account", None),
        ("workspace/retail", "workspace", "retail"),
        ("campaign/welcome", "campaign", "welcome"),
        ("action/route", "action", "route"),
    ],
)
async def test_what_is_switched_off_falls_back_and_the_same_ids_ask_again(
    served: Served, path: str, kind: str, target: str | None
) -> None:
    body = request_body(execution_id=f"stopped-{kind}:route:1")
    off = {"off": True, "reason": "The answers were wrong."}
    answer = await served.operator.put(f"{SWITCHES}/{path}", json=off)

    assert answer.status_code == 200, answer.text
    done = answer.json()
    assert (done["kind"], done["id"], done["off"], done["new"]) == (kind, target, True, True)
    assert (done["open_executions"], done["open_mc"], done["exact"]) == (0, 0, True)
    again = (await served.operator.put(f"{SWITCHES}/{path}", json=off)).json()
    assert again == done | {"new": False}
    [listed] = (await served.operator.get(SWITCHES)).json()["items"]
    assert (listed["kind"], listed["id"]) == (kind, target)
    assert listed["reference"].startswith("The answers were wrong. [")
    assert listed["actor"].startswith("key ")
    assert listed["since_at"] is not None

    stopped = await execute(served.operator, body)
    assert (reasons(stopped), stopped["kept"]) == ({"switched_off"}, False)
    [standing] = await missed(served.operator, [body["execution_id"]], account_id=ACCOUNT)
    assert (standing["state"], standing["ask_as"]) == ("unknown", body["execution_id"])

    on = (await served.operator.put(f"{SWITCHES}/{path}", json={"off": False})).json()
    assert (on["off"], on["new"]) == (False, True)
    assert (await served.operator.get(SWITCHES)).json()["items"] == []
    assert (await execute(served.operator, body))["status"] == "model"


async def test_an_id_with_a_slash_or_a_percent_names_a_workspace(served: Served) -> None:
    name = "50% off/north south"
    path = f"{SWITCHES}/workspace/50%25%20off%2Fnorth%20south"
    done = (await served.operator.put(path, json={"off": True})).json()
    assert done["id"] == name
    stopped = await execute(
        served.operator, request_body(execution_id="slash:route:1", workspace_id=name)
    )
    assert reasons(stopped) == {"switched_off"}
    await served.operator.put(path, json={"off": False})


async def test_switches_take_an_admin_of_the_account(served: Served) -> None:
    for scopes in ([Scope.EXECUTE], [Scope.BILLING_READ, Scope.BILLING_WRITE]):
        client = await served.client(*scopes)
        answer = await client.put(f"{SWITCHES}/account", json={"off": True})
        assert answer.status_code == 403
        await client.aclose()
    other = await served.client(Scope.ADMIN, account_id="other")
    for answer in (
        await other.put(f"{SWITCHES}/account", json={"off": True}),
        await other.get(SWITCHES),
        await served.operator.put("/v1/accounts/nobody/switches/account", json={"off": True}),
    ):
        assert (answer.status_code, answer.json()["type"]) == (
            404,
            "urn:creditgate:problem:account_not_found",
        )
    await other.aclose()


@pytest.mark.parametrize(
    "path, body, field",
    [
        ("account", {"off": "yes"}, "off"),
        ("account", {}, "off"),
        ("account", {"off": True, "why": "x"}, "why"),
        ("account", {"off": True, "reason": "a\nb"}, "reason"),
        ("account", {"off": True, "reason": "x" * 181}, "reason"),
        ("person/ada", {"off": True}, "path.kind"),
        ("workspace/a%09b", {"off": True}, "path.target_id"),
        ("workspace/" + "x" * 201, {"off": True}, "path.target_id"),
    ],
)
async def test_a_switch_that_is_not_valid_changes_nothing(
    served: Served, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await served.operator.put(f"{SWITCHES}/{path}", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await served.operator.get(SWITCHES)).json()["items"] == []


@pytest.mark.long
async def test_those_who_missed_are_run_again_and_nobody_else(served: Served) -> None:
    account, people = "dry", 50
    accounts = served.service.ledger.accounts
    await accounts.open_account(account, plan="growth")
    # About 430 mc an answer, and 1,260 reserved for each: some get one, the others fall back.
    await accounts.grant(
        account, amount_mc=12_000, kind=GrantKind.PROMOTIONAL, reference="too little"
    )
    bodies = {
        body["execution_id"]: body
        for body in (request_body(number, account_id=account) for number in range(people))
    }
    client = await served.client(Scope.EXECUTE, account_id=account)
    first = [await execute(client, body) for body in bodies.values()]
    answered = {result["execution_id"] for result in first if result["status"] == "model"}
    assert 0 < len(answered) < people
    charged_mc = (await accounts.balance(account)).charged_mc

    found = await missed(client, list(bodies))
    for item in found:
        if item["execution_id"] in answered:
            assert (item["state"], item["ask_as"], item["kept"]) == ("answered", None, True)
            assert item["charged_mc"] > 0
        else:
            assert (item["state"], item["kept"]) == ("fell_back", True)
            assert item["group"] == "credits"
            assert item["reason"] in ("insufficient_credits", "execution_too_large")
            assert "credits" in item["why"]
            assert item["ask_as"] == f"{item['execution_id']}:r1"
            assert set(item["reasons"].values()) == {item["reason"]}

    await accounts.grant(account, amount_mc=10**6, kind=GrantKind.PROMOTIONAL, reference="topped")
    calls = served.mock.stats()["requests"]
    again = [
        await execute(client, bodies[item["execution_id"]] | {"execution_id": item["ask_as"]})
        for item in found
        if item["ask_as"]
    ]
    assert len(again) == people - len(answered)
    assert {result["status"] for result in again} == {"model"}
    assert served.mock.stats()["requests"] == calls + len(again)
    balance = await accounts.balance(account)
    assert balance.charged_mc == charged_mc + sum(result["charged_mc"] for result in again)

    for item in await missed(client, list(bodies)):
        assert (item["state"], item["ask_as"]) == ("answered", None)
        retry = "" if item["execution_id"] in answered else ":r1"
        assert item["asked_as"] == item["execution_id"] + retry
    repeated = [await execute(client, body) for body in bodies.values()]
    assert [result["values"] for result in repeated] == [result["values"] for result in first]
    assert (await accounts.balance(account)).charged_mc == balance.charged_mc
    await client.aclose()


async def test_the_last_of_many_retries_is_found(served: Served) -> None:
    account = "retried"
    accounts = served.service.ledger.accounts
    await accounts.open_account(account, plan="growth")
    first = request_body(account_id=account, execution_id="often:route:1")
    for number in range(12):
        retry = f":r{number}" if number else ""
        await execute(served.operator, first | {"execution_id": f"often:route:1{retry}"})
        [item] = await missed(served.operator, ["often:route:1"], account_id=account)
        assert item["asked_as"] == f"often:route:1{retry}"
        assert item["ask_as"] == f"often:route:1:r{number + 1}"


async def test_what_runs_is_pending_and_what_was_never_asked_is_unknown(served: Served) -> None:
    served.mock.play("delay_ms=1500")
    body = request_body(execution_id="slow:route:1")
    running = asyncio.create_task(execute(served.operator, body))
    try:
        async with asyncio.timeout(10):
            while True:
                slow, never = await missed(
                    served.operator, ["slow:route:1", "never:route:1"], account_id=ACCOUNT
                )
                if slow["state"] == "pending":
                    break
                await asyncio.sleep(0.02)
        off = (await served.operator.put(f"{SWITCHES}/workspace/retail", json={"off": True})).json()
        other = (await served.operator.put(f"{SWITCHES}/workspace/x", json={"off": False})).json()
    finally:
        served.mock.play(None)
        await served.operator.put(f"{SWITCHES}/workspace/retail", json={"off": False})
    assert slow["ask_as"] == "slow:route:1"
    assert slow["retry_after_ms"] > 0
    assert (never["state"], never["ask_as"]) == ("unknown", "never:route:1")
    assert (off["open_executions"], off["exact"]) == (1, True)
    assert off["open_mc"] == (await running)["reserved_mc"]
    assert (other["open_executions"], other["open_mc"], other["new"]) == (0, 0, False)


async def test_law_15_missed_takes_a_thousand_ids_of_the_keys_account(served: Served) -> None:
    client = await served.client(Scope.EXECUTE)
    ids = [f"nobody-{number}:route:1" for number in range(1_000)]
    assert {item["state"] for item in await missed(client, ids)} == {"unknown"}
    for body, status in (
        ({"execution_ids": [*ids, "one more"]}, 422),
        ({"execution_ids": []}, 422),
        ({"execution_ids": ["a\nb"]}, 422),
        ({"execution_ids": [7]}, 422),
        ({"execution_ids": ids, "account_id": "dry"}, 404),
    ):
        assert (await client.post("/v1/executions:missed", json=body)).status_code == status
    await client.aclose()
    reader = await served.client(Scope.BILLING_READ)
    answer = await reader.post("/v1/executions:missed", json={"execution_ids": ids})
    assert answer.status_code == 403
    await reader.aclose()
