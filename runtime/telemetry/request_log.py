"""A log line for each request."""

from __future__ import annotations

import logging

from runtime.telemetry.requests import RequestEnded, ServiceObservation

_log = logging.getLogger("creditgate.http")

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


def log_request(event: ServiceObservation) -> None:
    """Log a request that has ended; an observer. Health checks that succeed are logged at DEBUG."""
    if not isinstance(event, RequestEnded):
        return
    is_probe = event.route in _PROBES and event.status < 500
    level = logging.DEBUG if is_probe else logging.INFO
    if not _log.isEnabledFor(level):
        return
    request = event.request
    facts: dict[str, object] = {
        "method": event.method,
        "route": event.route,
        "status": event.status,
        "duration_ms": round(event.seconds * 1000, 1),
        "request_id": request.request_id,
    }
    if event.key_id is not None:
        facts["key_id"] = event.key_id
    if request.executions == 1 and request.execution_keys:
        facts["execution_key"] = request.execution_keys[0]
    elif request.executions:
        facts["executions"] = request.executions
        facts["execution_keys"] = request.execution_keys
    _log.log(level, "request", extra=facts)
