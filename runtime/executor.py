"""Runs one action for one person: all branching of an execution is here."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fallback.reasons import FallbackReason
from pricing.quote import cost_mc, covered_output_tokens, quote_mc
from pricing.rate_card import RateCards
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason, Provider
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError
from providers.limits import EndpointLimits
from providers.retry import complete_with_retries
from runtime import outcomes, outputs
from runtime.actions import ActionSource, ActionSpec, Attempt, ExecutionRequest, ExecutionResult, Source
from runtime.closing import Closer
from runtime.credits.answers import (
    Existing,
    InProgress,
    LedgerUnavailable,
    Refused,
    Reserved,
    Settled,
)
from runtime.credits.endings import Release, Settlement
from runtime.credits.ledger import CreditLedger
from runtime.credits.transport import UnknownOutcome
from runtime.execution import Execution, Quote
from runtime.models import Model, Models
from runtime.prompts import PromptError

_POLL_S = (0.05, 0.25)
_LOWERINGS = 3


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """``reservation_ttl_ms`` must outlast the longest deadline; see the configuration reference."""

    reservation_ttl_ms: int = 120_000
    wait_for_credits_ms: int = 2_000
    charge_previews: bool = True
    compliance_prompt: str = ""


class ActionRuntime:
    """Runs LLM actions against prepaid credits.

    Args:
        ledger: where credits are reserved and settled.
        closer: sends the ends of reservations, or keeps them on disk while Redis is away.
    """

    def __init__(
        self,
        *,
        ledger: CreditLedger,
        closer: Closer,
        provider: Provider,
        actions: ActionSource,
        models: Models,
        rate_cards: RateCards,
        limits: EndpointLimits,
        settings: ExecutorSettings,
    ) -> None:
        self.ledger = ledger
        self.actions = actions
        self._closer = closer
        self._provider = provider
        self._models = models
        self._rate_cards = rate_cards
        self._limits = limits
        self._settings = settings
        self._min_output_tokens: dict[tuple[str, str], int] = {}

    async def execute(self, request: ExecutionRequest) -> ExecutionResult:
        """Run the action and return typed values, the model's or the fallback ones.

        Every run-time condition gives a result. Asking again with the same ``execution_id``
        gives the first outcome, without a call or a charge.

        Raises:
            UnknownAction: the account has no such action.
            ExecutionConflict: the ``execution_id`` was used for something else.
        """
        return (await self.execute_traced(request))[0]

    async def execute_traced(self, request: ExecutionRequest) -> tuple[ExecutionResult, Execution]:
        """Run the action as ``execute`` does and return what was sent and answered as well.

        The trace holds the prompt and the raw answer: it is for a preview's own caller alone.
        """
        spec = request.action
        if not isinstance(spec, ActionSpec):
            spec = await self.actions.get(request.account_id, spec)
        deadline_s = asyncio.get_running_loop().time() + spec.limits.deadline_ms / 1000
        execution = Execution(request, spec, deadline_s)
        reason = self._prepare(execution)
        if reason is not None:
            return execution.fallback(reason), execution
        return await self._run(execution), execution

    # Before the ledger is asked

    def _prepare(self, execution: Execution) -> FallbackReason | None:
        """Render, choose the model, quote; return why it can't be run, if it can't."""
        since_s = time.perf_counter()
        spec, request, now = execution.spec, execution.request, datetime.now(UTC)
        model = self._models.usable(
            spec.model, now.date(), allow_replacement=spec.allow_replacement_model
        )
        if model is None:
            return FallbackReason.MODEL_UNAVAILABLE
        card = self._rate_cards.at(now)
        rates = card.rates.get(model.id) if card else None
        if card is None or rates is None:
            return FallbackReason.MODEL_NOT_PRICED
        execution.model, execution.card, execution.rates = model, card, rates
        try:
            execution.messages = spec.render(
                request.data,
                with_instruction=not model.json_schema,
                prepend=self._settings.compliance_prompt,
            )
        except PromptError as error:
            execution.attempts.append(Attempt(0, "prompt_error", 0, detail=str(error)))
            return FallbackReason.PROMPT_ERROR
        input_tokens = model.counter.count_messages(
            execution.messages, spec.json_schema if model.json_schema else None
        )
        self._quote(execution, input_tokens, spec.limits.max_output_tokens)
        execution.attempt = self.ledger.attempt(
            account_id=request.account_id,
            execution_id=request.execution_id,
            workspace_id=request.workspace_id,
            campaign_id=request.campaign_id,
            person_id=request.person_id,
            action=spec.id,
            source=request.source.value,
            action_version=spec.version,
            model=model.id,
        )
        execution.note_time("prepare", since_s)
        return None

    @staticmethod
    def _quote(execution: Execution, input_tokens: int, max_output_tokens: int) -> None:
        assert execution.rates is not None and execution.card is not None
        amount_mc = quote_mc(execution.rates, input_tokens, max_output_tokens)
        execution.quote = Quote(
            input_tokens, max_output_tokens, amount_mc, execution.card.version
        )

    # Credits

    async def _run(self, execution: Execution) -> ExecutionResult:
        """Take the provider's slot and reserve; without credits give the slot back and wait."""
        model, account_id = execution.model, execution.request.account_id
        assert model is not None
        loop_time = asyncio.get_running_loop().time
        give_up_s = min(
            execution.deadline_s, loop_time() + self._settings.wait_for_credits_ms / 1000
        )
        lowerings = 0
        while True:
            try:
                async with self._limits.slot(model.endpoint.name, execution.deadline_s):
                    answer = await self._reserve(execution)
                    if isinstance(answer, Reserved):
                        execution.reserved = answer
                        return await self._call(execution)
            except TimeoutError:
                return await self._conclude(execution, FallbackReason.DEADLINE_EXCEEDED)
            if isinstance(answer, ExecutionResult):
                return answer
            if isinstance(answer, InProgress):
                if loop_time() >= execution.deadline_s:
                    return execution.fallback(
                        FallbackReason.EXECUTION_IN_PROGRESS, retry_after_ms=answer.remaining_ms
                    )
                await self._closer.wait_for_ending(account_id, self._poll_s(execution.deadline_s))
                continue
            if answer.passing and loop_time() < give_up_s:
                await self._closer.wait_for_ending(account_id, self._poll_s(give_up_s))
            elif lowerings < _LOWERINGS and self._lower(execution, answer):
                lowerings += 1
            else:
                return await self._conclude(execution, answer.reason, answer.available_mc)

    @staticmethod
    def _poll_s(until_s: float) -> float:
        left_s = until_s - asyncio.get_running_loop().time()
        return max(0.001, min(left_s, random.uniform(*_POLL_S)))  # noqa: S311 - jitter

    async def _reserve(
        self, execution: Execution
    ) -> Reserved | Refused | InProgress | ExecutionResult:
        assert execution.attempt is not None and execution.quote is not None
        since_s = time.perf_counter()
        try:
            async with asyncio.timeout_at(execution.deadline_s):
                answer = await self.ledger.reserve(
                    execution.attempt,
                    execution.quote.amount_mc,
                    self._settings.reservation_ttl_ms,
                )
        except (LedgerUnavailable, TimeoutError) as error:
            if isinstance(error, UnknownOutcome):
                self._closer.release_unknown(execution.attempt)
            return execution.fallback(FallbackReason.LEDGER_UNAVAILABLE)
        finally:
            execution.note_time("reserve", since_s)
        return self._first_outcome(execution, answer) if isinstance(answer, Existing) else answer

    @staticmethod
    def _first_outcome(execution: Execution, existing: Existing) -> ExecutionResult:
        result = outcomes.decode(execution.request.execution_id, existing)
        if result is None:
            return execution.fallback(existing.reason or FallbackReason.OUTCOME_LOST)
        return result

    def _lower(self, execution: Execution, refused: Refused) -> bool:
        """Cut ``max_output_tokens`` to what is available, unless no answer would fit."""
        assert execution.rates is not None and execution.quote is not None
        quote = execution.quote
        covered = covered_output_tokens(execution.rates, quote.input_tokens, refused.available_mc)
        if refused.reason not in (
            FallbackReason.EXECUTION_TOO_LARGE,
            FallbackReason.CREDITS_RESERVED_ELSEWHERE,
        ) or covered < self._least_output_tokens(execution):
            return False
        self._quote(execution, quote.input_tokens, min(covered, quote.max_output_tokens))
        execution.lowered = execution.lowered or covered < quote.max_output_tokens
        return True

    def _least_output_tokens(self, execution: Execution) -> int:
        spec, model = execution.spec, execution.model
        assert model is not None
        if spec.limits.min_output_tokens is not None:
            return spec.limits.min_output_tokens
        known = self._min_output_tokens.get((spec.version, model.id))
        if known is None:
            longest = model.counter.count_text(outputs.longest_answer(spec.outputs))
            known = longest + model.reasoning_allowance_tokens
            self._min_output_tokens[spec.version, model.id] = known
        return min(known, spec.limits.max_output_tokens)

    async def _conclude(
        self, execution: Execution, reason: FallbackReason, available_mc: int | None = None
    ) -> ExecutionResult:
        """Make a refusal the outcome, so that a redelivery gets the same values."""
        assert execution.attempt is not None
        resolved = execution.resolve(reason)
        if reason is not FallbackReason.ACCOUNT_UNKNOWN:
            try:
                answer = await self.ledger.conclude(
                    execution.attempt, reason, execution.outcome(resolved)
                )
            except LedgerUnavailable:
                return execution.fallback(FallbackReason.LEDGER_UNAVAILABLE)
            if isinstance(answer, Existing):
                return self._first_outcome(execution, answer)
            if isinstance(answer, InProgress):
                return execution.fallback(
                    FallbackReason.EXECUTION_IN_PROGRESS, retry_after_ms=answer.remaining_ms
                )
        return execution.result(resolved, available_after_mc=available_mc)

    # The model

    async def _call(self, execution: Execution) -> ExecutionResult:
        since_s = time.perf_counter()
        try:
            completion = await self._complete(execution)
        except ProviderError as error:
            execution.note_time("provider", since_s)
            return await self._release(execution, FallbackReason(f"provider_{error.kind}"))
        except Exception as error:
            # Law 4: whatever an adapter does wrong, the campaign goes on; law 6: it may have run.
            execution.possibly_executed += 1
            execution.attempts.append(
                Attempt(len(execution.attempts) + 1, "provider_error", 0, detail=type(error).__name__)
            )
            return await self._release(execution, FallbackReason.PROVIDER_ERROR)
        except asyncio.CancelledError:
            execution.possibly_executed += 1
            exposure_mc = self._exposure_mc(execution)
            assert execution.attempt is not None
            self._closer.close_soon(Release(execution.attempt, None, exposure_mc, None))
            raise
        execution.note_time("provider", since_s)
        execution.completion = completion
        return await self._answered(execution, completion)

    async def _complete(self, execution: Execution) -> Completion:
        spec, model, quote = execution.spec, execution.model, execution.quote
        assert model is not None and quote is not None and execution.reserved is not None
        reserved_until_s = (
            asyncio.get_running_loop().time() + execution.reserved.expires_in_ms / 1000
        )

        def before_attempt(ends_s: float) -> None:
            # A process that was stopped for a while must not call on an expired reservation.
            if ends_s > reserved_until_s:
                raise NotSent(FailureKind.TIMEOUT, "the reservation would expire first")

        def record(number: int, error: ProviderError | None, latency_ms: int) -> None:
            execution.attempts.append(_attempt(number, error, latency_ms))
            if isinstance(error, PossiblyExecuted):
                execution.possibly_executed += 1

        return await complete_with_retries(
            self._provider,
            CompletionRequest(
                litellm_model=model.litellm_model,
                endpoint=model.endpoint,
                messages=execution.messages,
                max_output_tokens=quote.max_output_tokens,
                response_schema=spec.json_schema if model.json_schema else None,
                temperature=spec.temperature,
            ),
            attempts=spec.limits.attempts,
            deadline_s=execution.deadline_s,
            attempt_timeout_ms=spec.limits.attempt_timeout_ms,
            before_attempt=before_attempt,
            record=record,
        )

    async def _answered(self, execution: Execution, completion: Completion) -> ExecutionResult:
        """Validate the answer and charge for it; law 6 says who pays for which answer."""
        execution.usage = self._usage(execution, completion)
        cut_off = completion.finish is FinishReason.LENGTH
        parsed = outputs.parse(completion.text, execution.spec.outputs)
        answered: Mapping[str, Any] = parsed.values
        if cut_off and execution.lowered and parsed.invalid:
            assert execution.rates is not None
            answered_mc = cost_mc(execution.rates, execution.usage)
            return await self._release(execution, FallbackReason.OUTPUT_TRUNCATED, answered_mc)
        if completion.finish is FinishReason.REFUSED:
            reason, answered = FallbackReason.CONTENT_REFUSED, {}
        elif cut_off:
            reason = FallbackReason.OUTPUT_TRUNCATED
        else:
            reason = FallbackReason.OUTPUT_INVALID
        return await self._settle(execution, reason, answered)

    @staticmethod
    def _usage(execution: Execution, completion: Completion) -> TokenUsage:
        """The reported usage, or else the counted one, which is flagged as an estimate."""
        if completion.usage is not None:
            return completion.usage
        assert execution.model is not None and execution.quote is not None
        execution.flags.append("usage_estimated")
        return TokenUsage(
            input_tokens=execution.quote.input_tokens,
            output_tokens=execution.model.counter.count_text(completion.text),
        )

    # The end

    async def _settle(
        self, execution: Execution, reason: FallbackReason, answered: Mapping[str, Any]
    ) -> ExecutionResult:
        attempt, reserved, usage = execution.attempt, execution.reserved, execution.usage
        assert attempt and reserved and usage and execution.rates and execution.card
        resolved = execution.resolve(reason, answered)
        charge_mc = cost_mc(execution.rates, usage)
        if execution.request.source is Source.PREVIEW and not self._settings.charge_previews:
            charge_mc = 0
            execution.flags.append("free_preview")
        since_s = time.perf_counter()
        settled = await self._closer.close(
            Settlement(
                attempt=attempt,
                cost_mc=charge_mc,
                reserved_mc=reserved.amount_mc,
                reserved_at_ms=reserved.reserved_at_ms,
                tokens=_tokens_column(usage),
                rate_card_version=execution.card.version,
                flags=tuple(execution.flags),
                exposure_mc=self._exposure_mc(execution),
                outcome=execution.outcome(resolved),
            ),
            execution.deadline_s,
        )
        execution.note_time("settle", since_s)
        if isinstance(settled, Existing):
            return self._first_outcome(execution, settled)
        if isinstance(settled, Settled):
            return execution.result(
                resolved, charged_mc=settled.charged_mc, available_after_mc=settled.available_mc
            )
        return execution.result(resolved, charged_mc=charge_mc)

    async def _release(
        self, execution: Execution, reason: FallbackReason, answered_mc: int = 0
    ) -> ExecutionResult:
        """Give everything back; ``answered_mc`` is the cost of an answer that nobody pays for."""
        assert execution.attempt is not None
        resolved = execution.resolve(reason)
        since_s = time.perf_counter()
        released = await self._closer.close(
            Release(
                attempt=execution.attempt,
                reason=reason,
                exposure_mc=self._exposure_mc(execution) + answered_mc,
                outcome=execution.outcome(resolved),
            ),
            execution.deadline_s,
        )
        execution.note_time("settle", since_s)
        if isinstance(released, Existing):
            return self._first_outcome(execution, released)
        return execution.result(
            resolved, available_after_mc=released.available_mc if released else None
        )

    @staticmethod
    def _exposure_mc(execution: Execution) -> int:
        """What the operator may owe for calls that gave no answer to charge for."""
        assert execution.quote is not None
        return execution.possibly_executed * execution.quote.amount_mc


def _attempt(number: int, error: ProviderError | None, latency_ms: int) -> Attempt:
    if error is None:
        return Attempt(number, "answered", latency_ms)
    return Attempt(
        number, f"provider_{error.kind}", latency_ms, status=error.status, detail=str(error)
    )


def _tokens_column(usage: TokenUsage) -> str:
    """The journal's column: input, cached input, cache write, output, reasoning."""
    return (
        f"{usage.input_tokens},{usage.cached_input_tokens},{usage.cache_write_tokens},"
        f"{usage.output_tokens},{usage.reasoning_tokens}"
    )
