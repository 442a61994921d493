"""POST /v1/executions and :batch on a real service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runtime.api_keys.keys import Scope
from runtime.web.execution_bodies import ExecutionAnswer
from tests.harness.service import Served, open_served, request_body

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server,
) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    async with open_served(folder, redis_server.url, "executions-http") as served:
        await served.open_account()
        yield served


async def test_an_execution_is_answered_with_all_of_its_result(served: Served) -> None:
    client = await served.client(Scope.EXECUTE)
    answer = await client.post("/v1/executions", json=request_body(1))
    assert answer.status_code == 200, answer.text
    found = ExecutionAnswer.model_validate(answer.json(), strict=True)
    assert (found.status, found.kept, found.replayed) == ("model", True, False)
    assert found.charged_mc > 0
    again = (await client.post("/v1/executions", json=request_body(1))).json()
    assert (again["replayed"], again["values"]) == (True, found.values)
    b = await client.post(
        "/v1/executions:batch",
        json={
            "executions": [
                request_body(1),
                request_body(2),
                {},
                request_body(3, account_id="other"),
                request_body(3, action="nope"),
                request_body(1, person_id="x"),
            ]
        },
    )
    print(b.text)
    assert [i["status"] for i in b.json()["items"]] == [200, 200, 422, 404, 404, 409]
