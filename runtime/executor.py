"""Runs one action for one person: all branching of an execution is here."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fallback.policy import Resolved
from fallback.reasons import FallbackReason
from pricing.quote import cost_mc, covered_output_tokens
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason, Provider
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError
from providers.limits import EndpointLimits
from providers.retry import complete_with_retries
from runtime import outcomes, outputs
from runtime.actions import (
    ActionSource,
    ActionSpec,
    Attempt,
    ExecutionRequest,
    ExecutionResult,
    Source,
)
from runtime.closing import Closer
from runtime.counters import Counters
from runtime.credits.answers import (
    Existing,
    InProgress,
    LedgerUnavailable,
    Refused,
    Released,
    Reserved,
    Settled,
)
from runtime.credits.endings import Release, Settlement
from runtime.credits.journal import tokens_column
from runtime.credits.ledger import CreditLedger
from runtime.credits.transport import UnknownOutcome
from runtime.execution import Execution, Timings
from runtime.preparation import Preparation
from runtime.wording import cap_reached_text

_log = logging.getLogger("creditgate.executor")

# Waiting ends this long before the deadline, so that the last question is still answered.
_LAST_ASK_S = 0.05
_POLL_S = (0.05, 0.25)
_LOWERINGS = 3
_LOWERED_FOR = (
    FallbackReason.EXECUTION_TOO_LARGE,
    FallbackReason.CREDITS_RESERVED_ELSEWHERE,
)


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """``reservation_ttl_ms`` must outlast the longest deadline; see the configuration reference."""

    reservation_ttl_ms: int = 120_000
    wait_for_credits_ms: int = 15_000
    charge_previews: bool = True


class ActionRuntime:
    """Runs LLM actions against prepaid credits.

    Args:
        ledger: where credits are reserved and settled.
        closer: sends the ends of reservations, or keeps them on disk while Redis is away.

    ``counters`` say how well its quotes held.
    """

    def __init__(
        self,
        *,
        ledger: CreditLedger,
        closer: Closer,
        provider: Provider,
        actions: ActionSource,
        preparation: Preparation,
        limits: EndpointLimits,
        settings: ExecutorSettings,
    ) -> None:
        self.ledger = ledger
        self.actions = actions
        self.counters = Counters()
        self._closer = closer
        self._provider = provider
        self._preparation = preparation
        self._limits = limits
        self._settings = settings

    async def execute(self, request: ExecutionRequest) -> ExecutionResult:
        """Run the action and return typed values, the model's or the fallback ones.

        Every run-time condition gives a result. Asking again with the same ``execution_id``
        gives the first outcome, without a call or a charge.

        Raises:
            UnknownAction: the account has no such action.
            ExecutionConflict: the ``execution_id`` was used for something else.
        """
        return (await self.execute_traced(request))[0]

    async def execute_traced(
        self, request: ExecutionRequest
    ) -> tuple[ExecutionResult, Execution | None]:
        """Run the action as ``execute`` does and return what was sent and answered as well.

        The trace holds the prompt and the raw answer: it is for a preview's own caller alone.
        It is ``None`` where the execution ended before it had a prompt and a price.
        """
        timings = Timings()
        spec = request.action
        if not isinstance(spec, ActionSpec):
            spec = await self.actions.get(request.account_id, spec)
        deadline_s = asyncio.get_running_loop().time() + spec.limits.deadline_ms / 1000
        prepared = self._preparation.prepare(request, spec, deadline_s, timings)
        if isinstance(prepared, ExecutionResult):
            return prepared, None
        return await self._run(prepared), prepared

    # Credits

    async def _run(self, execution: Execution) -> ExecutionResult:
        """Take the provider's slot and reserve; without credits give the slot back and wait."""
        loop_time = asyncio.get_running_loop().time
        last_ask_s = execution.deadline_s - _LAST_ASK_S
        give_up_s = self._give_up_s(execution)
        lowerings = 0
        while True:
            try:
                async with self._limits.slot(execution.model.endpoint.name, execution.deadline_s):
                    answer = await self._reserve(execution)
                    if isinstance(answer, Reserved):
                        execution.reserved = answer
                        return await self._call(execution, answer)
            except TimeoutError:
                return await self._conclude(execution, FallbackReason.DEADLINE_EXCEEDED)
            if isinstance(answer, ExecutionResult):
                return answer
            if isinstance(answer, InProgress):
                if loop_time() >= last_ask_s:
                    return execution.in_progress(answer.remaining_ms)
                await self._wait(execution, last_ask_s)
            elif answer.passing and loop_time() < give_up_s:
                await self._wait(execution, give_up_s)
            elif lowerings < _LOWERINGS and self._lower(execution, answer):
                lowerings += 1
            elif self._least_may_come(execution, answer) and loop_time() < give_up_s:
                # Asked for less, others were quicker each time; or running executions have it.
                await self._wait(execution, give_up_s)
                lowerings = 0
            else:
                return await self._conclude(execution, answer.reason, answer)

    def _give_up_s(self, execution: Execution) -> float:
        """Return until when credits are waited for: the model must have time enough to answer."""
        now_s = asyncio.get_running_loop().time()
        half_s = (execution.deadline_s - now_s) / 2
        return now_s + min(self._settings.wait_for_credits_ms / 1000, half_s)

    async def _wait(self, execution: Execution, until_s: float) -> None:
        """Wait for another execution to end here, and look again soon for those elsewhere."""
        left_s = until_s - asyncio.get_running_loop().time()
        poll_s = random.uniform(*_POLL_S)  # noqa: S311 - jitter, no cryptography
        await self._closer.wait_for_ending(execution.request.account_id, min(left_s, poll_s))

    async def _reserve(
        self, execution: Execution
    ) -> Reserved | Refused | InProgress | ExecutionResult:
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
                self._closer.give_back(execution.attempt)
            return execution.result(execution.resolve(FallbackReason.LEDGER_UNAVAILABLE))
        finally:
            execution.timings.note("reserve", since_s)
        return self._first_outcome(execution, answer) if isinstance(answer, Existing) else answer

    @staticmethod
    def _first_outcome(execution: Execution, existing: Existing) -> ExecutionResult:
        result = outcomes.decode(execution.request.execution_id, existing)
        if result is not None:
            return result
        return execution.result(
            execution.resolve(existing.reason or FallbackReason.OUTCOME_LOST),
            charged_mc=existing.charged_mc,
        )

    def _lower(self, execution: Execution, refused: Refused) -> bool:
        """Cut ``max_output_tokens`` to what is available, unless no answer would fit."""
        covered = self._covered(execution, refused, refused.available_mc)
        if covered is None:
            return False
        execution.lower(covered)
        return True

    def _least_may_come(self, execution: Execution, refused: Refused) -> bool:
        """Whether the shortest answer is covered, should running executions use up nothing."""
        coming_mc = refused.available_mc + refused.home_mc
        return refused.home_mc > 0 and self._covered(execution, refused, coming_mc) is not None

    def _covered(self, execution: Execution, refused: Refused, credits_mc: int) -> int | None:
        """Return the output tokens that these credits cover, if an answer fits into them."""
        if refused.reason not in _LOWERED_FOR:
            return None
        covered = covered_output_tokens(execution.rates, execution.quote.input_tokens, credits_mc)
        least = self._preparation.least_output_tokens(execution.spec, execution.model)
        return covered if covered >= least else None

    async def _conclude(
        self, execution: Execution, reason: FallbackReason, refused: Refused | None = None
    ) -> ExecutionResult:
        """Make a refusal the outcome, so that a redelivery gets the same values."""
        resolved = execution.resolve(reason)
        try:
            answer = await self.ledger.conclude(
                execution.attempt, reason, execution.outcome(resolved)
            )
        except LedgerUnavailable:
            return execution.result(execution.resolve(FallbackReason.LEDGER_UNAVAILABLE))
        if isinstance(answer, Existing):
            return self._first_outcome(execution, answer)
        if isinstance(answer, InProgress):
            return execution.in_progress(answer.remaining_ms)
        if refused is None:
            return execution.result(resolved)
        return execution.result(
            resolved,
            available_after_mc=refused.available_mc,
            detail=None if refused.cap is None else cap_reached_text(refused.cap),
        )

    # The model

    async def _call(self, execution: Execution, reserved: Reserved) -> ExecutionResult:
        since_s = time.perf_counter()
        try:
            completion = await self._complete(execution, reserved)
        except ProviderError as error:
            execution.timings.note("provider", since_s)
            return await self._release(execution, FallbackReason(f"provider_{error.kind}"))
        except Exception:  # noqa: BLE001 - law 4: whatever an adapter does, the campaign goes on
            _log.exception("the provider adapter failed")
            execution.possibly_executed += 1
            return await self._release(execution, FallbackReason.PROVIDER_ERROR)
        except asyncio.CancelledError:
            execution.possibly_executed += 1
            self._closer.close_soon(Release(execution.attempt, None, execution.exposure_mc, None))
            raise
        execution.timings.note("provider", since_s)
        execution.completion = completion
        return await self._answered(execution, reserved, completion)

    async def _complete(self, execution: Execution, reserved: Reserved) -> Completion:
        spec, model = execution.spec, execution.model
        reserved_until_s = asyncio.get_running_loop().time() + reserved.expires_in_ms / 1000

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
                max_output_tokens=execution.quote.max_output_tokens,
                response_schema=spec.json_schema if model.json_schema else None,
                temperature=spec.temperature,
            ),
            attempts=spec.limits.attempts,
            deadline_s=execution.deadline_s,
            attempt_timeout_ms=spec.limits.attempt_timeout_ms,
            before_attempt=before_attempt,
            record=record,
        )

    async def _answered(
        self, execution: Execution, reserved: Reserved, completion: Completion
    ) -> ExecutionResult:
        """Validate the answer and charge for it; law 6 says who pays for which answer."""
        usage, flags = completion.usage, []
        if usage is None:
            output_tokens = execution.model.counter.count_text(completion.text)
            usage = TokenUsage(execution.quote.input_tokens, output_tokens)
            flags.append("usage_estimated")
        execution.usage = usage
        parsed = outputs.parse(completion.text, execution.spec.outputs)
        cut = execution.lowered and completion.finish is FinishReason.LENGTH
        unpaid = cut and bool(parsed.invalid)
        self._preparation.learn(execution, usage, cut=cut, charged=not unpaid)
        self.counters.answers += 1
        self.counters.input_undercounted += usage.input_tokens > execution.quote.input_tokens
        self.counters.quote_exceeded += cost_mc(execution.rates, usage) > reserved.amount_mc
        self.counters.cut_by_us += unpaid
        answered: Mapping[str, Any] = parsed.values
        if completion.finish is FinishReason.REFUSED:
            reason, answered = FallbackReason.CONTENT_REFUSED, {}
        elif completion.finish is FinishReason.LENGTH:
            reason = FallbackReason.OUTPUT_TRUNCATED
            if unpaid:
                unpaid_mc = cost_mc(execution.rates, usage)
                return await self._release(execution, reason, unpaid_mc)
        else:
            reason = FallbackReason.OUTPUT_INVALID
        detail = "; ".join(f"{name} {why}" for name, why in parsed.invalid.items()) or None
        return await self._settle(
            execution, reserved, usage, flags, execution.resolve(reason, answered), detail
        )

    # The end

    async def _settle(
        self,
        execution: Execution,
        reserved: Reserved,
        usage: TokenUsage,
        flags: list[str],
        resolved: Resolved,
        detail: str | None,
    ) -> ExecutionResult:
        charge_mc = cost_mc(execution.rates, usage)
        if execution.request.source is Source.PREVIEW and not self._settings.charge_previews:
            charge_mc = 0
            flags.append("free_preview")
        since_s = time.perf_counter()
        settled = await self._closer.close(
            Settlement(
                attempt=execution.attempt,
                cost_mc=charge_mc,
                reserved_mc=reserved.amount_mc,
                reserved_at_ms=reserved.reserved_at_ms,
                tokens=tokens_column(usage),
                rate_card_version=execution.card.version,
                flags=tuple(flags),
                exposure_mc=execution.exposure_mc,
                outcome=execution.outcome(resolved),
            ),
            execution.deadline_s,
        )
        execution.timings.note("settle", since_s)
        if isinstance(settled, Existing):
            return self._first_outcome(execution, settled)
        available_mc = None
        if isinstance(settled, Settled):
            charge_mc, available_mc = settled.charged_mc, settled.available_mc
        return execution.result(
            resolved, charged_mc=charge_mc, available_after_mc=available_mc, detail=detail
        )

    async def _release(
        self, execution: Execution, reason: FallbackReason, unpaid_mc: int = 0
    ) -> ExecutionResult:
        """Give everything back; ``unpaid_mc`` is the cost of an answer that nobody pays for."""
        resolved = execution.resolve(reason)
        since_s = time.perf_counter()
        released = await self._closer.close(
            Release(
                attempt=execution.attempt,
                reason=reason,
                exposure_mc=execution.exposure_mc + unpaid_mc,
                outcome=execution.outcome(resolved),
            ),
            execution.deadline_s,
        )
        execution.timings.note("settle", since_s)
        if isinstance(released, Existing):
            return self._first_outcome(execution, released)
        available_mc = released.available_mc if isinstance(released, Released) else None
        return execution.result(resolved, available_after_mc=available_mc)


def _attempt(number: int, error: ProviderError | None, latency_ms: int) -> Attempt:
    if error is None:
        return Attempt(number, "answered", latency_ms)
    return Attempt(
        number, f"provider_{error.kind}", latency_ms, status=error.status, detail=str(error)
    )
