"""Calls models for executions: waits for a turn, asks the breaker, retries, records attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager

from providers.base import Completion, CompletionRequest, Provider
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError
from providers.pacing.breaker import Breaker, BreakerSettings, Caller
from providers.pacing.queue import EndpointQueues, NoTurn, Turn
from providers.pacing.retry import RetriedCall
from runtime.actions.requests import Attempt
from runtime.catalog.models import Model
from runtime.credits.results import Reserved
from runtime.executions.execution import Execution

_DOWN = (FailureKind.ERROR, FailureKind.TIMEOUT)


class ModelCalls:
    """Calls models for all executions of this process.

    Args:
        breakers: settings by endpoint name; each model at an endpoint has its own breaker.
    """

    def __init__(
        self,
        provider: Provider,
        queues: EndpointQueues,
        breakers: Mapping[str, BreakerSettings],
    ) -> None:
        self._provider = provider
        self._queues = queues
        self._settings = breakers
        self._breakers: dict[tuple[str, str], Breaker] = {}

    def is_healthy(self, model: Model) -> bool | None:
        """Return whether a model's provider answers; ``None`` if this process made no call yet."""
        breaker = self._breakers.get((model.endpoint.name, model.litellm_model))
        return None if breaker is None else not breaker.is_open

    def resumes_in_ms(self, model: Model) -> int:
        """Return the time until a model may be called; 0 unless its provider is known to fail.

        Its provider asked for a pause, or the breaker is open and its next probe is due then.
        """
        breaker = self._breakers.get((model.endpoint.name, model.litellm_model))
        probe_in_ms = 0 if breaker is None else breaker.probe_in_ms
        return max(probe_in_ms, self._queues.pause_ms(model.endpoint.name))

    @contextmanager
    def session(self, execution: Execution) -> Iterator[CallSession]:
        """Open the session in which an execution makes its calls."""
        model = execution.model
        key = model.endpoint.name, model.litellm_model
        breaker = self._breakers.get(key)
        if breaker is None:
            settings = self._settings.get(model.endpoint.name, BreakerSettings())
            breaker = Breaker(settings, asyncio.get_running_loop().time)
            self._breakers[key] = breaker
        with breaker.caller() as caller:
            yield CallSession(execution, self._provider, self._queues, breaker, caller)


class CallSession:
    """The calls of one execution. ``calling`` is true from a request until its end."""

    __slots__ = (
        "_caller",
        "_execution",
        "_provider",
        "_queues",
        "_reserved_until_s",
        "_turn",
        "breaker",
        "calling",
    )

    _turn: Turn
    _reserved_until_s: float

    def __init__(
        self,
        execution: Execution,
        provider: Provider,
        queues: EndpointQueues,
        breaker: Breaker,
        caller: Caller,
    ) -> None:
        self._execution = execution
        self._provider = provider
        self._queues = queues
        self._caller = caller
        self.breaker = breaker
        self.calling = False

    def allows(self) -> bool:
        """Return whether a call may be made: the provider answers, or this call is the probe."""
        return self.breaker.allows(self._caller)

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """Wait for a turn at the endpoint.

        Raises:
            NoTurn: no turn came before the deadline.
        """
        execution = self._execution
        quote = execution.progress.quote
        tokens = quote.input_tokens + quote.max_output_tokens
        return self._queues.turn(execution.model.endpoint.name, tokens, execution.deadline_s)

    async def complete(self, reserved: Reserved, turn: Turn) -> Completion:
        """Call the model, and retry where that helps. A retry waits for its own turn.

        Raises:
            ProviderError: the model gave no answer.
        """
        execution = self._execution
        spec, model = execution.spec, execution.model
        self._turn = turn
        loop_time_s = asyncio.get_running_loop().time()
        self._reserved_until_s = loop_time_s + reserved.expires_in_ms / 1000
        call = RetriedCall(
            self._provider,
            CompletionRequest(
                litellm_model=model.litellm_model,
                endpoint=model.endpoint,
                messages=execution.messages,
                max_output_tokens=execution.progress.quote.max_output_tokens,
                response_schema=spec.json_schema if model.json_schema else None,
                temperature=spec.temperature,
            ),
            attempts=spec.limits.attempts,
            deadline_s=execution.deadline_s,
            attempt_timeout_ms=spec.limits.attempt_timeout_ms,
            before_attempt=self._before_attempt,
            record=self._record,
            may_retry=self._may_retry,
        )
        return await call.complete()

    def _before_attempt(self, ends_s: float) -> None:
        # A process that was suspended must not call on an expired reservation.
        if ends_s > self._reserved_until_s:
            raise NotSent(FailureKind.TIMEOUT, "the reservation would expire first")
        self._turn.use()
        self.calling = True

    async def _may_retry(self) -> bool:
        try:
            await self._turn.another()
        except NoTurn:
            return False
        return self.allows()

    def _record(self, number: int, error: ProviderError | None, latency_ms: int) -> None:
        self.calling = False
        progress = self._execution.progress
        progress.attempts.append(_attempt(number, error, latency_ms))
        if isinstance(error, PossiblyExecuted):
            progress.possibly_executed += 1
        if error is not None and error.retry_after_ms:
            self._turn.pause_endpoint(error.retry_after_ms)
        self._tell_breaker(error, latency_ms)

    def _tell_breaker(self, error: ProviderError | None, latency_ms: int) -> None:
        if error is None:
            self.breaker.answered(self._caller)
        elif error.kind in _DOWN:
            limits = self._execution.spec.limits
            full_ms = limits.attempt_timeout_ms or limits.deadline_ms
            own_time = error.kind is FailureKind.TIMEOUT and error.status is None
            # A call that began with little time left says nothing about the provider.
            if not own_time or 2 * latency_ms >= full_ms:
                self.breaker.failed(self._caller)
        elif not isinstance(error, NotSent):
            self.breaker.answered(self._caller)


def _attempt(number: int, error: ProviderError | None, latency_ms: int) -> Attempt:
    if error is None:
        return Attempt(number, "answered", latency_ms)
    return Attempt(
        number, f"provider_{error.kind}", latency_ms, status=error.status, detail=str(error)
    )
