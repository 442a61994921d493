"""What operators see of a service: health, metrics, request logs, traces, and its pages."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime.api_keys.keys import Scope
from runtime.store.database import Database, StoreUnavailable
from runtime.store.reopening import Store
from runtime.telemetry.metrics import Metrics
from runtime.web.readiness import Readiness
from runtime.web.routes.docs import POLICY
from tests.harness.paths import ROOT
from tests.harness.private_redis import PrivateRedis
from tests.harness.service import OpenService, Served, open_served, request_body
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SERIES = re.compile(r"(creditgate_\w+?)(?:_total)?(\{.*\})? (\S+)")


def series(text: str) -> dict[str, float]:
    """The values of creditgate's series, by name and labels."""
    found = {}
    for line in text.splitlines():
        if matched := _SERIES.fullmatch(line):
            found[f"{matched[1]}{matched[2] or ''}"] = float(matched[3])
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    imported_litellm: None, redis_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One service for most of the tests."""
    folder = tmp_path_factory.mktemp("operations")
    async with open_served(folder, redis_server.url, f"t{folder.name}") as opened:
        await opened.open_account()
        yield opened


async def scrape(served: Served) -> dict[str, float]:
    answer = await served.operator.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return series(answer.text)


async def test_metrics_count_executions_calls_requests_and_refused_keys(served: Served) -> None:
    client = await served.client(Scope.EXECUTE)
    before = await scrape(served)
    answers = [await client.post("/v1/executions", json=request_body(n)) for n in (101, 102, 102)]
    charged_mc = sum(answer.json()["charged_mc"] for answer in answers[:2])
    client.headers["Authorization"] = "Bearer nonsense"
    for number in range(50):
        await client.get(f"/v1/accounts/account-{number}/balance")
    await client.get("/nowhere/at/all")
    await client.aclose()

    after = await scrape(served)
    found = {name: value - before.get(name, 0) for name, value in after.items()}
    live = 'reason_group="",source="live",status="model"'
    assert found["creditgate_executions{" + live + "}"] == 3
    assert found['creditgate_charged_millicredits{source="live"}'] == charged_mc
    calls = sum(n for name, n in found.items() if name.startswith("creditgate_provider_att"))
    assert calls == 2, "a replayed outcome calls nobody"
    route = 'method="GET",route="/v1/accounts/{account_id}/balance",status="401"'
    assert found["creditgate_http_requests{" + route + "}"] == 50
    assert found['creditgate_key_refusals{status="401"}'] == 50
    assert found['creditgate_http_requests{method="GET",route="none",status="404"}'] == 1
    assert after["creditgate_reserved_executions"] == 0
    assert after["creditgate_spool_waiting"] == 0
    assert found['creditgate_ledger_script_seconds_count{answered="true"}'] >= 4
    assert after["creditgate_archive_lag_entries"] >= 0
    named = {name for name in found if "account-" in name or ACCOUNT in name}
    assert named == set(), "what callers choose adds no series"


@pytest.mark.long
async def test_metrics_can_have_a_port_of_their_own(open_service: OpenService) -> None:
    def change(config: dict[str, Any]) -> None:
        config["service"] = {"metrics_port": 0}

    async with open_service(change=change) as served:
        assert (await served.operator.get("/metrics")).status_code == 404
        document = (await served.operator.get("/openapi.json")).json()
        assert "/metrics" not in document["paths"]


async def test_the_page_lists_every_metric_with_its_labels() -> None:
    page = (ROOT / "docs" / "service.md").read_text("utf-8")
    rows = re.findall(r"^\| `(creditgate_\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE)
    documented = {
        (name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    }
    made = set()
    for metric in Metrics().registry.collect():
        if metric.name.startswith("creditgate_"):
            suffix = "_total" if metric.type == "counter" else ""
            made.add((f"{metric.name}{suffix}", metric.type))
    assert {(name, kind) for name, kind, _ in documented} == made
    labels = {name: found for name, _, found in documented}
    assert labels["creditgate_executions_total"] == ("source", "status", "reason_group")
    assert labels["creditgate_http_requests_total"] == ("method", "route", "status")


async def test_requests_are_logged_by_route_and_keyed_hash(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="creditgate.http")
    client = await served.client(Scope.EXECUTE)
    wanted = {"X-Request-Id": "shop-7.a"}
    answer = await client.post("/v1/executions", json=request_body(1), headers=wanted)
    assert answer.headers["x-request-id"] == "shop-7.a"
    made = await client.get("/v1/accounts/a/balance", headers={"X-Request-Id": "a b\tc"})
    assert re.fullmatch(r"[0-9a-f]{16}", made.headers["x-request-id"])
    batch = {"executions": [request_body(number) for number in (2, 3)]}
    several = await client.post("/v1/executions:batch", json=batch)
    assert several.status_code == 200, several.text
    await client.get("/healthz")
    await client.aclose()
    lines = [vars(record) for record in caplog.records if record.name == "creditgate.http"]
    one, other, two = lines
    assert (one["route"], one["status"], one["request_id"]) == ("/v1/executions", 200, "shop-7.a")
    assert len(one["execution_key"]) == 22
    assert other["route"] == "/v1/accounts/{account_id}/balance"
    assert (two["executions"], len(two["execution_keys"])) == (2, 2)
    assert "person" not in json.dumps([str(line) for line in lines])


async def test_it_is_ready_while_sql_is_away(served: Served) -> None:
    def away() -> AbstractAsyncContextManager[Database]:
        raise StoreUnavailable("no route to the database")

    store = Store(away)
    found = await Readiness(served.service.client, store).check()
    assert (found.is_ready, found.redis, found.sql) == (True, True, False)


@pytest.mark.long
async def test_it_is_ready_while_redis_answers(
    open_service: OpenService, private_redis: PrivateRedis
) -> None:
    def change(config: dict[str, Any]) -> None:
        config["redis"]["url"] = private_redis.url

    async with open_service(change=change) as served:
        assert (await served.operator.get("/healthz")).json() == {"status": "ok"}
        found = await served.operator.get("/readyz")
        assert (found.status_code, found.json()["redis"], found.json()["sql"]) == (200, True, True)
        await private_redis.stop()
        await asyncio.sleep(0.6)
        found = await served.operator.get("/readyz")
        assert (found.status_code, found.json()["type"]) == (
            503,
            "urn:creditgate:problem:not_ready",
        )
        assert "Redis does not answer" in found.json()["detail"]
        assert (await served.operator.get("/healthz")).status_code == 200
        await private_redis.start()


async def test_it_is_ready_no_more_once_it_drains(served: Served) -> None:
    assert (await served.operator.get("/readyz")).json()["status"] == "ready"
    readiness = Readiness(served.service.client, served.service.store)
    assert (await readiness.check()).is_ready
    readiness.drain()
    found = await readiness.check()
    assert (found.is_ready, found.draining, found.redis) == (False, True, True)


async def test_the_documentation_page_loads_nothing_from_elsewhere(served: Served) -> None:
    page = await served.operator.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "://" not in page.text
    loaded = re.findall(r'(?:src|href|spec-url)="([^"]+)"', page.text)
    assert loaded == ["/openapi.json", "/docs/redoc.js"]
    answers = [await served.operator.get(path) for path in loaded]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["content-type"].startswith("text/javascript")
    assert b"@license MIT" in answers[1].content[:500]


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A receiver of OTLP over HTTP on loopback; yield its address, and what it gets."""
    received: list[ExportTraceServiceRequest] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            pytest.fail("aiohttp decodes it")
        received.append(ExportTraceServiceRequest.FromString(body))
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces", received
    finally:
        await runner.cleanup()


