"""What requests can add to logs, metrics and traces is bounded (law 15)."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from starlette.types import Message, Receive, Scope, Send

from runtime.observing import ExecutionBegan, ExecutionEnded
from runtime.telemetry.metrics import Metrics
from runtime.telemetry.request_log import log_request
from runtime.telemetry.requests import (
    CurrentRequest,
    RequestEnded,
    current_request,
    note_execution,
)
from runtime.telemetry.tracing import Tracing
from runtime.web.observed import NO_ROUTE, ObservedApp
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes

MB = 1_000_000
EXECUTION = ExecutionEnded("live", "model", None, 1, False, 0.1, "k" * 22, "writer", "v1")


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def asked(method: str = "GET", *headers: tuple[bytes, bytes]) -> list[RequestEnded]:
    """What observers hear of one request, without an event loop: nothing of it waits."""
    heard: list[Any] = []
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope = {"type": "http", "method": method, "path": "/x", "headers": list(headers)}
    with pytest.raises(StopIteration):
        ObservedApp(app, heard.append)(scope, receive, send).send(None)
    return [event for event in heard if isinstance(event, RequestEnded)]


def series(metrics: Metrics) -> int:
    return sum(len(metric.samples) for metric in metrics.registry.collect())


def test_law_15_what_callers_send_adds_no_series_to_the_metrics() -> None:
    metrics = Metrics()

    def observe(count: int) -> None:
        for number in range(count):
            [ended] = asked(f"METHOD{number}", (b"x-request-id", b"%d" % number))
            metrics.observe(ended)

    observe(1)
    before = series(metrics)
    assert_linear(int, observe, 200)
    assert series(metrics) == before
    assert_cpu(lambda: observe(100), 0.05)
    assert peak_bytes(lambda: observe(1_000)) < MB


@pytest.mark.parametrize(
    "sent", [b"", b"a b", b"jane@example.com", b"x" * 65, b"x" * MB, b"\xff", b"a\r\nb"]
)
def test_law_15_a_request_id_that_is_not_well_formed_is_replaced(sent: bytes) -> None:
    def ask(text: bytes) -> RequestEnded:
        [ended] = asked("GET", (b"x-request-id", text))
        return ended

    ended = ask(sent)
    assert re.fullmatch("[0-9a-f]{16}", ended.request.request_id)
    assert ended.route == NO_ROUTE
    assert_linear(lambda size: b"x" * size, ask, 100_000)
    assert_cpu(lambda: ask(sent), 0.05)
    assert peak_bytes(lambda: ask(sent)) < MB


def test_law_15_a_log_line_names_twenty_executions_of_a_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="creditgate.http")

    def run(executions: int) -> None:
        request = CurrentRequest("r1")
        token = current_request.set(request)
        for _ in range(executions):
            note_execution(EXECUTION)
        current_request.reset(token)
        log_request(RequestEnded("POST", "/v1/executions:batch", 200, 1, "key", request))

    run(1_000)
    [line] = [vars(record) for record in caplog.records]
    assert line["executions"] == 1_000
    assert line["execution_keys"] == ["k" * 22] * 20
    assert_linear(int, run, 1_000)
    assert_cpu(lambda: run(1_000), 0.05)
    assert peak_bytes(lambda: run(1_000)) < MB


class Stuck(SpanExporter):
    """A collector that takes nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Do nothing."""


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_law_15_spans_that_no_collector_takes_are_dropped() -> None:
    tracing = Tracing(Stuck(), 1)

    def execute(count: int) -> None:
        for _ in range(count):
            tracing.observe(ExecutionBegan("live"))
            tracing.observe(EXECUTION)

    execute(5_000)
    assert peak_bytes(lambda: execute(8_000)) < 16 * MB
    assert_linear(int, execute, 200)
    assert_cpu(lambda: execute(100), 0.05)
    tracing.close()
