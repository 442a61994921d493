"""The state of a running execution, and the results that it can end with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fallback.policy import Resolved, resolve
from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC
from pricing.quote import cost_mc, quote_mc
from pricing.rate_card import RateCard, Rates
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, Message
from providers.pacing.deadline import Deadline
from runtime.actions.requests import (
    Attempt,
    EndpointRefusal,
    ExecutionRequest,
    ExecutionResult,
    Pending,
)
from runtime.actions.spec import ActionSpec
from runtime.catalog.models import Model
from runtime.credits.endings import Release, Settlement
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import tokens_column
from runtime.credits.results import Existing, Reserved
from runtime.executions import stored_outcome as outcomes


@dataclass(frozen=True, slots=True)
class Quote:
    """The most that an execution can cost as it is sent."""

    input_tokens: int
    max_output_tokens: int
    amount_mc: int


@dataclass(slots=True)
class Timings:
    """Milliseconds spent in each step so far."""

    started_s: float = field(default_factory=time.perf_counter)
    spent_ms: dict[str, int] = field(default_factory=dict)

    def note(self, step: str, since_s: float) -> None:
        """Add the time since ``since_s`` (``perf_counter``) to a step."""
        spent_ms = round((time.perf_counter() - since_s) * 1000)
        self.spent_ms[step] = self.spent_ms.get(step, 0) + spent_ms

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the start, rounded up."""
        return int((time.perf_counter() - self.started_s) * 1000) + 1

    def total(self) -> dict[str, int]:
        """Return all steps, and ``total`` since the start."""
        total_ms = round((time.perf_counter() - self.started_s) * 1000)
        return {**self.spent_ms, "total": total_ms}


