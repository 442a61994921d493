"""Runs one action for one person, from the reservation to its end.

``run`` is the way in. ``_call`` calls the model, ``_answered`` judges the answer, and ``_settle``
or ``_release`` ends the reservation.
"""

from __future__ import annotations

import asyncio
import logging
import time

from fallback.policy import Resolved
from fallback.reasons import FallbackReason, is_kept
from providers.base import Completion, FinishReason
from providers.errors import NotSent, ProviderError
from providers.pacing.queue import Turn
from runtime.actions import answers
from runtime.actions.requests import ExecutionResult, Pending, Source
from runtime.credits.endings import Settlement
from runtime.credits.results import (
    ExecutionConflict,
    Existing,
    InProgress,
    NotBooked,
    Released,
    Reserved,
    Settled,
)
from runtime.executions.counters import Counters
from runtime.executions.decision import bill, is_too_long_to_count, judge
from runtime.executions.execution import Execution
from runtime.executions.model_calls import CallSession
from runtime.executions.outbox import Outbox
from runtime.executions.quoting import Quoter
from runtime.executions.switch_watch import CallHeld
from runtime.wording.reasons import held_text, refused_text

_log = logging.getLogger("creditgate.executor")


class ReservedExecutions:
    """Runs executions from the reservation to its end.

    Args:
        outbox: ends reservations.
        quoter: learns from answers.
        counters: counts answers, and how well their quotes held.
        charge_previews: false if previews are free.
    """

    def __init__(
        self, *, outbox: Outbox, quoter: Quoter, counters: Counters, charge_previews: bool
    ) -> None:
        self._outbox = outbox
        self._quoter = quoter
        self._counters = counters
        self._charge_previews = charge_previews

    async def run(
        self, execution: Execution, reserved: Reserved, session: CallSession, turn: Turn
    ) -> ExecutionResult | Pending:
        """Call the model, and end the reservation whatever is raised on the way (law 4)."""
        ended = False
        self._counters.reserved += 1
        try:
            result = await self._call(execution, reserved, session, turn)
            ended = True
            return result
        except (ExecutionConflict, asyncio.CancelledError):
            ended = True  # nothing to end, or ended where the call was cancelled
            raise
        except Exception as error:  # noqa: BLE001 - law 4: the campaign goes on
            # Its type alone: its message and its chain may quote the prompt, the answer or a key.
            _log.error("an execution broke off: %s", type(error).__name__)
            ended = True
            return await self._broken_off(execution, session)
        finally:
            self._counters.reserved -= 1
            if not ended:
                self._outbox.close_soon(execution.release(unpaid_mc=self._unsettled_mc(execution)))

    async def _broken_off(self, execution: Execution, session: CallSession) -> ExecutionResult:
        """Release what was reserved. An ending that came before this one stands (law 3)."""
        answered = execution.progress.completion is not None
        execution.progress.possibly_executed += session.calling
        reason = FallbackReason.OUTPUT_INVALID if answered else FallbackReason.PROVIDER_ERROR
        try:
            return await self._release(execution, reason, unpaid_mc=self._unsettled_mc(execution))
        except ExecutionConflict:
            raise
        except Exception as error:  # noqa: BLE001 - law 4: the campaign goes on
            _log.error("a reservation is left to expire: %s", type(error).__name__)
            return execution.not_kept(reason)

    def _unsettled_mc(self, execution: Execution) -> int:
        """Return what an answer that was not settled may cost the operator."""
        return execution.reserved_mc if execution.progress.completion is not None else 0

    async def _call(
        self, execution: Execution, reserved: Reserved, session: CallSession, turn: Turn
    ) -> ExecutionResult | Pending:
        if not session.allows():
            known = await self._outbox.close(execution.release(), execution.deadline)
            return model_unavailable(execution, session, known)
        progress = execution.progress
        since_s = time.perf_counter()
        try:
            completion = await session.complete(reserved, turn)
        except ProviderError as error:
            progress.timings.note("provider", since_s)
            # Nobody refused what was never sent: who asks must hear what stands in the way.
            detail = str(error) if isinstance(error, NotSent) else None
            if progress.endpoint_refusal is not None:
                detail = refused_text(progress.endpoint_refusal, execution.model.id)
            reason = FallbackReason(f"provider_{error.kind}")
            return await self._release(execution, reason, detail=detail, status=error.status)
        except CallHeld as held:
            progress.timings.note("provider", since_s)
            return await self._release(execution, held.reason, detail=held_text(held.reason))
        except Exception as error:  # noqa: BLE001 - law 4: whatever an adapter does
            # Its type alone: its message and its chain may quote the prompt, the answer or a key.
            _log.error("the provider adapter failed: %s", type(error).__name__)
            progress.possibly_executed += session.calling
            return await self._release(execution, FallbackReason.PROVIDER_ERROR)
        except asyncio.CancelledError:
            progress.possibly_executed += session.calling
            self._outbox.close_soon(execution.release())
            raise
        progress.timings.note("provider", since_s)
        progress.completion = completion
        if completion.usage is None:
            await self._count(execution, completion.text)
        return await self._answered(execution, reserved, completion)

    async def _count(self, execution: Execution, text: str) -> None:
        """Count the tokens of an answer without usage."""
        progress = execution.progress
        if is_too_long_to_count(text, progress.quote.max_output_tokens):
            return
        try:
            progress.counted_output_tokens = await self._quoter.count_answer(execution, text)
        except asyncio.CancelledError:
            self._outbox.close_soon(execution.release(unpaid_mc=self._unsettled_mc(execution)))
            raise

    async def _answered(
        self, execution: Execution, reserved: Reserved, completion: Completion
    ) -> ExecutionResult:
        """Validate the answer, then charge for it or release."""
        progress, model, quote = execution.progress, execution.model, execution.progress.quote
        billed = bill(
            completion,
            quote.input_tokens,
            quote.max_output_tokens,
            model.reasoning_allowance_tokens,
            progress.counted_output_tokens,
        )
        usage, flags = billed.usage, list(billed.flags)
        progress.usage = usage
        parsed = answers.parse(
            completion.text,
            execution.spec.outputs,
            execution.request.data,
            after_thoughts=completion.after_thoughts,
            cut_off=completion.finish is FinishReason.LENGTH,
        )
        verdict = judge(parsed, completion.finish, lowered=progress.lowered)
        self._quoter.learn(execution, usage, cut=verdict.cut_by_us, charged=verdict.charged)
        cost_mc, free_mc = execution.cost_mc(usage), 0
        was_capped = billed.reported is not usage
        unpaid_mc = execution.cost_mc(billed.reported) - cost_mc if was_capped else 0
        self._counters.answers += 1
        self._counters.input_undercounted += usage.input_tokens > quote.input_tokens
        self._counters.quote_exceeded += cost_mc > reserved.amount_mc
        self._counters.usage_capped += was_capped
        self._counters.cut_by_us += not verdict.charged
        if not verdict.charged:
            return await self._release(execution, verdict.reason, unpaid_mc=cost_mc + unpaid_mc)
        if execution.request.source is Source.PREVIEW and not self._charge_previews:
            cost_mc, free_mc = 0, cost_mc
            flags.append("free_preview")
        resolved = execution.resolve(verdict.reason, verdict.answered)
        detail = "; ".join(f"{name} {why}" for name, why in parsed.invalid.items()) or None
        settlement = execution.settlement(
            reserved, usage, cost_mc, flags, resolved, unpaid_mc=unpaid_mc, free_mc=free_mc
        )
        return await self._settle(execution, settlement, resolved, detail)

    async def _settle(
        self, execution: Execution, settlement: Settlement, resolved: Resolved, detail: str | None
    ) -> ExecutionResult:
        since_s = time.perf_counter()
        settled = await self._outbox.close(settlement, execution.deadline)
        execution.progress.timings.note("settle", since_s)
        if isinstance(settled, Existing):
            return execution.first_outcome(settled)
        charged_mc, available_mc = settlement.cost_mc, None
        if isinstance(settled, Settled):
            charged_mc, available_mc = settled.charged_mc, settled.available_mc
        if is_lost := isinstance(settled, NotBooked):
            charged_mc = 0
        return execution.result(
            resolved,
            kept=not is_lost,
            charged_mc=charged_mc,
            available_after_mc=available_mc,
            detail=detail,
        )

    async def _release(
        self,
        execution: Execution,
        reason: FallbackReason,
        unpaid_mc: int = 0,
        detail: str | None = None,
        status: int | None = None,
    ) -> ExecutionResult:
        """Give everything back, and store the outcome where it is one that is kept.

        Args:
            unpaid_mc: the cost of an answer that is not charged.
            status: the HTTP status with which the provider rejected the request, if it did.
        """
        resolved = execution.resolve(reason)
        kept, available_mc = is_kept(reason, status=status), None
        outcome = execution.outcome(resolved) if kept else None
        since_s = time.perf_counter()
        released = await self._outbox.close(
            execution.release(reason, unpaid_mc, outcome), execution.deadline
        )
        execution.progress.timings.note("settle", since_s)
        if isinstance(released, Existing):
            return execution.first_outcome(released)
        if isinstance(released, Released):
            # Not found: the reservation expired, and another attempt has the id now.
            kept, available_mc = kept and released.found, released.available_mc
        return execution.result(resolved, kept=kept, available_after_mc=available_mc, detail=detail)


def model_unavailable(
    execution: Execution,
    session: CallSession,
    known: Settled | Released | InProgress | Existing | NotBooked | None,
) -> ExecutionResult | Pending:
    """Fall back because the provider is down, or refuses the key or the model: ask again later.

    An outcome that the id already has, or is about to have, is returned instead (law 3).

    Args:
        known: what the ledger answered about the id.
    """
    if isinstance(known, Existing):
        return execution.first_outcome(known)
    if isinstance(known, InProgress):
        return execution.pending(known.remaining_ms)
    return execution.not_kept(FallbackReason.MODEL_UNAVAILABLE, session.why_not())