@pytest.mark.long
async def test_traces_reach_a_collector_without_personal_data(open_service: OpenService) -> None:
    async with collector() as (endpoint, received):

        def change(config: dict[str, Any]) -> None:
            config["tracing"] = {"otlp_endpoint": endpoint}

        async with open_service(change=change) as served:
            await served.open_account()
            client = await served.client(Scope.EXECUTE)
            answer = await client.post("/v1/executions", json=request_body(1))
            assert answer.json()["status"] == "model"
            await client.aclose()
        spans = [
            span
            for request in received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        by_name = {span.name: span for span in spans}
        call = next(span for span in spans if span.name.startswith("chat "))
        execution, request = by_name["execution"], by_name["POST /v1/executions"]
        assert call.parent_span_id == execution.span_id
        assert execution.parent_span_id == request.span_id
        attributes = {one.key: one.value for one in call.attributes}
        used = answer.json()["usage"]["output_tokens"]
        assert attributes["gen_ai.usage.output_tokens"].int_value == used
        told = b"".join(one.SerializeToString() for one in received)
        for private in ("person-1", "journey-1", "Where is my card", ACCOUNT):
            assert private.encode() not in told


@pytest.mark.long
async def test_a_collector_that_is_away_harms_nothing(open_service: OpenService) -> None:
    def change(config: dict[str, Any]) -> None:
        config["tracing"] = {"otlp_endpoint": "http://127.0.0.1:9/v1/traces"}

    async with open_service(change=change) as served:
        await served.open_account()
        client = await served.client(Scope.EXECUTE)
        answer = await client.post("/v1/executions", json=request_body(1))
        assert answer.json()["status"] == "model"
        await client.aclose()
    assert isinstance(answer, httpx.Response)
