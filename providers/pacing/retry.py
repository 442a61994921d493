"""The one layer of retries round a model call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from providers.base import Completion, CompletionRequest, Provider
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError

Recorder = Callable[[int, ProviderError | None, int], None]
ScriptClient = Callable[[], Awaitable[bool]]

_BACK_OFF = wait_random_exponential(multiplier=0.25, max=8)


async def _yes() -> bool:
    return True


async def complete_with_retries(
    provider: Provider,
    request: CompletionRequest,
    *,
    attempts: int,
    deadline_s: float,
    attempt_timeout_ms: int | None,
    before_attempt: Callable[[float], None],
    record: Recorder,
    may_retry: ScriptClient = _yes,
) -> Completion:
    """Call the model, at most ``attempts`` times, within ``deadline_s`` on the loop's clock.

    Only errors that say so are retried, after what the provider asked for and a jittered
    exponential back-off; where the deadline comes before, the error stands. An attempt that ran
    into its own time limit is followed by another.

    Whether a retry is safe is not asked: one after a call that may have been executed is a second
    call that the operator may owe, and the caller counts both.

    Args:
        attempt_timeout_ms: for each attempt; the deadline alone if ``None``.
        before_attempt: hears when the attempt will end at the latest; what it raises ends all.
        record: hears of each attempt its number, its error if any, and its latency in ms.
        may_retry: is asked after the back-off, and may wait; if it says no, the error stands.

    Raises:
        ProviderError: the last attempt's; ``NotSent`` if no time is left for any.
    """
    calls = _Calls(
        provider, request, deadline_s, attempt_timeout_ms, before_attempt, record, may_retry
    )
    try:
        # An answer at the first attempt, the usual case, does without tenacity's 30 us of CPU.
        return await calls.call()
    except ProviderError as error:
        if attempts == 1 or not error.retryable:
            raise
        first = error
    retrying = AsyncRetrying(
        stop=lambda state: stop_after_attempt(attempts)(state) or calls.is_over(state),
        retry=retry_if_exception(_may_retry),
        wait=_wait_s,
        sleep=asyncio.sleep,
        reraise=True,
    )
    return await retrying(calls.after(first))


@dataclass(slots=True)
class _Calls:
    """The attempts of one execution."""

    provider: Provider
    request: CompletionRequest
    deadline_s: float
    attempt_timeout_ms: int | None
    before_attempt: Callable[[float], None]
    record: Recorder
    may_retry: ScriptClient
    number: int = 0
    stands: bool = False

    async def call(self) -> Completion:
        """Make one attempt."""
        now_s = asyncio.get_running_loop().time()
        ends_s = self.deadline_s
        if self.attempt_timeout_ms is not None:
            ends_s = min(ends_s, now_s + self.attempt_timeout_ms / 1000)
        if ends_s <= now_s:
            raise NotSent(FailureKind.TIMEOUT, "no time is left for a call")
        self.before_attempt(ends_s)
        self.number += 1
        since_s = time.perf_counter()
        outcome: Completion | ProviderError
        try:
            async with asyncio.timeout_at(ends_s):
                outcome = await self.provider.complete(self.request)
        except TimeoutError:
            own_limit = ends_s < self.deadline_s
            outcome = PossiblyExecuted(
                FailureKind.TIMEOUT, "no answer in time", retryable=own_limit
            )
        except ProviderError as error:
            outcome = error
        latency_ms = round((time.perf_counter() - since_s) * 1000)
        if isinstance(outcome, ProviderError):
            self.record(self.number, outcome, latency_ms)
            raise outcome
        self.record(self.number, None, latency_ms)
        return outcome

    def after(self, first: ProviderError) -> Callable[[], Awaitable[Completion]]:
        """Return what tenacity is to call: the first attempt's error, then the attempts after."""
        last, tried = first, False

        async def attempt() -> Completion:
            nonlocal last, tried
            if not tried:
                tried = True
                raise last
            if not await self.may_retry():
                self.stands = True
                raise last
            try:
                return await self.call()
            except ProviderError as error:
                last = error
                raise

        return attempt

    def is_over(self, state: RetryCallState) -> bool:
        """Whether the last error stands: it was said so, or the deadline comes first."""
        now_s = asyncio.get_running_loop().time()
        return self.stands or now_s + state.upcoming_sleep >= self.deadline_s


def _may_retry(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


def _wait_s(state: RetryCallState) -> float:
    """How long to wait: what the provider asked for, and a back-off that keeps callers apart."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked_ms = error.retry_after_ms if isinstance(error, ProviderError) else None
    return (asked_ms or 0) / 1000 + _BACK_OFF(state)
