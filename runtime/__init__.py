"""Runs LLM actions against prepaid credits: the public names of creditgate.

Names are loaded at their first use, so that importing one does not import all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fallback.reasons import FallbackReason
    from pricing.usage import TokenUsage
    from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending
    from runtime.actions.spec import ActionSpec
    from runtime.bootstrap import open_runtime
    from runtime.config import Config, load_config
    from runtime.credits.ledger import CreditLedger
    from runtime.executions.executor import ActionRuntime

__all__ = [
    "ActionRuntime",
    "ActionSpec",
    "Config",
    "CreditLedger",
    "ExecutionRequest",
    "ExecutionResult",
    "FallbackReason",
    "Pending",
    "TokenUsage",
    "load_config",
    "open_runtime",
]

_HOMES = {
    "ActionRuntime": "runtime.executions.executor",
    "ActionSpec": "runtime.actions.spec",
    "Config": "runtime.config",
    "CreditLedger": "runtime.credits.ledger",
    "ExecutionRequest": "runtime.actions.requests",
    "ExecutionResult": "runtime.actions.requests",
    "FallbackReason": "fallback.reasons",
    "Pending": "runtime.actions.requests",
    "TokenUsage": "pricing.usage",
    "open_runtime": "runtime.bootstrap",
    "load_config": "runtime.config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
