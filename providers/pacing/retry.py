"""The only retries of a model call: LiteLLM's and the SDKs' are off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from providers.base import Completion, CompletionRequest, Provider
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError
from providers.pacing.deadline import Deadline

_BACK_OFF = wait_random_exponential(multiplier=0.25, max=8)


async def _yes() -> bool:
    return True


@dataclass(slots=True)
class RetriedCall:
    """A model call of at most ``attempts`` attempts.

    Only errors marked ``retryable`` are retried, after the time that the provider asked for plus a
    jittered exponential back-off; if the deadline comes first, the error stands. An attempt that
    ran into ``attempt_timeout_ms`` is retried. A retry after a call that may have been executed is
    a second call that the operator may owe: the caller counts both.

    Args:
        attempts: the most attempts, 1 or more.
        deadline: bounds the call as a whole.
        attempt_timeout_ms: the time for each attempt; ``None`` for the deadline alone.
        before_attempt: is told when the attempt will end at the latest; an error that it raises
            ends the call.
        record: is told each attempt's number, its error or ``None``, and its latency in ms.
        may_retry: is asked after the back-off, and may wait; if it returns false, the error stands.
    """

    provider: Provider
    request: CompletionRequest
    attempts: int
    deadline: Deadline
    attempt_timeout_ms: int | None
    before_attempt: Callable[[float], None]
    record: Callable[[int, ProviderError | None, int], None]
    may_retry: Callable[[], Awaitable[bool]] = _yes

    async def complete(self) -> Completion:
        """Return the model's answer.

        Raises:
            ProviderError: the last attempt's; ``NotSent`` if no time is left for the first.
        """
        try:
            # An answer at the first attempt, the usual case, does without tenacity's 30 us of CPU.
            return await self._attempt(1)
        except ProviderError as error:
            if self.attempts == 1 or not error.retryable:
                raise
            last = error
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_retryable),
            wait=_wait_s,
            stop=self._stops,
            sleep=asyncio.sleep,
            reraise=True,
        )
        async for attempt in retrying:
            number = attempt.retry_state.attempt_number
            if number > 1 and not await self.may_retry():
                break
            with attempt:
                if number == 1:
                    raise last
                try:
                    return await self._attempt(number)
                except ProviderError as error:
                    last = error
                    raise
        raise last

    async def _attempt(self, number: int) -> Completion:
        now_s = asyncio.get_running_loop().time()
        ends_s = self.deadline.at_s
        if self.attempt_timeout_ms is not None:
            ends_s = min(ends_s, now_s + self.attempt_timeout_ms / 1000)
        if ends_s <= now_s:
            raise NotSent(FailureKind.TIMEOUT, "no time is left for a call")
        self.before_attempt(ends_s)
        since_s = time.perf_counter()
        own_limit = ends_s < self.deadline.at_s
        error: ProviderError
        try:
            if own_limit:
                async with asyncio.timeout_at(ends_s):
                    completion = await self.provider.complete(self.request)
            else:
                with self.deadline:
                    completion = await self.provider.complete(self.request)
        except TimeoutError:
            error = PossiblyExecuted(FailureKind.TIMEOUT, "no answer in time", retryable=own_limit)
        except ProviderError as failure:
            error = failure
        else:
            self.record(number, None, _ms_since(since_s))
            return completion
        self.record(number, error, _ms_since(since_s))
        raise error

    def _stops(self, state: RetryCallState) -> bool:
        """Return whether the error stands: no attempt is left, or the deadline comes first."""
        now_s = asyncio.get_running_loop().time()
        is_last = state.attempt_number >= self.attempts
        return is_last or now_s + state.upcoming_sleep >= self.deadline.at_s


def _ms_since(since_s: float) -> int:
    return round((time.perf_counter() - since_s) * 1000)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ProviderError) and error.retryable


def _wait_s(state: RetryCallState) -> float:
    """Return the seconds to wait: what the provider asked for, and a back-off with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked_ms = error.retry_after_ms if isinstance(error, ProviderError) else None
    return (asked_ms or 0) / 1000 + _BACK_OFF(state)
