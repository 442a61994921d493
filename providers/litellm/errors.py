"""Translation of LiteLLM's exceptions into ``ProviderError``, in one place."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected

if TYPE_CHECKING:
    import httpx

_RATE_LIMITED = 429
_TIMEOUTS = {408, 504, 524}
"""The provider, or a gateway before it, stopped waiting: the model may have run."""
_RAN_NOTHING = {503, 529}
"""Overloaded: refused before the model."""
_MAY_HELP = {500, 502, 503, 520, 521, 522, 523, 529}
_RAN_ALL_THE_SAME = {
    # Azure bills prompts that its filter stopped: "HTTP Error response code and billing status",
    # https://learn.microsoft.com/azure/ai-services/openai/how-to/manage-costs
    "content_filter",
    "invalid_prompt",
    # Groq checks what the model wrote, and answers 400 if it is not JSON or not a tool call:
    # https://console.groq.com/docs/structured-outputs, "Error Handling"
    "json_validate_failed",
    "tool_use_failed",
}
"""Codes of errors with a status in the 400s that the model had to run for, or that are billed."""
_MAX_RETRY_AFTER_MS = 86_400_000


def translate(litellm: Any, error: Exception, before: BaseException | None) -> ProviderError:
    """Return the error of the call that the exception stands for.

    LiteLLM's class and status are not enough: a refused connection, an answer that it can't read
    and one without usage all become errors with a made-up status. A status counts only if an HTTP
    answer is behind it, and a failed connection only if the client reported it. Everything else
    may have been executed.

    The message holds nothing that the provider wrote, which may quote the key or the prompt.

    Args:
        before: the exception that was being handled as the call began, if any. Python chains it
            to those of the call, but it says nothing about the call.
    """
    name, causes = type(error).__name__, tuple(_chain(error, before))
    try:
        return _translate(litellm, error, name, causes)
    except Exception:  # noqa: BLE001 - what a server sends must not bring its own error to the log
        return PossiblyExecuted(FailureKind.ERROR, f"the error can't be read ({name})")


def _translate(
    litellm: Any, error: Exception, name: str, causes: Sequence[BaseException]
) -> ProviderError:
    answer = _error_answer(causes)
    if answer is not None:
        filtered = isinstance(error, litellm.ContentPolicyViolationError)
        return _by_status(name, answer, filtered=filtered)
    unsent = _unsent(litellm, causes)
    if unsent is not None:
        return unsent
    if isinstance(error, litellm.Timeout):
        return PossiblyExecuted(FailureKind.TIMEOUT, f"no answer in time ({name})")
    return PossiblyExecuted(FailureKind.ERROR, f"the answer was lost or can't be read ({name})")


def broken_off() -> ProviderError:
    """Return the error of an answer that the provider ended with an error of its own."""
    return PossiblyExecuted(
        FailureKind.ERROR, "the provider broke off its answer with an error", retryable=True
    )


def _chain(error: BaseException, before: BaseException | None) -> Iterator[BaseException]:
    seen = {id(before)}
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _error_answer(causes: Sequence[BaseException]) -> httpx.Response | None:
    """Return the provider's HTTP answer with an error status, if there is one."""
    import httpx

    for cause in reversed(causes):
        # The SDKs' and LiteLLM's own errors have a response too, but one that they made up.
        if isinstance(cause, httpx.HTTPStatusError):
            return cause.response
    return None


def _by_status(name: str, answer: httpx.Response, *, filtered: bool) -> ProviderError:
    status, codes = answer.status_code, _error_codes(answer)
    kind, retryable = FailureKind.ERROR, status in _MAY_HELP
    certainty: type[ProviderError] = PossiblyExecuted
    if status == _RATE_LIMITED:
        kind, certainty = FailureKind.RATE_LIMITED, Rejected
        # A retry does not help against a quota that is used up.
        retryable = "insufficient_quota" not in codes and not _day_is_used_up(answer)
    elif status in _TIMEOUTS:
        kind = FailureKind.TIMEOUT
    elif status in _RAN_NOTHING:
        certainty = Rejected
    elif 400 <= status < 500:
        kind = FailureKind.REJECTED
        certainty = PossiblyExecuted if filtered or codes & _RAN_ALL_THE_SAME else Rejected
    return certainty(
        kind,
        f"the provider answered with status {status} ({name})",
        status=status,
        retryable=retryable,
        retry_after_ms=_retry_after_ms(answer) if retryable else None,
    )


