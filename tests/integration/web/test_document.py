"""The OpenAPI document: what it promises, and its examples, each sent to the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has none

from runtime.redis.embedded import EmbeddedRedis
from tests.harness.openapi import Operation, operations
from tests.harness.service import Served, open_served
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Open to all, so that no key can be wrong and none can ask too often.
NO_KEY = {"live", "ready", "metrics", "take_stripe_event"}
EXAMPLE_HOST = "hooks.example.com"
# What the examples name that is not there: the answer must still be one of the documented.
MAY_BE_MISSING = {404, 409, 412, 428}


def with_quick(config: dict[str, Any]) -> None:
    """Add the model that the examples name."""
    config["models"]["quick"] = config["models"]["writer"]
    rates = config["rate_cards"][0]["rates"]
    rates["quick"] = rates["writer"]


@dataclass(frozen=True)
class Documented:
    """A service and its document."""

    served: Served
    document: dict[str, Any]

    @property
    def operations(self) -> list[Operation]:
        return list(operations(self.document))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    imported_litellm: None, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Documented]:
    folder = tmp_path_factory.mktemp("document")
    async with open_served(
        folder, redis_server.url, "document", with_quick, timeout_ms=10_000
    ) as served:
        await served.open_account(amount_mc=500_000_000)
        answer = await served.operator.get("/openapi.json")
        yield Documented(served, answer.json())


@pytest.fixture(autouse=True)
def _example_webhook(refused_connections: list[str]) -> Iterator[None]:
    """Forgive what is sent to the destination that an example makes."""
    yield
    refused_connections[:] = [host for host in refused_connections if host != EXAMPLE_HOST]


async def test_no_operation_has_a_default_answer_or_a_5xx_but_503(api: Documented) -> None:
    for operation in api.operations:
        statuses = set(operation.spec["responses"])
        assert "default" not in statuses, operation.name
        assert {status for status in statuses if status >= "5"} <= {"503"}, operation.name
        assert "402" not in statuses, operation.name


async def test_every_operation_with_a_key_documents_what_a_key_may_meet(api: Documented) -> None:
    for operation in api.operations:
        statuses = set(operation.spec["responses"])
        if operation.spec.get("security"):
            assert {"401", "403", "429", "503"} <= statuses, operation.name
        else:
            assert operation.name in NO_KEY, operation.name
        if "requestBody" in operation.spec:
            assert {"400", "413", "415"} <= statuses, operation.name


async def test_every_operation_is_described_with_a_name_of_its_own(api: Documented) -> None:
    names = [operation.name for operation in api.operations]
    assert len(names) == len(set(names))
    for operation in api.operations:
        assert operation.spec.get("summary"), operation.name
        assert operation.spec.get("description"), operation.name
        assert operation.name.isidentifier(), operation.name


async def test_every_error_is_a_problem_and_every_answer_has_a_type(api: Documented) -> None:
    for operation in api.operations:
        for status, answer in operation.spec["responses"].items():
            content = answer.get("content", {})
            if status >= "4":
                assert list(content) == ["application/problem+json"], (operation.name, status)
            elif status != "204":
                assert content, (operation.name, status)
                for kind in content.values():
                    assert kind.get("schema"), (operation.name, status)


async def test_every_example_is_valid_by_its_own_schema(api: Documented) -> None:
    for operation in api.operations:
        for where, schema, example in examples(operation):
            whole = {**schema, "components": api.document["components"]}
            faults = [fault.message for fault in Draft202012Validator(whole).iter_errors(example)]
            assert not faults, (operation.name, where, faults)


async def test_every_example_gets_a_documented_answer(api: Documented) -> None:
    # Those that close and remove come last, or there is nothing left for the others.
    ordered = sorted(api.operations, key=lambda one: (one.method == "DELETE", "close" in one.name))
    for operation in ordered:
        bodies = operation.bodies() | {kind: Text(kind, t) for kind, t in operation.texts().items()}
        for name, body in (bodies or {"": None}).items():
            answer = await send_example(api.served.operator, operation, body)
            where = (operation.name, name, answer.status_code, answer.text[:500])
            documented = operation.spec["responses"].get(str(answer.status_code))
            assert documented is not None, where
            assert answer.status_code < 400 or answer.status_code in MAY_BE_MISSING, where
            kind = answer.headers.get("Content-Type", "").partition(";")[0]
            assert kind in documented.get("content", {"": None}), where
            if kind.endswith("json"):
                schema = documented["content"][kind]["schema"]
                whole = {**schema, "components": api.document["components"]}
                faults = [
                    one.message for one in Draft202012Validator(whole).iter_errors(answer.json())
                ]
                assert not faults, (*where, faults)


async def test_a_wrong_method_is_told_all_that_a_path_has(api: Documented) -> None:
    answer = await api.served.operator.request("TRACE", f"/v1/accounts/{ACCOUNT}/keys")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
    answer = await api.served.operator.put(f"/v1/accounts/{ACCOUNT}:close")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@dataclass(frozen=True)
class Text:
    """A body that is not JSON."""

    kind: str
    text: str


async def send_example(
    client: httpx.AsyncClient, operation: Operation, body: Any
) -> httpx.Response:
    headers = operation.headers()
    sent: dict[str, Any] = {} if body is None else {"json": body}
    if isinstance(body, Text):
        headers["Content-Type"] = body.kind
        sent = {"content": body.text}
    return await client.request(
        operation.method,
        operation.url(),
        params=operation.query(examples=True),
        headers=headers,
        timeout=60,
        **sent,
    )


def examples(operation: Operation) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Each example of a body or an answer, with the schema that it must obey."""
    request = operation.spec.get("requestBody", {}).get("content", {})
    for kind, media in request.items():
        for name, body in operation.bodies().items():
            yield f"body {kind} {name}", media["schema"], body
    for status, answer in operation.spec["responses"].items():
        for media in answer.get("content", {}).values():
            given = [media["example"]] if "example" in media else []
            given += [one["value"] for one in media.get("examples", {}).values()]
            for example in given:
                yield f"answer {status}", media["schema"], example
