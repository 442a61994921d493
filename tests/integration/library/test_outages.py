"""SQL away: what is published goes on, and what needs SQL says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from creditgate import ActionSourceUnavailable, ExecutionResult
from runtime.store.database import StoreUnavailable
from runtime.web.service import open_service as open_parts
from tests.harness.library import draft
from tests.harness.postgres import PostgresServer, PostgresUnavailable, refuse_or_skip
from tests.harness.service import OpenService, Served, request_body
from tests.harness.workbench import ACCOUNT, make_config, make_request

BASE = f"/v1/accounts/{ACCOUNT}/actions"


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, to kill."""
    server = PostgresServer()
    try:
        server.start()
    except PostgresUnavailable as error:
        refuse_or_skip(error)
        raise
    yield server
    server.stop()


def on(url: str) -> Any:
    """A change of the config: the database."""

    def change(config: dict[str, Any]) -> None:
        config["archive"] = {"url": url}

    return change


async def published(served: Served, action_id: str) -> str:
    saved = await served.operator.put(
        f"{BASE}/{action_id}", json={"name": action_id, "draft": draft()}
    )
    assert saved.status_code == 201, saved.text
    done = await served.operator.post(
        f"{BASE}/{action_id}:publish", json={}, headers={"If-Match": saved.headers["ETag"]}
    )
    assert done.status_code == 200, done.text
    return done.headers["ETag"]


async def run(served: Served, number: int, action_id: str) -> httpx.Response:
    body = request_body(number, action=action_id, execution_id=f"j{number}:{action_id}:1")
    return await served.operator.post("/v1/executions", json=body)


@pytest.mark.long
async def test_law_4_executions_go_on_while_postgresql_is_away(
    open_service: OpenService, own_postgres: PostgresServer
) -> None:
    async with open_service(change=on(own_postgres.new_database())) as served:
        await served.open_account()
        etag = await published(served, "ran")
        await published(served, "never_ran")
        assert (await run(served, 1, "ran")).status_code == 200
        await asyncio.to_thread(own_postgres.kill)
        for number in range(2, 6):
            answer = await run(served, number, "ran")
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] in ("model", "mixed")
        answer = await run(served, 6, "never_ran")
        assert answer.status_code == 200, answer.text
        assert (await run(served, 7, "unknown")).status_code == 404
        tag = {"If-Match": etag}
        for answer in (
            await served.operator.put(f"{BASE}/new", json={"name": "x", "draft": draft()}),
            await served.operator.put(
                f"{BASE}/ran", json={"name": "x", "draft": draft()}, headers=tag
            ),
            await served.operator.post(f"{BASE}/ran:publish", json={}, headers=tag),
            await served.operator.post(f"{BASE}/ran:archive", headers=tag),
            await served.operator.get(BASE),
            await served.operator.get(f"{BASE}/ran"),
            await served.operator.get(f"{BASE}/ran/history"),
            await served.operator.get(f"{BASE}/ran/used-where"),
            await served.operator.get(f"/v1/accounts/{ACCOUNT}/statement"),
        ):
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.json()["type"] == "urn:creditgate:problem:store_unavailable"
        await asyncio.to_thread(own_postgres.start)
        async with asyncio.timeout(20):
            while (await served.operator.get(BASE)).status_code != 200:  # noqa: ASYNC110 - of other processes
                await asyncio.sleep(0.2)
        again = await served.operator.post(f"{BASE}/ran:publish", json={}, headers=tag)
        assert again.status_code == 200


async def test_law_4_a_process_that_starts_without_sql_runs_what_redis_has(
    open_service: OpenService, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with open_service() as served:
        await served.open_account()
        await published(served, "greet")
        config = make_config(
            served.service.config.data_dir,
            redis_url,
            key_prefix,
            f"{served.mock.url}/v1",
            change=on(f"sqlite:///{tmp_path}/no/such/folder/store.db"),
        )
        async with open_parts(config) as other:
            result = await other.runtime.execute(make_request(1, action="greet"))
            assert isinstance(result, ExecutionResult)
            assert result.status == "model"
            with pytest.raises(StoreUnavailable):
                await other.library.find(ACCOUNT, "greet")
            with pytest.raises(StoreUnavailable):
                await other.library.create(
                    ACCOUNT, "new", name="x", workspace_id=None, draft=draft(), by="test"
                )


async def test_law_4_nobody_can_tell_where_redis_is_new_and_sql_away(
    imported_litellm: None, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    config = make_config(
        tmp_path / "data",
        redis_url,
        key_prefix,
        "http://127.0.0.1:9/v1",
        change=on(f"sqlite:///{tmp_path}/no/such/folder/store.db"),
    )
    async with open_parts(config) as service:
        with pytest.raises(ActionSourceUnavailable, match="as soon as the database"):
            await service.runtime.execute(make_request(1, action="greet"))
