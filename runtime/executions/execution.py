"""What is known of one execution while it runs, and the results that it can end with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fallback.policy import Resolved, resolve
from fallback.reasons import FallbackReason
from pricing.quote import quote_mc
from pricing.rate_card import RateCard, Rates
from pricing.usage import TokenUsage
from providers.base import Completion, Message
from runtime.actions.requests import Attempt, ExecutionRequest, ExecutionResult
from runtime.actions.spec import ActionSpec
from runtime.catalog.models import Model
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.results import Reserved
from runtime.executions import stored_outcome as outcomes


@dataclass(frozen=True, slots=True)
class Quote:
    """The most that an execution can cost as it is sent now."""

    input_tokens: int
    max_output_tokens: int
    amount_mc: int


@dataclass(slots=True)
class Timings:
    """Milliseconds spent in each step so far."""

    started_s: float = field(default_factory=time.perf_counter)
    spent_ms: dict[str, int] = field(default_factory=dict)

    def note(self, step: str, since_s: float) -> None:
        """Add the time since ``since_s`` (``perf_counter``) to a step's."""
        spent = round((time.perf_counter() - since_s) * 1000)
        self.spent_ms[step] = self.spent_ms.get(step, 0) + spent

    def total(self) -> dict[str, int]:
        """Return all of them, with ``total``."""
        self.note("total", self.started_s)
        return self.spent_ms


@dataclass(slots=True)
class Execution:
    """One run of ``execute()`` that has its prompt, its model and its quote.

    ``deadline_s`` is an instant of the event loop's clock. ``lowered`` tells that we cut
    ``max_output_tokens`` to what the credits cover; ``possibly_executed`` counts calls without
    an answer that the provider may bill.
    """

    request: ExecutionRequest
    spec: ActionSpec
    deadline_s: float
    model: Model
    card: RateCard
    rates: Rates
    messages: list[Message] = field(repr=False)
    quote: Quote
    attempt: ExecutionAttempt
    timings: Timings
    lowered: bool = False
    reserved: Reserved | None = None
    attempts: list[Attempt] = field(default_factory=list)
    possibly_executed: int = 0
    completion: Completion | None = field(default=None, repr=False)
    usage: TokenUsage | None = None

    @property
    def reserved_mc(self) -> int:
        """What is set aside for it."""
        return self.reserved.amount_mc if self.reserved else 0

    @property
    def exposure_mc(self) -> int:
        """What the operator may owe for calls that gave no answer to charge for."""
        return self.possibly_executed * self.quote.amount_mc

    def lower(self, covered_tokens: int) -> None:
        """Quote anew with at most ``covered_tokens`` of output."""
        quote = self.quote
        most = min(covered_tokens, quote.max_output_tokens)
        amount_mc = quote_mc(self.rates, quote.input_tokens, most)
        self.lowered = self.lowered or most < quote.max_output_tokens
        self.quote = Quote(quote.input_tokens, most, amount_mc)

    def resolve(
        self, reason: FallbackReason, answered: Mapping[str, Any] | None = None
    ) -> Resolved:
        """Return a value for each output: the answered ones, the others by ``reason``."""
        return resolve(self.spec.fallbacks, answered or {}, reason)

    def outcome(self, resolved: Resolved) -> bytes:
        """Return what the ledger keeps for the next who asks for this id."""
        return outcomes.encode(
            self.spec,
            resolved,
            reserved_mc=self.reserved_mc,
            usage=self.usage,
            rate_card_version=self.card.version,
        )

    def result(
        self,
        resolved: Resolved,
        *,
        charged_mc: int = 0,
        available_after_mc: int | None = None,
        final: bool = True,
        retry_after_ms: int | None = None,
        detail: str | None = None,
    ) -> ExecutionResult:
        """Return the result with these values."""
        return ExecutionResult(
            execution_id=self.request.execution_id,
            final=final,
            status=resolved.status,
            values=resolved.values,
            attributes=self.spec.attributes(resolved.values),
            origins=resolved.origins,
            charged_mc=charged_mc,
            reserved_mc=self.reserved_mc,
            available_after_mc=available_after_mc,
            usage=self.usage,
            attempts=tuple(self.attempts),
            timings_ms=self.timings.total(),
            action_version=self.spec.version,
            rate_card_version=self.card.version,
            retry_after_ms=retry_after_ms,
            detail=detail,
        )

    def in_progress(self, retry_after_ms: int) -> ExecutionResult:
        """Return the result that is none yet: another attempt runs."""
        return self.result(
            self.resolve(FallbackReason.EXECUTION_IN_PROGRESS),
            final=False,
            retry_after_ms=retry_after_ms,
        )


def unprepared(
    request: ExecutionRequest,
    spec: ActionSpec,
    reason: FallbackReason,
    timings: Timings,
    detail: str | None = None,
) -> ExecutionResult:
    """Return the result of an execution that never came to ask the ledger; nothing is stored."""
    resolved = resolve(spec.fallbacks, {}, reason)
    return ExecutionResult(
        execution_id=request.execution_id,
        final=True,
        status=resolved.status,
        values=resolved.values,
        attributes=spec.attributes(resolved.values),
        origins=resolved.origins,
        charged_mc=0,
        reserved_mc=0,
        available_after_mc=None,
        usage=None,
        attempts=(),
        timings_ms=timings.total(),
        action_version=spec.version,
        rate_card_version=None,
        detail=detail,
    )
