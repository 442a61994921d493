"""Calls models for executions: waits for a turn, asks the breaker, retries, records attempts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Self

from pricing.usage import TokenUsage
from providers.base import Completion, Provider
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Refusal
from providers.pacing.breaker import Breaker, BreakerSettings, Caller
from providers.pacing.queue import EndpointQueues, NoTurn, Turn
from providers.pacing.retry import RetriedCall
from runtime.actions.requests import Attempt, EndpointRefusal
from runtime.catalog.models import Model
from runtime.credits.results import Reserved
from runtime.executions.execution import Execution
from runtime.executions.provider_texts import ProviderTexts
from runtime.executions.switch_watch import CallGate, SwitchWatch
from runtime.observing import AttemptEnded, Observer
from runtime.wording.reasons import next_attempt_text, provider_down_text, refused_text

_DOWN = (FailureKind.ERROR, FailureKind.TIMEOUT)


class ModelCalls:
    """Calls models for all executions of this process.

    Args:
        breakers: settings by endpoint name; each model, and each key, at an endpoint has its own
            breaker.
        switches: says whether a call may begin.
        secrets: must not be shown where a provider quotes them.
        observer: hears of each call that has ended.
    """

    def __init__(
        self,
        provider: Provider,
        queues: EndpointQueues,
        breakers: Mapping[str, BreakerSettings],
        switches: SwitchWatch,
        secrets: Iterable[str] = (),
        observer: Observer | None = None,
    ) -> None:
        self._texts = ProviderTexts(secrets, time.monotonic)
        self._provider = provider
        self._queues = queues
        self._settings = breakers
        self._switches = switches
        self._observer = observer
        self._breakers: dict[tuple[str, str, str | None], Breaker] = {}

    def is_healthy(self, model: Model) -> bool | None:
        """Return whether a model's provider answers; ``None`` if this process made no call yet."""
        breakers = self._known(model)
        return not any(breaker.is_open for breaker in breakers) if breakers else None

    def resumes_in_ms(self, model: Model) -> int:
        """Return the time until a model may be called; 0 unless its provider is known to fail.

        Its provider asked for a pause, or the breaker is open and its next probe is due then.
        """
        probes_in_ms = [breaker.probe_in_ms for breaker in self._known(model)]
        return max(self._queues.pause_ms(model.endpoint.name), *probes_in_ms, 0)

    def _known(self, model: Model) -> list[Breaker]:
        """Return the breakers that a call of this model passes, once it has been called."""
        known = [self._breakers.get(key) for key in (_of_key(model), _of_model(model))]
        return [breaker for breaker in known if breaker is not None]

    def open_breakers(self) -> list[str]:
        """Return the endpoint of each breaker of a key or a model that stands open."""
        return [key[0] for key, breaker in self._breakers.items() if breaker.is_open]

    def session(self, execution: Execution) -> CallSession:
        """Return the session in which an execution makes its calls, in a ``with`` block."""
        model, limits = execution.model, execution.spec.limits
        limit_ms = min(limits.attempt_timeout_ms or limits.deadline_ms, limits.deadline_ms)
        return CallSession(
            execution,
            self._provider,
            self._queues,
            self._switches,
            self._texts,
            self._breaker(model, _of_key(model)).caller(limit_ms),
            self._breaker(model, _of_model(model)).caller(limit_ms),
            self._observer,
        )

    def _breaker(self, model: Model, key: tuple[str, str, str | None]) -> Breaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            settings = self._settings.get(model.endpoint.name, BreakerSettings())
            breaker = Breaker(settings, asyncio.get_running_loop().time)
            self._breakers[key] = breaker
        return breaker


def _of_key(model: Model) -> tuple[str, str, str | None]:
    """Return the name of the breaker of a model's key at its endpoint."""
    return model.endpoint.name, "key", model.endpoint.api_key


def _of_model(model: Model) -> tuple[str, str, str | None]:
    return model.endpoint.name, "model", model.litellm_model