def _error(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's ``error`` object, where all providers put it; else an empty one."""
    import httpx

    try:
        body = answer.json()
    except (ValueError, RecursionError, httpx.ResponseNotRead):
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _error_codes(answer: httpx.Response) -> set[str]:
    """Return the codes by which OpenAI and compatible providers name an error."""
    error = _error(answer)
    return {field for field in (error.get("code"), error.get("type")) if isinstance(field, str)}


def _details(answer: httpx.Response, kind: str) -> list[dict[str, Any]]:
    """Return the details of a Google error of one kind (https://google.aip.dev/193)."""
    details = _error(answer).get("details")
    return [
        detail
        for detail in (details if isinstance(details, list) else [])
        if isinstance(detail, dict) and detail.get("@type") == f"type.googleapis.com/{kind}"
    ]


def _day_is_used_up(answer: httpx.Response) -> bool:
    """Return whether a daily quota of Google's is used up."""
    for detail in _details(answer, "google.rpc.QuotaFailure"):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else []:
            if isinstance(violation, dict) and "PerDay" in str(violation.get("quotaId")):
                return True
    return False


def _unsent(litellm: Any, causes: Sequence[BaseException]) -> NotSent | None:
    """Return the error of a request that was certainly never sent, if this is one."""
    if any(_failed_to_connect(cause, causes) for cause in causes):
        return NotSent(FailureKind.ERROR, "no connection to the provider", retryable=True)
    first, name = causes[0], type(causes[0]).__name__
    # LiteLLM raises these by itself, with no other error behind them, while it prepares a
    # request: an unknown provider, a parameter that the model does not take, its own budget.
    alone = len(causes) == 1 and isinstance(first, litellm.BadRequestError)
    if alone or isinstance(first, litellm.BudgetExceededError):
        why = ""
        if isinstance(first, litellm.UnsupportedParamsError) and "temperature" in str(first):
            why = ": the model does not take this temperature"
        return NotSent(FailureKind.REJECTED, f"LiteLLM refused the request ({name}){why}")
    for cause in causes:
        if isinstance(cause, ModuleNotFoundError):
            return NotSent(
                FailureKind.REJECTED, f"LiteLLM needs the package {cause.name} for this provider"
            )
        if isinstance(cause, UnicodeEncodeError):
            return NotSent(FailureKind.REJECTED, "the request holds what can't be encoded")
    return None


def _failed_to_connect(cause: BaseException, causes: Sequence[BaseException]) -> bool:
    import aiohttp
    import httpx

    if any(isinstance(other, aiohttp.ClientError) for other in causes):
        # LiteLLM turns aiohttp's errors into httpx's, and a connection that was reset after the
        # request was sent into a ConnectError: only aiohttp's own tell one from the other.
        return isinstance(
            cause,
            aiohttp.ClientConnectorError
            | aiohttp.ConnectionTimeoutError
            | aiohttp.ClientHttpProxyError,
        )
    if any(isinstance(other, asyncio.CancelledError) for other in causes):
        # A session that is closed cancels its requests, whatever they are at.
        return False
    return isinstance(
        cause,
        httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError,
    )


def _retry_after_ms(answer: httpx.Response) -> int | None:
    """Read ``Retry-After`` (RFC 9110: seconds or a date), OpenAI's ``retry-after-ms``, or the
    delay that Google puts into the error itself (``"27s"``).
    """
    for asked, unit_ms in (
        (answer.headers.get("retry-after-ms"), 1),
        (answer.headers.get("retry-after"), 1_000),
        *(
            (str(detail.get("retryDelay")).removesuffix("s"), 1_000)
            for detail in _details(answer, "google.rpc.RetryInfo")
        ),
    ):
        if asked is None:
            continue
        try:
            wait_ms = float(asked) * unit_ms
        except (ValueError, OverflowError):
            wait_ms = _until_ms(asked)
        if not math.isnan(wait_ms):
            return int(min(max(wait_ms, 0), _MAX_RETRY_AFTER_MS))
    return None


def _until_ms(date: str) -> float:
    try:
        instant = parsedate_to_datetime(date)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return (instant - datetime.now(UTC)).total_seconds() * 1_000
    except (ValueError, OverflowError, TypeError, IndexError):  # by the numbers that a server sends
        return math.nan
