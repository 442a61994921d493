"""Events about HTTP requests for observers, beside those of ``runtime/observing.py``."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from runtime.observing import ExecutionEnded, Observation

MOST_KEYS = 20
"""The most execution keys that a request's log line has."""


@dataclass(slots=True)
class CurrentRequest:
    """The request that the running task works for.

    ``execution_keys`` are keyed hashes; those of a large batch are cut off at ``MOST_KEYS``.
    """

    request_id: str
    executions: int = 0
    execution_keys: list[str] = field(default_factory=list)


current_request: ContextVar[CurrentRequest | None] = ContextVar("creditgate_request", default=None)


@dataclass(frozen=True, slots=True)
class RequestBegan:
    """A request has come. ``RequestEnded`` follows in the same task."""

    method: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """A request was answered, or its client has gone.

    Args:
        route: the template of its path, as the OpenAPI document has it: paths hold ids.
        status: of the answer; 499 if there was none, 500 if the app raised.
        key_id: of the API key, which is no secret.
    """

    method: str
    route: str
    status: int
    seconds: float
    key_id: str | None
    request: CurrentRequest


ServiceObservation = Observation | RequestBegan | RequestEnded
ServiceObserver = Callable[[ServiceObservation], None]


def note_execution(event: ServiceObservation) -> None:
    """Note an execution in the request that it was run for; an observer."""
    request = current_request.get()
    if request is None or not isinstance(event, ExecutionEnded):
        return
    request.executions += 1
    if event.execution_key is not None and len(request.execution_keys) < MOST_KEYS:
        request.execution_keys.append(event.execution_key)


def told_to_all(*observers: ServiceObserver) -> ServiceObserver:
    """Return an observer that tells several."""

    def observe(event: ServiceObservation) -> None:
        for observer in observers:
            observer(event)

    return observe
