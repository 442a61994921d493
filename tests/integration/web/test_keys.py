"""Keys of the API over HTTP: made, shown once, listed, rotated, renamed, revoked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from runtime.api_keys.keys import Scope
from runtime.redis.embedded import EmbeddedRedis
from tests.harness.service import Served, open_served
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = f"/v1/accounts/{ACCOUNT}/keys"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    folder: Path = tmp_path_factory.mktemp("keys")
    async with open_served(folder, redis_server.url, "keyroutes", timeout_ms=10_000) as opened:
        await opened.open_account()
        await opened.open_account("other")
        yield opened


async def make(client: httpx.AsyncClient, path: str = KEYS, **changes: object) -> dict[str, str]:
    body = {"name": "test", "scopes": ["billing:read"], **changes}
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    found: dict[str, str] = answer.json()
    return found


async def status_with(served: Served, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers) as client:
        return (await client.get(f"/v1/accounts/{ACCOUNT}/balance")).status_code


async def test_a_secret_is_shown_once_and_stored_nowhere(served: Served) -> None:
    made = await make(served.operator)
    assert await status_with(served, made["secret"]) == 200
    listed = await served.operator.get(KEYS)
    assert made["key_id"] in [one["key_id"] for one in listed.json()["items"]]
    secret = made["secret"].split("_", 2)[2]
    assert secret not in listed.text
    folder = served.service.config.data_dir
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]


async def test_a_rotated_key_goes_on_for_its_grace_and_then_only_with_its_new_secret(
    served: Served,
) -> None:
    made = await make(served.operator)
    path = f"{KEYS}/{made['key_id']}:rotate"
    graceful = (await served.operator.post(path, json={"grace_s": 3_600})).json()
    assert graceful["key_id"] == made["key_id"]
    assert [await status_with(served, one["secret"]) for one in (made, graceful)] == [200, 200]
    sudden = (await served.operator.post(path, json={})).json()
    tried = [await status_with(served, one["secret"]) for one in (made, graceful, sudden)]
    assert tried == [401, 401, 200]


async def test_a_revoked_key_is_refused_stays_listed_and_can_not_be_rotated(
    served: Served,
) -> None:
    made = await make(served.operator)
    assert await status_with(served, made["secret"]) == 200
    first = (await served.operator.delete(f"{KEYS}/{made['key_id']}")).json()
    again = (await served.operator.delete(f"{KEYS}/{made['key_id']}")).json()
    assert first["revoked_at"] is not None
    assert first == again
    assert await status_with(served, made["secret"]) == 401
    rotated = await served.operator.post(f"{KEYS}/{made['key_id']}:rotate", json={})
    assert (rotated.status_code, rotated.json()["type"]) == (
        409,
        "urn:creditgate:problem:key_revoked",
    )


async def test_a_key_gets_another_name(served: Served) -> None:
    made = await make(served.operator)
    answer = await served.operator.patch(f"{KEYS}/{made['key_id']}", json={"name": "better"})
    assert answer.json()["name"] == "better"
    assert await status_with(served, made["secret"]) == 200


async def test_pages_of_keys_have_each_key_once(served: Served) -> None:
    made = {(await make(served.operator))["key_id"] for _ in range(5)}
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await served.operator.get(KEYS, params=query)).json()
        assert 1 <= len(page["items"]) <= 2
        seen += [one["key_id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen))
    assert made <= set(seen)


async def test_an_account_manages_its_own_keys_and_no_others(served: Served) -> None:
    admin = await served.client(Scope.ADMIN)
    own = await make(admin, scopes=["execute", "admin"])
    foreign = await make(served.operator, "/v1/accounts/other/keys")
    operators = await make(served.operator, "/v1/keys")
    body = {"name": "mine now", "scopes": ["admin"]}
    assert (await admin.post("/v1/accounts/other/keys", json=body)).status_code == 404
    assert (await admin.post("/v1/keys", json=body)).status_code == 403
    assert (await admin.get("/v1/keys")).status_code == 403
    for key_id in (foreign["key_id"], operators["key_id"], "0" * 16):
        for answer in (
            await admin.delete(f"{KEYS}/{key_id}"),
            await admin.post(f"{KEYS}/{key_id}:rotate", json={}),
            await admin.patch(f"{KEYS}/{key_id}", json={"name": "x"}),
        ):
            assert answer.status_code == 404
            unknown = answer.text.replace(key_id, "KEY")
            assert unknown == (
                '{"type":"urn:creditgate:problem:key_not_found","title":"No such key",'
                '"status":404,"detail":"there is no key KEY that may be seen here"}'
            )
    assert (await admin.delete(f"{KEYS}/{own['key_id']}")).status_code == 200
    await admin.aclose()


@pytest.mark.parametrize(
    "change, field",
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"name": ""}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"account_id": "other"}, "account_id"),
    ],
)
async def test_a_key_that_can_not_be_made_names_its_field(
    served: Served, change: dict[str, object], field: str
) -> None:
    body = {"name": "test", "scopes": ["execute"], **change}
    answer = await served.operator.post(KEYS, json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_no_key_is_made_for_an_account_that_is_not_there(served: Served) -> None:
    body = {"name": "test", "scopes": ["execute"]}
    answer = await served.operator.post("/v1/accounts/nobody/keys", json=body)
    assert (answer.status_code, answer.json()["type"]) == (
        404,
        "urn:creditgate:problem:account_not_found",
    )
