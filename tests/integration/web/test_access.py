"""Every route, tried with every kind of key. Routes are read from the document of the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from runtime.api_keys.keys import Scope, new_key_id, new_key_text
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.openapi import Operation, operations
from tests.harness.service import Served, open_served
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Of one length, and like nothing else in an answer.
OTHER = "an-account-of-others"
UNKNOWN = "an-account-of-nobody"


@dataclass(frozen=True)
class Takes:
    """What a route takes; no scope: it is open to all."""

    scope: Scope | None = None
    operator: bool = False


OPEN = Takes()
EXECUTING = Takes(Scope.EXECUTE)
PREVIEWING = Takes(Scope.PREVIEW)
BILLING_READER = Takes(Scope.BILLING_READ)
BILLING_WRITER = Takes(Scope.BILLING_WRITE)
ADMIN = Takes(Scope.ADMIN)
OPERATOR_BILLING = Takes(Scope.BILLING_WRITE, operator=True)
OPERATOR_ADMIN = Takes(Scope.ADMIN, operator=True)

TABLE = {
    "live": OPEN,
    "ready": OPEN,
    "metrics": OPEN,
    "models": PREVIEWING,
    "estimate": PREVIEWING,
    "get_execution": EXECUTING,
    "create_checkout": BILLING_WRITER,
    "list_payments": BILLING_READER,
    "get_payment": BILLING_READER,
    "get_top_up": BILLING_READER,
    "set_top_up": BILLING_WRITER,
    "take_stripe_event": OPEN,  # signed by Stripe
    "list_actions": PREVIEWING,
    "get_action": PREVIEWING,
    "put_action": ADMIN,
    "publish_action": ADMIN,
    "duplicate_action": ADMIN,
    "archive_action": ADMIN,
    "restore_action": ADMIN,
    "list_action_versions": PREVIEWING,
    "get_action_version": PREVIEWING,
    "compare_action_versions": PREVIEWING,
    "list_action_history": PREVIEWING,
    "list_action_uses": PREVIEWING,
    "list_switches": BILLING_READER,
    "switch_account": ADMIN,
    "switch_part": ADMIN,
    "find_missed": EXECUTING,
    "add_people": EXECUTING,
    "list_campaigns": EXECUTING,
    "get_campaign": EXECUTING,
    "change_campaign": EXECUTING,
    "rerun_campaign": EXECUTING,
    "estimate_rerun": EXECUTING,
    "preview": PREVIEWING,
    "run_execution": EXECUTING,
    "run_executions": EXECUTING,
    "put_account": OPERATOR_BILLING,
    "close_account": OPERATOR_BILLING,
    "get_balance": BILLING_READER,
    "grant_credits": OPERATOR_BILLING,
    "purchase_credits": OPERATOR_BILLING,
    "void_grant": OPERATOR_BILLING,
    "list_caps": BILLING_READER,
    "put_cap": ADMIN,
    "delete_cap": ADMIN,
    "get_statement": BILLING_READER,
    "get_entry": BILLING_READER,
    "get_usage": BILLING_READER,
    "get_performance": BILLING_READER,
    "list_keys": ADMIN,
    "get_contacts": BILLING_READER,
    "get_alert_marks": BILLING_READER,
    "list_deliveries": BILLING_READER,
    "list_destinations": BILLING_READER,
    "get_destination": BILLING_READER,
    "put_contacts": ADMIN,
    "put_alert_marks": ADMIN,
    "delete_alert_marks": ADMIN,
    "resend_delivery": ADMIN,
    "make_destination": ADMIN,
    "put_destination": ADMIN,
    "delete_destination": ADMIN,
    "rotate_destination": ADMIN,
    "test_destination": ADMIN,
    "list_all_deliveries": OPERATOR_ADMIN,
    "resend_any_delivery": OPERATOR_ADMIN,
    "list_operator_destinations": OPERATOR_ADMIN,
    "make_operator_destination": OPERATOR_ADMIN,
    "get_operator_destination": OPERATOR_ADMIN,
    "put_operator_destination": OPERATOR_ADMIN,
    "delete_operator_destination": OPERATOR_ADMIN,
    "rotate_operator_destination": OPERATOR_ADMIN,
    "test_operator_destination": OPERATOR_ADMIN,
    "make_key": ADMIN,
    "rename_key": ADMIN,
    "rotate_key": ADMIN,
    "revoke_key": ADMIN,
    "list_operator_keys": OPERATOR_ADMIN,
    "make_operator_key": OPERATOR_ADMIN,
    "rename_operator_key": OPERATOR_ADMIN,
    "rotate_operator_key": OPERATOR_ADMIN,
    "revoke_operator_key": OPERATOR_ADMIN,
}


def naming_account(body: Any, account_id: str) -> Any:
    """A body with another account's id wherever it names one."""
    if isinstance(body, list):
        return [naming_account(part, account_id) for part in body]
    if not isinstance(body, dict):
        return body
    changed = {name: naming_account(part, account_id) for name, part in body.items()}
    return changed | ({"account_id": account_id} if "account_id" in body else {})


