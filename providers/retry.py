"""The one layer of retries round a model call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt
from tenacity.wait import wait_random_exponential

from providers.base import Completion, CompletionRequest, Provider
from providers.errors import FailureKind, PossiblyExecuted, ProviderError

Recorder = Callable[[int, ProviderError | None, int], None]

_BACK_OFF = wait_random_exponential(multiplier=0.25, max=8)


async def complete_with_retries(
    provider: Provider,
    request: CompletionRequest,
    *,
    attempts: int,
    deadline_s: float,
    attempt_timeout_ms: int | None,
    before_attempt: Callable[[float], None],
    record: Recorder,
) -> Completion:
    """Call the model, at most ``attempts`` times, within ``deadline_s`` on the loop's clock.

    Only errors that say so are retried, after a jittered exponential back-off or after what the
    provider asked for; where that would pass the deadline, the error stands.

    Args:
        attempt_timeout_ms: for each attempt; the deadline alone if ``None``.
        before_attempt: hears when the attempt will end at the latest; what it raises ends all.
        record: hears of each attempt its number, its error if any, and its latency in ms.

    Raises:
        ProviderError: the last attempt's.
    """
    calls = _Calls(provider, request, deadline_s, attempt_timeout_ms, before_attempt, record)
    if attempts == 1:
        return await calls.call()
    # An answer at the first attempt, the usual case, does without tenacity's machinery.
    try:
        return await calls.call()
    except ProviderError as error:
        if not calls.may_retry(error):
            raise
        first = error
    retrying = AsyncRetrying(
        stop=stop_after_attempt(attempts),
        retry=lambda state: calls.may_retry(_error_of(state)),
        wait=calls.wait_s,
        reraise=True,
    )
    return await retrying(calls.next_result(first))


@dataclass(slots=True)
class _Calls:
    """The attempts of one execution."""

    provider: Provider
    request: CompletionRequest
    deadline_s: float
    attempt_timeout_ms: int | None
    before_attempt: Callable[[float], None]
    record: Recorder
    number: int = 0

    async def call(self) -> Completion:
        loop = asyncio.get_running_loop()
        self.number += 1
        ends_s = self.deadline_s
        if self.attempt_timeout_ms is not None:
            ends_s = min(ends_s, loop.time() + self.attempt_timeout_ms / 1000)
        self.before_attempt(ends_s)
        since_s = time.perf_counter()
        error: ProviderError | None = None
        try:
            async with asyncio.timeout_at(ends_s):
                completion = await self.provider.complete(self.request)
        except TimeoutError as exc:
            error = PossiblyExecuted(FailureKind.TIMEOUT, "no answer in time")
            self._record(error, since_s)
            raise error from exc
        except ProviderError as exc:
            self._record(exc, since_s)
            raise
        self._record(None, since_s)
        return completion

    def next_result(self, first: ProviderError) -> Callable[[], Awaitable[Completion]]:
        """Return what tenacity is to call: the first attempt's error, then the attempts after."""

        async def attempt() -> Completion:
            nonlocal first_seen
            if not first_seen:
                first_seen = True
                raise first
            return await self.call()

        first_seen = False
        return attempt

    def may_retry(self, error: BaseException | None) -> bool:
        """Whether another attempt can help and has the time to."""
        if not isinstance(error, ProviderError) or not error.retryable:
            return False
        left_s = self.deadline_s - asyncio.get_running_loop().time()
        return (error.retry_after_ms or 0) / 1000 < left_s

    def wait_s(self, state: RetryCallState) -> float:
        """How long to wait: what the provider asked for, or the back-off."""
        error = _error_of(state)
        asked_ms = error.retry_after_ms if isinstance(error, ProviderError) else None
        left_s = self.deadline_s - asyncio.get_running_loop().time()
        return min(_BACK_OFF(state), left_s) if asked_ms is None else asked_ms / 1000

    def _record(self, error: ProviderError | None, since_s: float) -> None:
        self.record(self.number, error, round((time.perf_counter() - since_s) * 1000))


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
