"""What is known of one execution while it runs, and the results that it can end with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fallback.policy import Resolved, resolve
from fallback.reasons import FallbackReason
from pricing.rate_card import RateCard, Rates
from pricing.usage import TokenUsage
from providers.base import Completion, Message
from runtime import outcomes
from runtime.actions import ActionSpec, Attempt, ExecutionRequest, ExecutionResult
from runtime.credits.answers import Reserved
from runtime.credits.identity import ExecutionAttempt
from runtime.models import Model


@dataclass(frozen=True, slots=True)
class Quote:
    """The most that the execution can cost as it is sent now."""

    input_tokens: int
    max_output_tokens: int
    amount_mc: int
    rate_card_version: str


@dataclass(slots=True)
class Execution:
    """One run of ``execute()``. ``deadline_s`` is an instant of the event loop's clock.

    ``lowered`` tells that we cut ``max_output_tokens`` to what the credits cover;
    ``possibly_executed`` counts calls without an answer that the provider may bill.
    """

    request: ExecutionRequest
    spec: ActionSpec
    deadline_s: float
    started_s: float = field(default_factory=time.perf_counter)
    timings_ms: dict[str, int] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list, repr=False)
    model: Model | None = None
    card: RateCard | None = None
    rates: Rates | None = None
    quote: Quote | None = None
    lowered: bool = False
    attempt: ExecutionAttempt | None = None
    reserved: Reserved | None = None
    attempts: list[Attempt] = field(default_factory=list)
    possibly_executed: int = 0
    completion: Completion | None = field(default=None, repr=False)
    usage: TokenUsage | None = None
    flags: list[str] = field(default_factory=list)

    def note_time(self, step: str, since_s: float) -> None:
        """Add the time since ``since_s`` (``perf_counter``) to a step's."""
        spent_ms = round((time.perf_counter() - since_s) * 1000)
        self.timings_ms[step] = self.timings_ms.get(step, 0) + spent_ms

    def resolve(self, reason: FallbackReason, answered: Mapping[str, Any] | None = None) -> Resolved:
        """Return a value for each output: the answered ones, the others by ``reason``."""
        return resolve(self.spec.fallbacks, answered or {}, reason)

    def outcome(self, resolved: Resolved) -> bytes:
        """Return what the ledger keeps for the next who asks for this id."""
        return outcomes.encode(
            self.spec,
            resolved,
            reserved_mc=self.reserved.amount_mc if self.reserved else 0,
            usage=self.usage,
            rate_card_version=self.card.version if self.card else None,
        )

    def result(
        self,
        resolved: Resolved,
        *,
        charged_mc: int = 0,
        available_after_mc: int | None = None,
        final: bool = True,
        retry_after_ms: int | None = None,
    ) -> ExecutionResult:
        """Return the result with these values."""
        self.note_time("total", self.started_s)
        return ExecutionResult(
            execution_id=self.request.execution_id,
            final=final,
            status=resolved.status,
            values=resolved.values,
            attributes=self.spec.attributes(resolved.values),
            origins=resolved.origins,
            charged_mc=charged_mc,
            reserved_mc=self.reserved.amount_mc if self.reserved else 0,
            available_after_mc=available_after_mc,
            usage=self.usage,
            attempts=tuple(self.attempts),
            timings_ms=self.timings_ms,
            action_version=self.spec.version,
            rate_card_version=self.card.version if self.card else None,
            retry_after_ms=retry_after_ms,
        )

    def fallback(
        self,
        reason: FallbackReason,
        *,
        available_after_mc: int | None = None,
        retry_after_ms: int | None = None,
    ) -> ExecutionResult:
        """Return the result in which every output bears its fallback value."""
        return self.result(
            self.resolve(reason),
            available_after_mc=available_after_mc,
            final=reason is not FallbackReason.EXECUTION_IN_PROGRESS,
            retry_after_ms=retry_after_ms,
        )
