"""The outcome of an execution as the ledger stores it: compact JSON."""

from __future__ import annotations

import json
from typing import Any

from fallback.policy import Origin, Resolved
from fallback.reasons import FallbackReason
from pricing.usage import TokenUsage
from runtime.actions.requests import ExecutionResult
from runtime.actions.spec import ActionSpec
from runtime.credits.results import Existing

_FORMAT = 1


def encode(
    spec: ActionSpec,
    resolved: Resolved,
    *,
    reserved_mc: int,
    usage: TokenUsage | None,
    rate_card_version: str | None,
) -> bytes:
    """Return the outcome as compact JSON. It holds a person's values, so it is stored with a TTL.

    It names the attributes that values are written to: a redelivery after a deploy gets the first
    outcome, even if the action has changed since.
    """
    attributes = spec.attributes({name: name for name in resolved.values})
    outcome = {
        "f": _FORMAT,
        "s": resolved.status,
        "v": resolved.values,
        "o": {n: o.reason for n, o in resolved.origins.items() if o.reason is not None},
        "w": {store: names for store, names in attributes.items() if names},
        "r": reserved_mc,
        "u": usage and _usage_columns(usage),
        "a": spec.version,
        "c": rate_card_version,
    }
    return json.dumps(outcome, separators=(",", ":"), ensure_ascii=False).encode()


def _usage_columns(usage: TokenUsage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def decode(execution_id: str, existing: Existing) -> ExecutionResult | None:
    """Return the stored outcome as a result, or ``None`` if its values are gone."""
    try:
        outcome = json.loads(existing.outcome)
    except ValueError:
        return None
    if not isinstance(outcome, dict) or outcome.get("f") != _FORMAT:
        return None
    values: dict[str, Any] = outcome["v"]
    reasons: dict[str, str] = outcome["o"]
    origins = {
        name: Origin("fallback", FallbackReason(reasons[name]))
        if name in reasons
        else Origin("model")
        for name in values
    }
    written: dict[str, dict[str, str]] = outcome["w"]
    return ExecutionResult(
        execution_id=execution_id,
        kept=True,
        status=outcome["s"],
        values=values,
        attributes={
            store: {attribute: values[name] for attribute, name in written.get(store, {}).items()}
            for store in ("journey", "customer")
        },
        origins=origins,
        charged_mc=existing.charged_mc,
        reserved_mc=outcome["r"],
        available_after_mc=None,
        usage=None if outcome["u"] is None else TokenUsage(*outcome["u"]),
        attempts=(),
        timings_ms={},
        action_version=outcome["a"],
        rate_card_version=outcome["c"],
        replayed=True,
    )
