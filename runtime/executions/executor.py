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
from providers.base import Completion, FinishReason
from providers.errors import ProviderError
from providers.pacing.queue import NoTurn, Turn
from runtime.actions import outputs
from runtime.actions.requests import ExecutionRequest, ExecutionResult, Source
from runtime.actions.spec import ActionSource, ActionSpec
from runtime.credits.endings import Release, Settlement
from runtime.credits.journal import tokens_column
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    BookingUnknown,
    Existing,
    InProgress,
    LedgerUnavailable,
    Refused,
    Released,
    Reserved,
    Settled,
)
from runtime.executions import stored_outcome as outcomes
from runtime.executions.counters import Counters
from runtime.executions.execution import Execution, Timings
from runtime.executions.model_calls import CallSession, ModelCalls
from runtime.executions.outbox import Outbox
from runtime.executions.quoting import Quoter
from runtime.wording.limits import cap_reached_text
from runtime.wording.reasons import no_turn_text, provider_down_text

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
        outbox: sends the ends of reservations, or keeps them on disk while Redis is away.
        calls: the way to the models; executions wait there for their turn.

    ``counters`` say how well its quotes held.
    """

    def __init__(
        self,
        *,
        ledger: CreditLedger,
        outbox: Outbox,
        calls: ModelCalls,
        actions: ActionSource,
        quoter: Quoter,
        settings: ExecutorSettings,
    ) -> None:
        self.accounts = ledger.accounts
        self._ledger = ledger
        self.actions = actions
        self.counters = Counters()
        self._outbox = outbox
        self._calls = calls
        self._quoter = quoter
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
        prepared = self._quoter.prepare(request, spec, deadline_s, timings)
        if isinstance(prepared, ExecutionResult):
            return prepared, None
        with self._calls.visit(prepared) as visit:
            return await self._run(prepared, visit), prepared

    def is_healthy(self, model_id: str) -> bool | None:
        """Whether a model is called at present; ``None`` if this process knows nothing of it."""
        model = self._quoter.model(model_id)
        return None if model is None else self._calls.is_healthy(model)

    # Credits

    async def _run(self, execution: Execution, visit: CallSession) -> ExecutionResult:
        """Wait for a turn and reserve; without credits give the turn back and wait."""
        loop_time = asyncio.get_running_loop().time
        last_ask_s = execution.deadline_s - _LAST_ASK_S
        give_up_s = self._give_up_s(execution)
        lowerings = 0
        while visit.lets_through():
            try:
                async with visit.turn() as turn:
                    if not visit.lets_through():
                        break
                    answer = await self._reserve(execution)
                    if isinstance(answer, Reserved):
                        execution.reserved = answer
                        return await self._call(execution, answer, visit, turn)
            except NoTurn as missed:
                return await self._conclude(
                    execution, FallbackReason.DEADLINE_EXCEEDED, detail=no_turn_text(missed.wait)
                )
            if isinstance(answer, ExecutionResult):
                return answer
            if isinstance(answer, InProgress):
                if loop_time() >= last_ask_s:
                    return execution.in_progress(answer.remaining_ms)
                await self._wait(execution, last_ask_s)
            elif answer.may_clear and loop_time() < give_up_s:
                await self._wait(execution, give_up_s)
            elif lowerings < _LOWERINGS and self._lower(execution, answer):
                lowerings += 1
            elif self._least_may_come(execution, answer) and loop_time() < give_up_s:
                # Asked for less, others were quicker each time; or running executions have it.
                await self._wait(execution, give_up_s)
                lowerings = 0
            else:
                return await self._conclude(execution, answer.reason, answer)
        return await self._left_alone(execution, visit)

    def _give_up_s(self, execution: Execution) -> float:
        """Return until when credits are waited for: the model must have time enough to answer."""
        now_s = asyncio.get_running_loop().time()
        half_s = (execution.deadline_s - now_s) / 2
        return now_s + min(self._settings.wait_for_credits_ms / 1000, half_s)

    async def _wait(self, execution: Execution, until_s: float) -> None:
        """Wait for another execution to end here, and look again soon for those elsewhere."""
        left_s = until_s - asyncio.get_running_loop().time()
        poll_s = random.uniform(*_POLL_S)  # noqa: S311 - jitter, no cryptography
        await self._outbox.wait_for_ending(execution.request.account_id, min(left_s, poll_s))

    async def _reserve(
        self, execution: Execution
    ) -> Reserved | Refused | InProgress | ExecutionResult:
        since_s = time.perf_counter()
        try:
            async with asyncio.timeout_at(execution.deadline_s):
                answer = await self._ledger.reserve(
                    execution.attempt,
                    execution.quote.amount_mc,
                    self._settings.reservation_ttl_ms,
                )
        except (LedgerUnavailable, TimeoutError) as error:
            if isinstance(error, BookingUnknown):
                self._outbox.give_back(execution.attempt)
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
        coming_mc = refused.available_mc + refused.returning_mc
        return refused.returning_mc > 0 and self._covered(execution, refused, coming_mc) is not None

    def _covered(self, execution: Execution, refused: Refused, credits_mc: int) -> int | None:
        """Return the output tokens that these credits cover, if an answer fits into them."""
        if refused.reason not in _LOWERED_FOR:
            return None
        covered = covered_output_tokens(execution.rates, execution.quote.input_tokens, credits_mc)
        least = self._quoter.least_output_tokens(execution.spec, execution.model)
        return covered if covered >= least else None

    async def _left_alone(self, execution: Execution, visit: CallSession) -> ExecutionResult:
        """Fall back because the provider is down. Nothing of it is stored: ask again.

        An outcome that the id has already, or is about to have, is given all the same (law 3).
        """
        known: Settled | Released | Refused | InProgress | Existing | None
        if execution.reserved is not None:
            nothing = Release(execution.attempt, None, 0, None)
            known = await self._outbox.close(nothing, execution.deadline_s)
        else:
            known = await self._look_up(execution)
        if isinstance(known, Existing):
            return self._first_outcome(execution, known)
        if isinstance(known, InProgress):
            return execution.in_progress(known.remaining_ms)
        return execution.result(
            execution.resolve(FallbackReason.MODEL_UNAVAILABLE),
            detail=provider_down_text(execution.model.id, visit.breaker.probe_in_ms),
        )

    async def _look_up(self, execution: Execution) -> InProgress | Existing | None:
        """Return what the ledger knows of the id, ``None`` where that is nothing."""
        try:
            async with asyncio.timeout_at(execution.deadline_s):
                return await self._ledger.look_up(execution.attempt)
        except (LedgerUnavailable, TimeoutError):
            return None

    async def _conclude(
        self,
        execution: Execution,
        reason: FallbackReason,
        refused: Refused | None = None,
        detail: str | None = None,
    ) -> ExecutionResult:
        """Make a refusal the outcome, so that a redelivery gets the same values."""
        resolved = execution.resolve(reason)
        try:
            answer = await self._ledger.conclude(
                execution.attempt, reason, execution.outcome(resolved)
            )
        except LedgerUnavailable:
            return execution.result(execution.resolve(FallbackReason.LEDGER_UNAVAILABLE))
        if isinstance(answer, Existing):
            return self._first_outcome(execution, answer)
        if isinstance(answer, InProgress):
            return execution.in_progress(answer.remaining_ms)
        if refused is None:
            return execution.result(resolved, detail=detail)
        return execution.result(
            resolved,
            available_after_mc=refused.available_mc,
            detail=None if refused.cap is None else cap_reached_text(refused.cap),
        )

    # The model

    async def _call(
        self, execution: Execution, reserved: Reserved, visit: CallSession, turn: Turn
    ) -> ExecutionResult:
        if not visit.lets_through():
            return await self._left_alone(execution, visit)
        since_s = time.perf_counter()
        try:
            completion = await visit.complete(reserved, turn)
        except ProviderError as error:
            execution.timings.note("provider", since_s)
            return await self._release(execution, FallbackReason(f"provider_{error.kind}"))
        except Exception:  # noqa: BLE001 - law 4: whatever an adapter does, the campaign goes on
            _log.exception("the provider adapter failed")
            execution.possibly_executed += visit.calling
            return await self._release(execution, FallbackReason.PROVIDER_ERROR)
        except asyncio.CancelledError:
            execution.possibly_executed += visit.calling
            self._outbox.close_soon(Release(execution.attempt, None, execution.exposure_mc, None))
            raise
        execution.timings.note("provider", since_s)
        execution.completion = completion
        return await self._answered(execution, reserved, completion)

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
        self._quoter.learn(execution, usage, cut=cut, charged=not unpaid)
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
        settled = await self._outbox.close(
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
        released = await self._outbox.close(
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