@dataclass(slots=True)
class Progress:
    """The part of an execution that changes while it runs.

    Args:
        quote: what is to be reserved; lowered where credits are short.
        lowered: true once we cut ``max_output_tokens`` to what the credits cover.
        reserved: the reservation, once there is one.
        proven_s: the instant, by the event loop's clock, after which the ledger found nothing off.
        waited_ms: at most so long before the reservation the execution began.
        attempts: the calls of the provider so far.
        possibly_executed: how many of them gave no answer and may be billed by the provider.
        completion: the model's answer.
        counted_output_tokens: those of an answer without usage.
        usage: the tokens that the answer is charged for, counted by us where the provider did not
            say.
        endpoint_refusal: the reason why the model can't be called until somebody mends the config.
        provider_texts: what the provider wrote about its errors, masked, by number of attempt; of
            previews alone.
    """

    quote: Quote
    timings: Timings
    lowered: bool = False
    reserved: Reserved | None = None
    proven_s: float = 0
    waited_ms: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    possibly_executed: int = 0
    completion: Completion | None = field(default=None, repr=False)
    counted_output_tokens: int = 0
    usage: TokenUsage | None = None
    endpoint_refusal: EndpointRefusal | None = None
    provider_texts: dict[int, str] = field(default_factory=dict, repr=False)

    def note_reserved(self, reserved: Reserved, asked_s: float) -> None:
        """Keep a reservation that was just made, and when it was asked for."""
        self.reserved = reserved
        self.proven_s = asked_s
        self.waited_ms = self.timings.elapsed_ms()


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of ``execute()`` that has its prompt, its model and its quote.

    Everything but ``progress`` is fixed.
    """

    request: ExecutionRequest
    spec: ActionSpec
    deadline: Deadline
    model: Model
    card: RateCard
    rates: Rates
    messages: list[Message] = field(repr=False)
    attempt: ExecutionAttempt
    progress: Progress

    @property
    def reserved_mc(self) -> int:
        """The credits set aside for it, in millicredits."""
        reserved = self.progress.reserved
        return reserved.amount_mc if reserved else 0

    @property
    def exposure_mc(self) -> int:
        """The amount that the operator may owe for calls that gave no answer to charge for."""
        return self.progress.possibly_executed * self.progress.quote.amount_mc

    def cost_mc(self, usage: TokenUsage) -> int:
        """Return the cost of an answer with this usage, at most the largest amount."""
        return min(MAX_MC, cost_mc(self.rates, usage))

    def lower(self, most_output_tokens: int) -> None:
        """Lower the quote to at most ``most_output_tokens`` of output."""
        progress, quote = self.progress, self.progress.quote
        most = min(most_output_tokens, quote.max_output_tokens)
        progress.lowered = progress.lowered or most < quote.max_output_tokens
        amount_mc = quote_mc(self.rates, quote.input_tokens, most)
        progress.quote = Quote(quote.input_tokens, most, amount_mc)

    def completion_request(self) -> CompletionRequest:
        """Return the call of the model as it is sent."""
        spec, model = self.spec, self.model
        return CompletionRequest(
            litellm_model=model.litellm_model,
            endpoint=model.endpoint,
            messages=self.messages,
            max_output_tokens=self.progress.quote.max_output_tokens,
            response_schema=spec.json_schema if model.json_schema is True else None,
            json_object=model.json_schema == "json_object",
            temperature=spec.temperature,
            route=model.route,
        )

    def resolve(
        self, reason: FallbackReason, answered: Mapping[str, Any] | None = None
    ) -> Resolved:
        """Return a value for each output: the answered ones, the others by ``reason``."""
        return resolve(self.spec.fallbacks, answered or {}, reason)

    def outcome(self, resolved: Resolved, *, answered: bool = False) -> bytes:
        """Return the outcome as the ledger stores it.

        Args:
            answered: some values are a model's, so that it says whose they are.
        """
        person = f"{self.attempt.person_key}.{self.progress.waited_ms}" if answered else None
        return outcomes.encode(
            self.spec,
            resolved,
            reserved_mc=self.reserved_mc,
            usage=self.progress.usage,
            rate_card_version=self.card.version,
            person=person,
        )

    def result(
        self,
        resolved: Resolved,
        *,
        kept: bool,
        charged_mc: int = 0,
        available_after_mc: int | None = None,
        detail: str | None = None,
    ) -> ExecutionResult:
        """Return the result with these values."""
        progress = self.progress
        return ExecutionResult(
            execution_id=self.request.execution_id,
            kept=kept,
            status=resolved.status,
            values=resolved.values,
            attributes=self.spec.attributes(resolved.values),
            origins=resolved.origins,
            charged_mc=charged_mc,
            reserved_mc=self.reserved_mc,
            available_after_mc=available_after_mc,
            usage=progress.usage,
            attempts=tuple(progress.attempts),
            timings_ms=progress.timings.total(),
            action_version=self.spec.version,
            rate_card_version=self.card.version,
            detail=detail,
            endpoint_refusal=progress.endpoint_refusal,
        )

    def first_outcome(self, existing: Existing) -> ExecutionResult:
        """Return the first outcome of the id, or ``outcome_lost`` if its values are gone."""
        if stored := outcomes.decode(self.request.execution_id, existing):
            return stored
        reason = existing.reason or FallbackReason.OUTCOME_LOST
        lost = self.result(
            self.resolve(reason),
            kept=reason is not FallbackReason.OUTCOME_LOST,
            charged_mc=existing.charged_mc,
        )
        return replace(lost, attempts=(), replayed=True)

    def not_kept(
        self,
        reason: FallbackReason,
        detail: str | None = None,
        *,
        available_after_mc: int | None = None,
    ) -> ExecutionResult:
        """Return the fallback values as a result that is not kept: the id can be asked again."""
        return self.result(
            self.resolve(reason),
            kept=False,
            available_after_mc=available_after_mc,
            detail=detail,
        )

    def pending(self, retry_after_ms: int) -> Pending:
        """Return the answer while the id runs elsewhere."""
        return Pending(self.request.execution_id, retry_after_ms)

    def settlement(
        self,
        reserved: Reserved,
        usage: TokenUsage,
        cost_mc: int,
        flags: Sequence[str],
        resolved: Resolved,
        *,
        unpaid_mc: int = 0,
        free_mc: int = 0,
    ) -> Settlement:
        """Return the ending that charges ``cost_mc`` for an answer.

        Args:
            unpaid_mc: what the provider reported beyond what the request could have used.
            free_mc: what an answer that is not charged would have cost.
        """
        return Settlement(
            attempt=self.attempt,
            cost_mc=cost_mc,
            reserved_mc=reserved.amount_mc,
            reserved_at_ms=reserved.reserved_at_ms,
            tokens=tokens_column(usage),
            rate_card_version=self.card.version,
            flags=tuple(flags),
            exposure_mc=min(MAX_MC, self.exposure_mc + unpaid_mc),
            free_mc=free_mc,
            outcome=self.outcome(resolved, answered=True),
            reason=_first_reason(resolved),
            choices=_choices(self.spec, resolved),
        )

    def release(
        self,
        reason: FallbackReason | None = None,
        unpaid_mc: int = 0,
        outcome: bytes | None = None,
    ) -> Release:
        """Return the ending that charges nothing. Without ``outcome`` the id can be asked again.

        Args:
            unpaid_mc: the cost of an answer that the account does not pay for.
        """
        exposure_mc = min(MAX_MC, self.exposure_mc + unpaid_mc)
        return Release(self.attempt, reason, exposure_mc, outcome)


def _first_reason(resolved: Resolved) -> FallbackReason | None:
    if resolved.status == "model":
        return None
    return next(origin.reason for origin in resolved.origins.values() if origin.reason is not None)


def _choices(spec: ActionSpec, resolved: Resolved) -> tuple[tuple[int, int], ...]:
    """Return the options that the model chose, as ``Settlement`` has them."""
    return tuple(
        (number, option)
        for number, (name, output) in enumerate(spec.outputs.items())
        if resolved.origins[name].reason is None
        for option in output.chosen(resolved.values[name])
    )


def unprepared(
    request: ExecutionRequest,
    spec: ActionSpec,
    reason: FallbackReason,
    timings: Timings,
    detail: str | None = None,
) -> ExecutionResult:
    """Return the result of an execution that ended before the ledger was asked. It is not kept."""
    resolved = resolve(spec.fallbacks, {}, reason)
    return ExecutionResult(
        execution_id=request.execution_id,
        kept=False,
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
