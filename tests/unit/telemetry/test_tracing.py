"""Spans, as an exporter gets them."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from fallback.reasons import FallbackReason
from runtime.observing import AttemptEnded, ExecutionBegan, ExecutionEnded
from runtime.telemetry.requests import CurrentRequest, RequestBegan, RequestEnded
from runtime.telemetry.tracing import Tracing

EXECUTION = ExecutionEnded(
    source="live",
    status="model",
    reason=None,
    charged_mc=420,
    replayed=False,
    seconds=0.2,
    execution_key="k" * 22,
    model="writer",
    action_version="v1",
)
ATTEMPT = AttemptEnded(
    endpoint="main",
    model="openai/gpt-4.1",
    number=1,
    outcome="answered",
    status=None,
    seconds=0.1,
    max_output_tokens=120,
    input_tokens=562,
    output_tokens=52,
)
FAILED = AttemptEnded("main", "openai/gpt-4.1", 1, "provider_rate_limited", 429, 0.1, 120)
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def context_of(span: ReadableSpan) -> SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


class Bench:
    """Traces, and what was exported of them."""

    def __init__(self, sample_ratio: float = 1) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(self.exporter, sample_ratio)

    async def request(self, *attempts: AttemptEnded, traceparent: str | None = None) -> None:
        """One request with one execution, which runs in a task of its own."""
        observe = self.tracing.observe

        async def execute() -> None:
            observe(ExecutionBegan("live"))
            for attempt in attempts:
                observe(attempt)
            observe(EXECUTION)

        observe(RequestBegan("POST", traceparent))
        await asyncio.create_task(execute())
        request = CurrentRequest("r1")
        observe(RequestEnded("POST", "/v1/executions", 200, 0.2, "key", request))

    def spans(self) -> dict[str, ReadableSpan]:
        self.tracing.close()
        return {span.name: span for span in self.exporter.get_finished_spans()}


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_call_stands_under_its_execution_and_that_under_its_request(bench: Bench) -> None:
    await bench.request(ATTEMPT)
    spans = bench.spans()
    assert set(spans) == {"POST /v1/executions", "execution", "chat gpt-4.1"}
    request, execution, call = (
        spans[name] for name in ("POST /v1/executions", "execution", "chat gpt-4.1")
    )
    assert request.parent is None
    assert execution.parent is not None
    assert call.parent is not None
    assert execution.parent.span_id == context_of(request).span_id
    assert call.parent.span_id == context_of(execution).span_id
    assert (request.kind, call.kind) == (SpanKind.SERVER, SpanKind.CLIENT)


async def test_a_call_has_the_attributes_of_the_conventions_for_generative_ai(bench: Bench) -> None:
    await bench.request(ATTEMPT)
    call = bench.spans()["chat gpt-4.1"]
    assert dict(call.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.request.max_tokens": 120,
        "gen_ai.usage.input_tokens": 562,
        "gen_ai.usage.output_tokens": 52,
        "creditgate.endpoint": "main",
        "creditgate.attempt": 1,
    }
    assert call.start_time is not None
    assert call.end_time is not None
    assert (call.end_time - call.start_time) / 1e9 == pytest.approx(0.1, abs=0.001)


async def test_a_call_that_failed_says_why(bench: Bench) -> None:
    await bench.request(FAILED)
    call = bench.spans()["chat gpt-4.1"]
    assert (call.attributes or {})["error.type"] == "429"
    assert call.status.status_code is StatusCode.ERROR


def test_a_fallback_names_its_reason(bench: Bench) -> None:
    bench.tracing.observe(ExecutionBegan("live"))
    reason = FallbackReason.INSUFFICIENT_CREDITS
    ended = ExecutionEnded("live", "fallback", reason, 0, False, 0.1, None, None, None)
    bench.tracing.observe(ended)
    attributes = bench.spans()["execution"].attributes or {}
    assert attributes["creditgate.reason"] == "insufficient_credits"
    assert "creditgate.execution_key" not in attributes


async def test_a_callers_trace_goes_on(bench: Bench) -> None:
    await bench.request(ATTEMPT, traceparent=SAMPLED)
    request = bench.spans()["POST /v1/executions"]
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert f"{context_of(request).trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("ratio, traceparent", [(1.0, NOT_SAMPLED), (0.0, SAMPLED), (0.0, None)])
async def test_callers_can_lower_the_share_of_traces_and_not_raise_it(
    ratio: float, traceparent: str | None
) -> None:
    bench = Bench(ratio)
    await bench.request(ATTEMPT, traceparent=traceparent)
    assert bench.spans() == {}


@pytest.mark.parametrize("traceparent", ["", "x" * 10_000, "00-0-0-01", "\xff" * 40])
async def test_a_malformed_trace_of_a_caller_is_ignored(bench: Bench, traceparent: str) -> None:
    await bench.request(ATTEMPT, traceparent=traceparent)
    assert bench.spans()["POST /v1/executions"].parent is None


async def test_requests_side_by_side_keep_their_own_spans(bench: Bench) -> None:
    await asyncio.gather(*(bench.request(ATTEMPT) for _ in range(20)))
    bench.tracing.close()
    spans = bench.exporter.get_finished_spans()
    assert len(spans) == 60
    by_trace: dict[int, list[str]] = {}
    for span in spans:
        by_trace.setdefault(context_of(span).trace_id, []).append(span.name)
    assert {tuple(sorted(names)) for names in by_trace.values()} == {
        ("POST /v1/executions", "chat gpt-4.1", "execution")
    }
