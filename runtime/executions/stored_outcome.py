"""The outcome of an execution as the ledger stores it: compact JSON."""

from __future__ import annotations

import json
from typing import Any, get_args

from fallback.policy import Origin, Resolved, Status
from fallback.reasons import FallbackReason
from pricing.usage import TokenUsage
from runtime.actions.requests import ExecutionResult
from runtime.actions.spec import ActionSpec
from runtime.credits.results import Existing

_FORMAT = 1
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

MOST_BYTES = 1024 * 1024
"""The largest outcome that is read: more than any model writes in one answer."""


def encode(
    spec: ActionSpec,
    resolved: Resolved,
    *,
    reserved_mc: int,
    usage: TokenUsage | None,
    rate_card_version: str | None,
    person: str | None = None,
) -> bytes:
    """Return the outcome as compact JSON. It holds a person's values, so it is stored with a TTL.

    It names the attributes that values are written to: a redelivery after a deploy gets the first
    outcome, even if the action has changed since.

    Args:
        person: whose values they are: the attempt's ``person_key``, a point, and by how many
            milliseconds the execution began before its reservation.
    """
    outcome: dict[str, Any] = {} if person is None else {"p": person}  # first: scripts look for it
    outcome |= {
        "f": _FORMAT,
        "s": resolved.status,
        "v": resolved.values,
        "o": {n: o.reason for n, o in resolved.origins.items() if o.reason is not None},
        "w": spec.written_to,
        "r": reserved_mc,
        "u": usage and _usage_columns(usage),
        "a": spec.version,
        "c": rate_card_version,
    }
    return _ENCODER.encode(outcome).encode()


def _usage_columns(usage: TokenUsage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def decode(execution_id: str, existing: Existing) -> ExecutionResult | None:
    """Return the stored outcome as a result, or ``None`` if its values are lost.

    They are lost if they are gone or larger than ``MOST_BYTES``, or if this release does not know
    their format or one of their reasons.
    """
    try:
        if len(existing.outcome) > MOST_BYTES:
            return None
        return _result(execution_id, existing, json.loads(existing.outcome))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _result(execution_id: str, existing: Existing, outcome: dict[str, Any]) -> ExecutionResult:
    if outcome["f"] != _FORMAT:
        raise ValueError("another format")
    values = _mapping(outcome["v"])
    reasons, written = _mapping(outcome["o"]), _mapping(outcome["w"])
    version, card, usage = outcome["a"], outcome["c"], outcome["u"]
    origins = {
        name: Origin("fallback", FallbackReason(reasons[name]))
        if name in reasons
        else Origin("model")
        for name in values
    }
    if outcome["s"] not in get_args(Status) or not reasons.keys() <= values.keys():
        raise ValueError("a status or a reason that belongs to no value")
    if not isinstance(version, str) or not isinstance(card, str | None):
        raise TypeError("a version that is not text")
    return ExecutionResult(
        execution_id=execution_id,
        kept=True,
        status=outcome["s"],
        values=values,
        attributes={
            store: {
                attribute: values[name]
                for attribute, name in _mapping(written.get(store, {})).items()
            }
            for store in ("journey", "customer")
        },
        origins=origins,
        charged_mc=existing.charged_mc,
        reserved_mc=_whole(outcome["r"]),
        available_after_mc=None,
        usage=None if usage is None else TokenUsage(*map(_whole, usage)),
        attempts=(),
        timings_ms={},
        action_version=version,
        rate_card_version=card,
        replayed=True,
    )


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value