class CallSession:
    """The calls of one execution. ``calling`` is true from a request until its end."""

    __slots__ = (
        "_execution",
        "_gate",
        "_observer",
        "_of_key",
        "_of_model",
        "_provider",
        "_queues",
        "_reserved_until_s",
        "_switches",
        "_texts",
        "_turn",
        "calling",
    )

    _gate: CallGate
    _turn: Turn
    _reserved_until_s: float

    def __init__(
        self,
        execution: Execution,
        provider: Provider,
        queues: EndpointQueues,
        switches: SwitchWatch,
        texts: ProviderTexts,
        of_key: Caller,
        of_model: Caller,
        observer: Observer | None,
    ) -> None:
        self._execution = execution
        self._observer = observer
        self._provider = provider
        self._queues = queues
        self._switches = switches
        self._texts = texts
        self._of_key = of_key
        self._of_model = of_model
        self.calling = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._of_model.breaker.leave(self._of_model)
        self._of_key.breaker.leave(self._of_key)

    def allows(self) -> bool:
        """Return whether a call may be made: the provider answers, or this call is the probe."""
        of_key, of_model = self._of_key, self._of_model
        return of_key.breaker.allows(of_key) and of_model.breaker.allows(of_model)

    def why_not(self) -> str:
        """Return why no call is allowed; note it in the execution if the config is to be mended."""
        model = self._execution.model
        of_key, of_model = self._of_key.breaker, self._of_model.breaker
        # A breaker that has closed meanwhile stood open when the caller was refused.
        breaker = of_key if of_key.is_open else of_model
        if (status := breaker.refused_status) is None:
            return provider_down_text(model.id, breaker.probe_in_ms)
        refusal = EndpointRefusal(model.endpoint.name, status)
        self._execution.progress.endpoint_refusal = refusal
        return f"{refused_text(refusal, model.id)}; {next_attempt_text(breaker.probe_in_ms)}"

    def turn(self) -> Turn:
        """Return a turn at the endpoint, which an ``async with`` block waits for.

        Raises:
            NoTurn: no turn came before the deadline.
        """
        execution = self._execution
        quote = execution.progress.quote
        tokens = quote.input_tokens + quote.max_output_tokens
        return self._queues.turn(execution.model.endpoint.name, tokens, execution.deadline.at_s)

    async def complete(self, reserved: Reserved, turn: Turn) -> Completion:
        """Call the model, and retry where that helps. A retry waits for its own turn.

        Raises:
            ProviderError: the model gave no answer.
            CallHeld: something was switched off before a call, or nobody could tell.
        """
        execution = self._execution
        spec = execution.spec
        self._turn = turn
        loop_time_s = asyncio.get_running_loop().time()
        self._reserved_until_s = loop_time_s + reserved.expires_in_ms / 1000
        call = RetriedCall(
            self._provider,
            execution.completion_request(),
            attempts=spec.limits.attempts,
            deadline=execution.deadline,
            attempt_timeout_ms=spec.limits.attempt_timeout_ms,
            before_attempt=self._before_attempt,
            record=self._record,
            may_retry=self._may_retry,
        )
        attempt, proven_s = execution.attempt, execution.progress.proven_s
        with self._switches.gate(attempt.account_id, attempt.dimensions, proven_s) as gate:
            self._gate = gate
            if not gate.is_open():
                await gate.wait(execution.deadline.at_s)
            completion = await call.complete()
        if self._observer is not None:
            self._observer(self._ended(execution.progress.attempts[-1], completion.usage))
        return completion

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
        # Last, for nothing may be waited for between this and the call.
        if not self._gate.is_open():
            await self._gate.wait(self._execution.deadline.at_s)
        return self.allows()

    def _record(self, number: int, error: ProviderError | None, latency_ms: int) -> None:
        self.calling = False
        progress = self._execution.progress
        progress.attempts.append(_attempt(number, error, latency_ms))
        if isinstance(error, PossiblyExecuted):
            progress.possibly_executed += 1
        if error is not None and error.retry_after_ms:
            self._turn.pause_endpoint(error.retry_after_ms)
        if error is not None:
            self._texts.note(self._execution, number, error)
        if error is not None and error.refusal is not None and error.status is not None:
            endpoint = self._execution.model.endpoint.name
            progress.endpoint_refusal = EndpointRefusal(endpoint, error.status)
        self._tell_breakers(error, latency_ms)
        if error is not None and self._observer is not None:
            self._observer(self._ended(progress.attempts[-1], None))

    def _ended(self, attempt: Attempt, usage: TokenUsage | None) -> AttemptEnded:
        model, quote = self._execution.model, self._execution.progress.quote
        return AttemptEnded(
            endpoint=model.endpoint.name,
            model=model.litellm_model,
            number=attempt.number,
            outcome=attempt.outcome,
            status=attempt.status,
            seconds=attempt.latency_ms / 1000,
            max_output_tokens=quote.max_output_tokens,
            input_tokens=None if usage is None else usage.input_tokens,
            output_tokens=None if usage is None else usage.output_tokens,
        )

    def _tell_breakers(self, error: ProviderError | None, latency_ms: int) -> None:
        for_key, for_model = self._of_key, self._of_model
        of_key, of_model = for_key.breaker, for_model.breaker
        if error is None:
            of_key.answered(for_key)
            of_model.answered(for_model)
        elif isinstance(error, NotSent):
            if error.kind is FailureKind.ERROR:
                of_model.failed(for_model)
        elif error.refusal is Refusal.KEY and error.status is not None:
            of_key.refused(for_key, error.status)
            of_model.answered(for_model)
        elif error.refusal is Refusal.MODEL and error.status is not None:
            of_key.answered(for_key)
            of_model.refused(for_model, error.status)
        elif error.kind is FailureKind.TIMEOUT and error.status is None:
            of_model.timed_out(for_model, latency_ms)
        elif error.kind in _DOWN:
            of_model.failed(for_model)
        else:
            of_key.answered(for_key)
            of_model.answered(for_model)


def _attempt(number: int, error: ProviderError | None, latency_ms: int) -> Attempt:
    if error is None:
        return Attempt(number, "answered", latency_ms)
    return Attempt(
        number, f"provider_{error.kind}", latency_ms, status=error.status, detail=str(error)
    )
