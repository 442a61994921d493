"""The port for metrics and traces: an observer is told what happens, a frozen dataclass each time.

Without an observer, nothing is built or measured. An observer is called on the event loop, in the
task of what happened: it must be quick and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fallback.reasons import FallbackReason


@dataclass(frozen=True, slots=True)
class ExecutionBegan:
    """An execution was asked for. ``ExecutionEnded`` follows in the same task."""

    source: str


@dataclass(frozen=True, slots=True)
class ExecutionEnded:
    """An execution has ended.

    Args:
        status: ``model``, ``mixed``, ``fallback`` or ``pending``; ``error`` if it raised.
        reason: of the first output that fell back.
        charged_mc: what this execution charged: 0 for a replayed outcome.
        execution_key: the keyed hash that stands for its id; ``None`` where it had no price.
        model: the configured model's id, if it came so far.
    """

    source: str
    status: str
    reason: FallbackReason | None
    charged_mc: int
    replayed: bool
    seconds: float
    execution_key: str | None
    model: str | None
    action_version: str | None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """A call of a provider has ended.

    Args:
        model: as LiteLLM names it, with its provider: ``openai/gpt-4o-mini``.
        outcome: ``answered``, or ``provider_`` and the kind of failure.
        input_tokens: those that the provider reported, if it did; so with ``output_tokens``.
    """

    endpoint: str
    model: str
    number: int
    outcome: str
    status: int | None
    seconds: float
    max_output_tokens: int
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ScriptEnded:
    """A script call of the ledger has ended, whatever it answered."""

    seconds: float
    answered: bool


Observation = ExecutionBegan | ExecutionEnded | AttemptEnded | ScriptEnded
Observer = Callable[[Observation], None]
