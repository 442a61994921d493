"""Calls models for executions: in turn, at providers that are there, with attempts recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass

from providers.base import Completion, CompletionRequest, Provider
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError
from providers.pacing.breaker import Breaker, BreakerSettings, Visit
from providers.pacing.queue import EndpointLimits, NoTurn, Turn
from providers.pacing.retry import complete_with_retries
from runtime.actions.requests import Attempt
from runtime.catalog.models import Model
from runtime.credits.results import Reserved
from runtime.executions.execution import Execution

_DOWN = (FailureKind.ERROR, FailureKind.TIMEOUT)


class ModelCalls:
    """The way of all executions of this process to their models.

    Args:
        breakers: settings by endpoint name; each model at an endpoint has a breaker of its own.
    """

    def __init__(
        self,
        provider: Provider,
        limits: EndpointLimits,
        breakers: Mapping[str, BreakerSettings],
    ) -> None:
        self._provider = provider
        self._limits = limits
        self._settings = breakers
        self._breakers: dict[tuple[str, str], Breaker] = {}

    def is_healthy(self, model: Model) -> bool | None:
        """Whether calls of a model are made at present; ``None`` if this process made none yet."""
        breaker = self._breakers.get((model.endpoint.name, model.litellm_model))
        return None if breaker is None else not breaker.is_open

    @contextmanager
    def visit(self, execution: Execution) -> Iterator[CallSession]:
        """Come with an execution to its model."""
        model = execution.model
        key = model.endpoint.name, model.litellm_model
        breaker = self._breakers.get(key)
        if breaker is None:
            settings = self._settings.get(model.endpoint.name, BreakerSettings())
            breaker = Breaker(settings, asyncio.get_running_loop().time)
            self._breakers[key] = breaker
        with breaker.visit() as visit:
            yield CallSession(execution, self._provider, self._limits, breaker, visit)


@dataclass(slots=True)
class CallSession:
    """One execution at its model. ``calling`` tells that a call has begun and not ended."""

    execution: Execution
    provider: Provider
    limits: EndpointLimits
    breaker: Breaker
    visit: Visit
    calling: bool = False

    def lets_through(self) -> bool:
        """Whether the model's provider is there, as far as is known, or is to be probed by us."""
        return self.breaker.lets_through(self.visit)

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """Wait for a turn at the endpoint.

        Raises:
            NoTurn: none came before the deadline.
        """
        execution = self.execution
        quote = execution.quote
        tokens = quote.input_tokens + quote.max_output_tokens
        return self.limits.turn(execution.model.endpoint.name, tokens, execution.deadline_s)

    async def complete(self, reserved: Reserved, turn: Turn) -> Completion:
        """Call the model, again where that helps; a retry takes a turn of its own.

        Raises:
            ProviderError: there is no answer.
        """
        execution = self.execution
        spec, model = execution.spec, execution.model
        reserved_until_s = asyncio.get_running_loop().time() + reserved.expires_in_ms / 1000

        def before_attempt(ends_s: float) -> None:
            # A process that was stopped for a while must not call on an expired reservation.
            if ends_s > reserved_until_s:
                raise NotSent(FailureKind.TIMEOUT, "the reservation would expire first")
            turn.use()
            self.calling = True

        async def may_retry() -> bool:
            try:
                await turn.another()
            except NoTurn:
                return False
            return self.lets_through()

        def record(number: int, error: ProviderError | None, latency_ms: int) -> None:
            self.calling = False
            execution.attempts.append(_attempt(number, error, latency_ms))
            if isinstance(error, PossiblyExecuted):
                execution.possibly_executed += 1
            if error is not None and error.retry_after_ms:
                turn.rest(error.retry_after_ms)
            self._tell_breaker(error, latency_ms)

        return await complete_with_retries(
            self.provider,
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
            may_retry=may_retry,
        )

    def _tell_breaker(self, error: ProviderError | None, latency_ms: int) -> None:
        if error is None:
            self.breaker.answered(self.visit)
        elif error.kind in _DOWN:
            limits = self.execution.spec.limits
            full_ms = limits.attempt_timeout_ms or limits.deadline_ms
            own_time = error.kind is FailureKind.TIMEOUT and error.status is None
            # Whose time was nearly over when its turn came knows nothing of the provider.
            if not own_time or 2 * latency_ms >= full_ms:
                self.breaker.failed(self.visit)
        elif not isinstance(error, NotSent):
            self.breaker.answered(self.visit)


def _attempt(number: int, error: ProviderError | None, latency_ms: int) -> Attempt:
    if error is None:
        return Attempt(number, "answered", latency_ms)
    return Attempt(
        number, f"provider_{error.kind}", latency_ms, status=error.status, detail=str(error)
    )