@dataclass(frozen=True)
class Api:
    """The service under test, its operations, and a client without a key."""

    served: Served
    operations: list[Operation]
    client: httpx.AsyncClient

    @property
    def known(self) -> list[Operation]:
        """Those in the table; one that is not fails the test of that alone."""
        return [one for one in self.operations if one.name in TABLE]

    async def key(
        self, *scopes: Scope, account_id: str | None = ACCOUNT, expires_ms: int | None = None
    ) -> str:
        """The text of a new key."""
        _, text = await self.served.service.keys.make(
            account_id=account_id,
            name="test",
            scopes=scopes,
            created_by="test",
            expires_ms=expires_ms,
        )
        return text

    async def ask(
        self, operation: Operation, authorization: str | None, account_id: str, body: Any
    ) -> httpx.Response:
        """Send a request of an operation, with the document's examples where it needs values."""
        headers = operation.headers()
        if authorization is not None:
            headers["Authorization"] = authorization
        body = naming_account(body, account_id)
        query = operation.query()
        if any(one["name"] == "account_id" for one in operation.parameters("query")):
            query = operation.query(examples=True) | {"account_id": account_id}
        return await self.client.request(
            operation.method,
            operation.url(account_id=account_id),
            params=query,
            headers=headers,
            **({"json": body} if operation.bodies() else {}),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("access")
    async with (
        open_served(folder, redis_server.url, "access", timeout_ms=10_000) as served,
        httpx.AsyncClient(base_url=served.url) as client,
    ):
        await served.open_account(ACCOUNT)
        await served.open_account(OTHER)
        document = (await client.get("/openapi.json")).json()
        yield Api(served, list(operations(document)), client)


async def test_the_table_has_every_route_and_none_that_is_not_there(api: Api) -> None:
    assert sorted(one.name for one in api.operations) == sorted(TABLE)


async def test_the_document_says_which_routes_take_a_key(api: Api) -> None:
    for operation in api.known:
        takes_key = TABLE[operation.name] != OPEN
        assert bool(operation.spec.get("security")) == takes_key, operation.name


@pytest.mark.long
async def test_without_a_key_in_force_every_route_gives_the_same_401(api: Api) -> None:
    expired = await api.key(Scope.ADMIN, expires_ms=1)
    revoked = await api.key(Scope.ADMIN)
    await api.served.service.keys.revoke(ACCOUNT, revoked.split("_")[1])
    good = await api.key(Scope.ADMIN)
    key_id = good.split("_")[1]
    bad = [
        None,
        "",
        "Bearer",
        f"Basic {good}",
        "Bearer garbage",
        f"Bearer {good[:-1]}",
        f"Bearer {new_key_text(key_id)}",
        f"Bearer {new_key_text(new_key_id())}",
        f"Bearer {expired}",
        f"Bearer {revoked}",
    ]
    answers = set()
    for operation in api.known:
        if TABLE[operation.name] == OPEN:
            continue
        for authorization in bad:
            answer = await api.ask(operation, authorization, ACCOUNT, {})
            assert answer.status_code == 401, (operation.name, authorization)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            answers.add(answer.content)
    assert len(answers) == 1


@pytest.mark.long
@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("is_operator", [False, True])
async def test_a_key_may_do_what_its_scope_says_and_nothing_else(
    api: Api, scope: Scope, is_operator: bool
) -> None:
    text = await api.key(scope, account_id=None if is_operator else ACCOUNT)
    for operation in api.known:
        takes = TABLE[operation.name]
        # An empty body: those who may are told which fields it lacks, and change nothing.
        answer = await api.ask(operation, f"Bearer {text}", ACCOUNT, {})
        may = takes.scope is None or (
            scope in (takes.scope, Scope.ADMIN) and (is_operator or not takes.operator)
        )
        assert answer.status_code != 401, operation.name
        assert (answer.status_code != 403) == may, (operation.name, answer.text)


@pytest.mark.long
@pytest.mark.parametrize("scope", Scope)
async def test_accounts_of_others_look_like_accounts_that_are_not_there(
    api: Api, scope: Scope
) -> None:
    authorization = f"Bearer {await api.key(scope)}"
    for operation in api.known:
        takes = TABLE[operation.name]
        if not operation.names_account or takes == OPEN:
            continue
        for body in operation.bodies().values() or [None]:
            foreign, unknown = await asyncio.gather(
                api.ask(operation, authorization, OTHER, body),
                api.ask(operation, authorization, UNKNOWN, body),
            )
            may = scope in (takes.scope, Scope.ADMIN) and not takes.operator
            assert foreign.content.replace(OTHER.encode(), UNKNOWN.encode()) == unknown.content
            assert foreign.status_code == unknown.status_code
            found = foreign.json()
            if foreign.status_code == 200:  # a batch, whose parts are answered each by itself
                found = found["items"][0]["body"]
            expected = "account_not_found" if may else "forbidden"
            assert found["type"].endswith(expected), (operation.name, foreign.text)
