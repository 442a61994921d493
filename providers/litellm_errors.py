"""What each of LiteLLM's exceptions says about the call: one table, at the boundary."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected

_NOT_SENT_CAUSES = {
    # httpx, aiohttp and the standard library: no connection was made, so nothing was sent.
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ClientConnectorSSLError",
    "ClientConnectorCertificateError",
    "ConnectionRefusedError",
    "ConnectionTimeoutError",
    "gaierror",
}
_REJECTED_STATUS = {400, 401, 403, 404, 405, 409, 413, 415, 422}
_RETRYABLE_STATUS = {500, 502, 503, 529}
_RAN_NOTHING_STATUS = {503, 529}


def translate(litellm: Any, error: Exception) -> ProviderError:
    """Return what the exception means. Provider messages are left out: they may quote secrets.

    A refused connection comes as ``InternalServerError`` and a missing usage as
    ``APIConnectionError`` or ``BadRequestError``, so causes and responses are looked at before
    the class is believed. Anything unknown may have been executed.
    """
    if not _came_with_answer(error) and any(
        type(cause).__name__ in _NOT_SENT_CAUSES for cause in _chain(error)
    ):
        return NotSent(FailureKind.ERROR, "no connection to the provider", retryable=True)
    status = _status(error)
    name = type(error).__name__
    if isinstance(error, litellm.Timeout):
        return PossiblyExecuted(FailureKind.TIMEOUT, f"{name}: no answer in time", status=status)
    if isinstance(error, litellm.RateLimitError):
        return Rejected(
            FailureKind.RATE_LIMITED,
            f"{name}: the provider refuses more calls for now",
            status=status,
            retryable="insufficient_quota" not in str(error),
            retry_after_ms=_retry_after_ms(error),
        )
    if isinstance(error, litellm.BadRequestError) and not _looks_answered(error):
        return Rejected(FailureKind.REJECTED, f"{name}: status {status}", status=status)
    if isinstance(error, litellm.APIConnectionError) or status is None:
        return PossiblyExecuted(FailureKind.ERROR, f"{name}: the answer was lost")
    if status in _REJECTED_STATUS and not _looks_answered(error):
        return Rejected(FailureKind.REJECTED, f"{name}: status {status}", status=status)
    kind = PossiblyExecuted if status not in _RAN_NOTHING_STATUS else Rejected
    return kind(
        FailureKind.ERROR,
        f"{name}: status {status}",
        status=status,
        retryable=status in _RETRYABLE_STATUS,
        retry_after_ms=_retry_after_ms(error),
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _status(error: Exception) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _came_with_answer(error: Exception) -> bool:
    return bool(_headers(error))


def _looks_answered(error: Exception) -> bool:
    """Whether LiteLLM failed on an answer of status 200, which the provider will bill."""
    return any(isinstance(cause, (KeyError, TypeError)) for cause in _chain(error))


def _headers(error: Exception) -> Any:
    for cause in _chain(error):
        for holder in (cause, getattr(cause, "response", None)):
            for name in ("litellm_response_headers", "headers"):
                headers = getattr(holder, name, None)
                if headers:
                    return headers
    return {}


def _retry_after_ms(error: Exception) -> int | None:
    """Read ``Retry-After`` (RFC 9110, seconds or a date) or OpenAI's ``retry-after-ms``."""
    headers = _headers(error)
    try:
        if "retry-after-ms" in headers:
            return max(0, int(float(headers["retry-after-ms"])))
        asked = headers.get("retry-after")
        if asked is None:
            return None
        if asked.strip().replace(".", "", 1).isdigit():
            return int(float(asked) * 1000)
        wait = parsedate_to_datetime(asked) - datetime.now(UTC)
        return max(0, int(wait.total_seconds() * 1000))
    except (TypeError, ValueError):
        return None
