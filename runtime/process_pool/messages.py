"""The messages between the parent and a process of the pool, and their frames.

They are pickled, as everything between a Python process and the ones that it starts: both ends are
the same program, and the socket pair has no name that anybody else could connect to. Nothing of
this is stored.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fallback.policy import Origin
from pricing.errors import CreditgateError
from pricing.usage import TokenUsage
from runtime.actions.requests import (
    Attempt,
    EndpointRefusal,
    ExecutionRequest,
    ExecutionResult,
    Pending,
)
from runtime.actions.spec import ActionSpec
from runtime.config import Config
from runtime.credits.results import Alert

_LENGTH = struct.Struct("!I")


class Action(NamedTuple):
    """An action that requests name by its number from now on, so that it is sent once."""

    number: int
    spec: ActionSpec


class Execute(NamedTuple):
    """A request to execute; ``action`` is the number of an ``Action``, or an action's id."""

    number: int
    execution_id: str
    account_id: str
    workspace_id: str
    campaign_id: str
    person_id: str
    action: int | str
    data: Mapping[str, Mapping[str, Any]]
    source: str


class Cancel(NamedTuple):
    """The caller of an execution is gone."""

    number: int


class Reload(NamedTuple):
    """Run by another configuration from now on."""

    number: int
    config: Config


class Close(NamedTuple):
    """Close the runtime and end."""


class Ready(NamedTuple):
    """The runtime is open."""


class Ended(NamedTuple):
    """The end of an execution, or of a reload (without ``result``).

    Args:
        result: what ``pack`` returned.
        resumes_in_ms: the time for which calls are certain to fail, where this one failed.
        counters: those of the process, field by field.
    """

    number: int
    result: tuple[Any, ...] | None
    resumes_in_ms: int
    counters: tuple[int, ...]


class Raised(NamedTuple):
    """An error instead of a result; with number -1, one that ended the process."""

    number: int
    kind: type[BaseException]
    args: tuple[Any, ...]
    state: dict[str, Any]

    def error(self) -> BaseException:
        """Return the error as it was raised, without its traceback."""
        # Not by the class's __init__, which may take other arguments than it hands on.
        error = self.kind.__new__(self.kind, *self.args)
        error.args = self.args
        error.__dict__.update(self.state)
        return error


class Told(NamedTuple):
    """An alert that an execution of the process raised."""

    alert: Alert


class Logged(NamedTuple):
    """A log record of the process."""

    name: str
    level: int
    text: str


class Closed(NamedTuple):
    """The runtime is closed; these are the last counters."""

    counters: tuple[int, ...]


class ProcessesEnded(CreditgateError):
    """Every process of the pool has ended before its work was done."""


def frame(message: object) -> bytes:
    """Return a message as bytes that say how long they are."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Calls ``take`` with each message of a stream of bytes."""

    def __init__(self, take: Callable[[Any], object]) -> None:
        self._take = take
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes; they may end within a message."""
        buffer, start = self._buffer, 0
        buffer += data
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[start + _LENGTH.size : end])
            start = end
            self._take(pickle.loads(body))  # noqa: S301 - our own process, see above
        del buffer[:start]


def raised(number: int, error: BaseException) -> bytes:
    """Return the frame of an error, which stays what it was if it can be pickled."""
    try:
        return frame(Raised(number, type(error), error.args, dict(error.__dict__)))
    except Exception:  # noqa: BLE001 - whatever an error holds; it is told as text then
        text = f"{type(error).__name__}: {error}"
        return frame(Raised(number, RuntimeError, (text,), {}))


def pack(result: ExecutionResult | Pending) -> tuple[Any, ...]:
    """Return a result as plain types, which take a tenth of the time to pickle."""
    if isinstance(result, Pending):
        return result.execution_id, result.retry_after_ms
    usage, refusal = result.usage, result.endpoint_refusal
    return (
        result.execution_id,
        result.kept,
        result.status,
        result.values,
        result.attributes,
        {name: origin.reason for name, origin in result.origins.items()},
        result.charged_mc,
        result.reserved_mc,
        result.available_after_mc,
        usage
        and (
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
        ),
        [(a.number, a.outcome, a.latency_ms, a.status, a.detail) for a in result.attempts],
        result.timings_ms,
        result.action_version,
        result.rate_card_version,
        result.replayed,
        result.detail,
        refusal and (refusal.endpoint, refusal.status),
    )


def unpack(packed: tuple[Any, ...]) -> ExecutionResult | Pending:
    """Return what ``pack`` was given."""
    if len(packed) == len(Pending.__slots__):
        return Pending(*packed)
    fields = list(packed)
    fields[5] = {name: _origin(reason) for name, reason in packed[5].items()}
    fields[9] = packed[9] and TokenUsage(*packed[9])
    fields[10] = tuple(Attempt(*attempt) for attempt in packed[10])
    fields[16] = packed[16] and EndpointRefusal(*packed[16])
    return ExecutionResult(*fields)


def _origin(reason: Any) -> Origin:
    return _BY_MODEL if reason is None else Origin("fallback", reason)


_BY_MODEL = Origin("model")


def execute_message(number: int, request: ExecutionRequest, action: int | str) -> Execute:
    """Return the message for a request."""
    return Execute(
        number,
        request.execution_id,
        request.account_id,
        request.workspace_id,
        request.campaign_id,
        request.person_id,
        action,
        request.data,
        str(request.source),
    )
