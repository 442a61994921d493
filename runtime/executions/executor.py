"""Runs one action for one person, up to the reservation; ``reserved`` goes on from there.

``execute`` prepares the execution and ``_run`` reserves credits for it. The decisions themselves
are pure functions in ``decision``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from functools import partial

from fallback.reasons import FallbackReason
from pricing.quote import covered_output_tokens
from providers.base import Provider
from providers.pacing.deadline import Deadline
from providers.pacing.queue import NoTurn
from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending
from runtime.actions.source import ActionSource
from runtime.actions.spec import ActionSpec
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    BookingUnknown,
    Existing,
    InProgress,
    LedgerUnavailable,
    Refused,
    Reserved,
)
from runtime.executions.counters import Counters
from runtime.executions.decision import (
    Conclude,
    Defer,
    FallBack,
    Lower,
    Replay,
    Wait,
    next_step,
)
from runtime.executions.execution import Execution, Timings
from runtime.executions.model_calls import CallSession, ModelCalls
from runtime.executions.outbox import Outbox
from runtime.executions.quoting import Priced, Quoter
from runtime.executions.reserved import ReservedExecutions, model_unavailable
from runtime.executions.unpaid import run_unpaid
from runtime.wording.caps import above_limit_text, cap_reached_text
from runtime.wording.reasons import no_turn_text

_log = logging.getLogger("creditgate.executor")

# Waiting ends this long before the deadline, so that the last reservation is still answered.
_LAST_RESERVE_S = 0.05
_POLL_S = (0.05, 0.25)


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """Settings of the runtime.

    Args:
        reservation_ttl_ms: must outlast the longest deadline.
        wait_for_credits_ms: how long an execution waits for credits that others have reserved.
        charge_previews: false if previews are free.
        max_charge_mc: the most that the quote of one execution may be; ``None`` for no limit.
    """

    reservation_ttl_ms: int = 120_000
    wait_for_credits_ms: int = 15_000
    charge_previews: bool = True
    max_charge_mc: int | None = None


class Executor:
    """Runs actions by one configuration.

    Args:
        ledger: where credits are reserved and settled.
        outbox: ends reservations, and keeps their ends on disk while Redis is away.
        calls: calls the models; executions wait there for their turn.
        actions: where actions that a request names by id come from.
        quoter: prepares executions.
        counters: counts how well the quotes hold.
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
        counters: Counters,
    ) -> None:
        self._ledger = ledger
        self.actions = actions
        self._outbox = outbox
        self._reserved = ReservedExecutions(
            outbox=outbox,
            quoter=quoter,
            counters=counters,
            charge_previews=settings.charge_previews,
        )
        self._calls = calls
        self._quoter = quoter
        self._settings = settings

    async def execute_traced(
        self, request: ExecutionRequest
    ) -> tuple[ExecutionResult | Pending, Execution | None]:
        """Run the action, as ``ActionRuntime.execute_traced`` says."""
        prepared, deadline = await self._prepare(request)
        if isinstance(prepared, ExecutionResult):
            return prepared, None
        try:
            if self._is_above_limit(prepared):
                return await self._above_limit(prepared), prepared
            with self._calls.session(prepared) as session:
                return await self._run(prepared, session), prepared
        finally:
            deadline.stop()

    async def execute_unpaid(
        self, request: ExecutionRequest, provider: Provider
    ) -> tuple[ExecutionResult, Execution | None]:
        """Run the action on another provider, as ``ActionRuntime.execute_unpaid`` says."""
        prepared, deadline = await self._prepare(request)
        try:
            if isinstance(prepared, ExecutionResult):
                return prepared, None
            return await run_unpaid(prepared, provider), prepared
        finally:
            deadline.stop()

    async def _prepare(
        self, request: ExecutionRequest
    ) -> tuple[Execution | ExecutionResult, Deadline]:
        timings = Timings()
        spec = request.action
        if not isinstance(spec, ActionSpec):
            spec = await self.actions.get(request.account_id, spec)
        now_s = asyncio.get_running_loop().time()
        deadline = Deadline(now_s + spec.limits.deadline_ms / 1000)
        return await self._quoter.prepare(request, spec, deadline, timings), deadline

    def is_healthy(self, model_id: str) -> bool | None:
        """Return whether a model's provider answers; ``None`` if this process made no call yet."""
        model = self._quoter.model(model_id)
        return None if model is None else self._calls.is_healthy(model)

    def resumes_in_ms(self, spec: ActionSpec) -> int:
        """Return how long calls for an action are certain to fail; 0 if that is not known.

        Its model's provider asked this process for a pause, or kept failing and is tried again
        then.
        """
        priced = self._quoter.price(spec)
        return self._calls.resumes_in_ms(priced.model) if isinstance(priced, Priced) else 0

    def endpoint_of(self, spec: ActionSpec) -> str | None:
        """Return the endpoint that an action's model is called at; ``None`` if it can't be."""
        priced = self._quoter.price(spec)
        return priced.model.endpoint.name if isinstance(priced, Priced) else None

    def open_breakers(self) -> list[str]:
        """Return the endpoint of each breaker that stands open, as ``ModelCalls`` does."""
        return self._calls.open_breakers()

    async def drain(self) -> None:
        """Finish the background work, as ``ActionRuntime.drain`` says."""
        await self._outbox.drain()
        await self._quoter.share()

    # Credits

    def _is_above_limit(self, execution: Execution) -> bool:
        most_mc = self._settings.max_charge_mc
        return most_mc is not None and execution.progress.quote.amount_mc > most_mc

    async def _above_limit(self, execution: Execution) -> ExecutionResult | Pending:
        """Fall back because one execution may not cost so much, unless the id has its outcome."""
        known = await self._look_up(execution)
        if isinstance(known, Existing):
            return execution.first_outcome(known)
        if isinstance(known, InProgress):
            return execution.pending(known.remaining_ms)
        most_mc = self._settings.max_charge_mc or 0
        detail = above_limit_text(execution.progress.quote.amount_mc, most_mc)
        return execution.not_kept(FallbackReason.CAP_REACHED, detail)

    async def _run(self, execution: Execution, session: CallSession) -> ExecutionResult | Pending:
        """Wait for a turn, reserve and call; without credits give the turn back and wait."""
        loop_time = asyncio.get_running_loop().time
        last_reserve_s = execution.deadline.at_s - _LAST_RESERVE_S
        began_s = loop_time()
        lowerings = 0
        while session.allows():
            try:
                async with session.turn() as turn:
                    if not session.allows():
                        break
                    asked_s = loop_time()
                    answer = await self._reserve(execution)
                    if isinstance(answer, Reserved):
                        execution.progress.note_reserved(answer, asked_s)
                        return await self._reserved.run(execution, answer, session, turn)
            except NoTurn as missed:
                detail = no_turn_text(missed.bottleneck)
                reason = FallbackReason.DEADLINE_EXCEEDED
                return await self._conclude(execution, reason, detail=detail)
            step = next_step(
                answer,
                now_s=loop_time(),
                last_reserve_s=last_reserve_s,
                give_up_s=self._give_up_s(execution, began_s),
                lowerings=lowerings,
                fitting_output=partial(self._fitting_output, execution),
            )
            match step:
                case Wait(until_s, lowerings):
                    await self._wait(execution, until_s)
                case Lower(max_output_tokens, lowerings):
                    execution.lower(max_output_tokens)
                case Replay(existing):
                    return execution.first_outcome(existing)
                case Defer(retry_after_ms):
                    return execution.pending(retry_after_ms)
                case Conclude(refused):
                    return await self._conclude(execution, refused.reason, refused)
                case FallBack(reason, available_mc):
                    return execution.not_kept(reason, available_after_mc=available_mc)
        known = await self._look_up(execution)
        return model_unavailable(execution, session, known)

    def _give_up_s(self, execution: Execution, began_s: float) -> float:
        """Return until when to wait for credits: the model needs the second half of the time."""
        half_s = (execution.deadline.at_s - began_s) / 2
        return began_s + min(self._settings.wait_for_credits_ms / 1000, half_s)

    async def _wait(self, execution: Execution, until_s: float) -> None:
        """Wait for an execution to end in this process; return soon, as others end elsewhere."""
        left_s = until_s - asyncio.get_running_loop().time()
        poll_s = random.uniform(*_POLL_S)  # noqa: S311 - jitter, no cryptography
        await self._outbox.wait_for_ending(execution.request.account_id, min(left_s, poll_s))

    async def _reserve(
        self, execution: Execution
    ) -> Reserved | Refused | InProgress | Existing | None:
        """Reserve the quote; ``None`` if the ledger did not answer in time."""
        since_s = time.perf_counter()
        try:
            with execution.deadline:
                return await self._ledger.reserve(
                    execution.attempt,
                    execution.progress.quote.amount_mc,
                    self._settings.reservation_ttl_ms,
                )
        except (LedgerUnavailable, TimeoutError) as error:
            if isinstance(error, BookingUnknown):
                self._outbox.give_back(execution.attempt)
            return None
        finally:
            execution.progress.timings.note("reserve", since_s)

    def _fitting_output(self, execution: Execution, credits_mc: int) -> int | None:
        """Return the output tokens that so many credits cover, if an answer fits into them."""
        counted = execution.progress.quote.input_tokens
        covered = covered_output_tokens(execution.rates, counted, credits_mc)
        least = self._quoter.least_output_tokens(execution.spec, execution.model)
        return covered if covered >= least else None

    async def _conclude(
        self,
        execution: Execution,
        reason: FallbackReason,
        refused: Refused | None = None,
        detail: str | None = None,
    ) -> ExecutionResult | Pending:
        """Make a refusal the outcome, so that a redelivery gets the same values."""
        resolved = execution.resolve(reason)
        outcome = execution.outcome(resolved)
        try:
            answer = await self._ledger.conclude(execution.attempt, reason, outcome)
        except LedgerUnavailable:
            return execution.not_kept(FallbackReason.LEDGER_UNAVAILABLE)
        if isinstance(answer, Existing):
            return execution.first_outcome(answer)
        if isinstance(answer, InProgress):
            return execution.pending(answer.remaining_ms)
        if isinstance(answer, Refused):
            # An account that was never opened has nowhere to keep an outcome.
            return execution.not_kept(answer.reason)
        if refused is not None and refused.cap is not None:
            detail = cap_reached_text(refused.cap)
        return execution.result(
            resolved,
            kept=True,
            available_after_mc=None if refused is None else refused.available_mc,
            detail=detail,
        )

    async def _look_up(self, execution: Execution) -> InProgress | Existing | None:
        """Return what the ledger knows of the id, or ``None``."""
        try:
            with execution.deadline:
                return await self._ledger.look_up(execution.attempt)
        except (LedgerUnavailable, TimeoutError):
            return None
