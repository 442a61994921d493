"""OpenTelemetry traces, by the semantic conventions for HTTP and for generative AI.

A span for each request, each execution and each call of a provider. They hold names, numbers and
outcomes; no prompt, no value, no path and no id but the execution's keyed hash.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runtime.observing import AttemptEnded, ExecutionBegan, ExecutionEnded
from runtime.telemetry.metrics import release
from runtime.telemetry.requests import RequestBegan, RequestEnded, ServiceObservation

_CLOSE_WITHIN_MS = 5_000
_LONGEST_WAIT_S = 5

_Open = tuple[Span, Token[Any]]
_open: ContextVar[tuple[_Open, ...]] = ContextVar("creditgate_spans", default=())


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Return an exporter to a collector: OTLP over HTTP, to this address as it is."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=endpoint, timeout=_LONGEST_WAIT_S)


class Tracing:
    """Makes spans of what happens, and sends them from a thread of its own.

    Args:
        exporter: sends spans in batches; while it can't, up to 2,048 wait and later ones are
            dropped.
        sample_ratio: the share of traces that are recorded, from 0 to 1. A caller's trace that is
            not sampled is not recorded; one that is, by this ratio, so that callers can't raise it.
    """

    def __init__(self, exporter: SpanExporter, sample_ratio: float) -> None:
        ratio = TraceIdRatioBased(sample_ratio)
        self._provider = TracerProvider(
            sampler=ParentBased(ratio, remote_parent_sampled=ratio),
            resource=Resource({"service.name": "creditgate", "service.version": release()}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("creditgate", release())
        self._callers = TraceContextTextMapPropagator()

    def observe(self, event: ServiceObservation) -> None:
        """Begin or end a span; an observer."""
        if isinstance(event, AttemptEnded):
            self._add_attempt(event)
        elif isinstance(event, ExecutionBegan):
            self._begin("execution", SpanKind.INTERNAL, {"creditgate.source": event.source})
        elif isinstance(event, ExecutionEnded):
            self._end_execution(event)
        elif isinstance(event, RequestBegan):
            carrier = {} if event.traceparent is None else {"traceparent": event.traceparent}
            caller = self._callers.extract(carrier, context.Context())
            attributes = {"http.request.method": event.method}
            self._begin(event.method, SpanKind.SERVER, attributes, caller)
        elif isinstance(event, RequestEnded):
            self._end_request(event)

    def close(self) -> None:
        """Send what waits, for 5 s at most."""
        self._provider.force_flush(_CLOSE_WITHIN_MS)
        self._provider.shutdown()

    def _begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, str],
        caller: context.Context | None = None,
    ) -> None:
        span = self._tracer.start_span(name, caller, kind, attributes)
        token = context.attach(trace.set_span_in_context(span))
        _open.set((*_open.get(), (span, token)))

    def _pop(self) -> Span | None:
        opened = _open.get()
        if not opened:
            return None
        span, token = opened[-1]
        _open.set(opened[:-1])
        context.detach(token)
        return span

    def _end_request(self, event: RequestEnded) -> None:
        span = self._pop()
        if span is None:
            return
        span.update_name(f"{event.method} {event.route}")
        span.set_attribute("http.route", event.route)
        span.set_attribute("http.response.status_code", event.status)
        if event.status >= 500:
            span.set_attribute("error.type", str(event.status))
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _end_execution(self, event: ExecutionEnded) -> None:
        span = self._pop()
        if span is None:
            return
        span.set_attributes(
            {
                name: value
                for name, value in (
                    ("creditgate.status", event.status),
                    ("creditgate.reason", event.reason and event.reason.value),
                    ("creditgate.charged_mc", event.charged_mc),
                    ("creditgate.replayed", event.replayed),
                    ("creditgate.execution_key", event.execution_key),
                    ("creditgate.action_version", event.action_version),
                    ("gen_ai.request.model", event.model),
                )
                if value is not None
            }
        )
        if event.status == "error":
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _add_attempt(self, event: AttemptEnded) -> None:
        provider, _, model = event.model.partition("/")
        ended_ns = time.time_ns()
        span = self._tracer.start_span(
            f"chat {model}",
            kind=SpanKind.CLIENT,
            start_time=ended_ns - round(event.seconds * 1e9),
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
                "gen_ai.request.max_tokens": event.max_output_tokens,
                "creditgate.endpoint": event.endpoint,
                "creditgate.attempt": event.number,
            },
        )
        if event.input_tokens is not None:
            span.set_attribute("gen_ai.usage.input_tokens", event.input_tokens)
        if event.output_tokens is not None:
            span.set_attribute("gen_ai.usage.output_tokens", event.output_tokens)
        if event.outcome != "answered":
            span.set_attribute("error.type", str(event.status or event.outcome))
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended_ns)
