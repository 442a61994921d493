"""Translation of LiteLLM's exceptions into ``ProviderError``, in one place."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected
from providers.litellm.answers import MAX_ERROR_BYTES

if TYPE_CHECKING:
    import httpx

    from providers.http import HttpAnswer, HttpError
    from providers.litellm.transport import Exchange

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
_OF_CONTENT = (b"block", b"content", b"filter", b"moder", b"polic", b"safety")
_ESCAPE = b"\\u"
"""May be part of any word, which LiteLLM finds all the same."""
_MAX_RETRY_AFTER_MS = 300_000
"""An endpoint that asks for more is tried again after five minutes: all accounts wait for it."""
_MAX_TEXT_CHARS = 2_000
_LONGEST_CHAIN = 32
"""Of exceptions behind one; a chain may be a circle."""


def check_status(exchange: Exchange) -> None:
    """Refuse an answer that LiteLLM took for one though its status says otherwise: a redirect.

    Raises:
        ValueError: ``translate`` knows what it means.
    """
    if exchange.answer is not None and not _succeeded(exchange.answer):
        raise ValueError


def translate(litellm: Any, error: Exception, exchange: Exchange) -> ProviderError:
    """Return the error of the call that the exception stands for.

    LiteLLM's class and status are not enough: a refused connection, an answer that it can't read
    and one without usage all become errors with a made-up status. What went over the wire
    decides. The message holds nothing that the provider wrote, which may quote the key or the
    prompt.
    """
    name = type(error).__name__
    try:
        return _translate(litellm, error, name, exchange)
    except Exception:  # noqa: BLE001 - what a server sends must not bring its own error to the log
        return PossiblyExecuted(FailureKind.ERROR, f"the error can't be read ({name})")


def _translate(litellm: Any, error: Exception, name: str, exchange: Exchange) -> ProviderError:
    if not exchange.begun:
        return _refused(litellm, error, name)
    if exchange.answer is None:
        return unanswered(exchange.error)
    if not _succeeded(exchange.answer):
        filtered = isinstance(error, litellm.ContentPolicyViolationError)
        return _by_status(name, _as_response(exchange.answer), filtered=filtered)
    return PossiblyExecuted(FailureKind.ERROR, f"the answer can't be read ({name})")


def usual_error(answer: HttpAnswer) -> ProviderError | None:
    """Return the error that an answer stands for, if that can be told without LiteLLM.

    LiteLLM is needed for one thing: it knows by which words providers refuse a content. Each of its
    rules has one of ``_OF_CONTENT``.
    """
    if _succeeded(answer) or len(answer.body) > MAX_ERROR_BYTES:
        return None
    try:
        return _usual(answer)
    except Exception:  # noqa: BLE001 - ``translate`` says what such an answer means
        return None


def _usual(answer: HttpAnswer) -> ProviderError | None:
    response, body = _as_response(answer), answer.body.lower()
    is_plain = _ESCAPE not in body and not any(word in body for word in _OF_CONTENT)
    if not is_plain and not _error_codes(response) & _RAN_ALL_THE_SAME:
        return None
    return _by_status("", response, filtered=False)


def unanswered(error: HttpError | None) -> ProviderError:
    """Return the error of a call for which our client has no answer."""
    from providers.http import NotConnected  # brings aiohttp

    if isinstance(error, NotConnected):
        return NotSent(FailureKind.ERROR, f"{error}", retryable=True)
    return PossiblyExecuted(FailureKind.ERROR, f"{error or 'the answer was lost'}")


def broken_off() -> ProviderError:
    """Return the error of an answer that the provider ended with an error of its own."""
    return PossiblyExecuted(
        FailureKind.ERROR, "the provider broke off its answer with an error", retryable=True
    )


def _succeeded(answer: HttpAnswer) -> bool:
    return 200 <= answer.status < 300


def _as_response(answer: HttpAnswer) -> httpx.Response:
    import httpx

    return httpx.Response(answer.status, headers=list(answer.headers), content=answer.body)


def _refused(litellm: Any, error: BaseException, name: str) -> NotSent:
    """Return the error of a request that LiteLLM never handed to our client.

    It raises by itself while it prepares a request: for an unknown provider, a parameter that
    the model does not take, its own budget.
    """
    cause: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if isinstance(cause, ModuleNotFoundError):
            return NotSent(
                FailureKind.REJECTED, f"LiteLLM needs the package {cause.name} for this provider"
            )
        if isinstance(cause, UnicodeEncodeError):
            return NotSent(FailureKind.REJECTED, "the request holds what can't be encoded")
        if cause is None:
            break
        cause = cause.__cause__ or cause.__context__
    why = ""
    if isinstance(error, litellm.UnsupportedParamsError) and "temperature" in str(error):
        why = ": the model does not take this temperature"
    return NotSent(FailureKind.REJECTED, f"LiteLLM refused the request ({name}){why}")


def _by_status(name: str, answer: httpx.Response, *, filtered: bool) -> ProviderError:
    status, codes = answer.status_code, _error_codes(answer)
    kind, retryable = FailureKind.ERROR, status in _MAY_HELP
    content_at_fault = filtered or bool(codes & _RAN_ALL_THE_SAME) or _is_moderated(answer)
    certainty: type[ProviderError] = PossiblyExecuted
    if status == _RATE_LIMITED:
        kind, certainty = FailureKind.RATE_LIMITED, Rejected
        # A retry does not help against a quota that is used up.
        retryable = "insufficient_quota" not in codes and not _day_is_used_up(answer)
    elif status in _TIMEOUTS:
        kind = FailureKind.TIMEOUT
    elif status in _RAN_NOTHING:
        certainty = Rejected
    elif 300 <= status < 400:
        # A redirect, which is not followed: this host ran nothing, and no other was asked.
        kind, certainty = FailureKind.REJECTED, Rejected
    elif 400 <= status < 500:
        kind = FailureKind.REJECTED
        certainty = PossiblyExecuted if filtered or codes & _RAN_ALL_THE_SAME else Rejected
    return certainty(
        kind,
        f"the provider answered with status {status}{name and f' ({name})'}",
        status=status,
        retryable=retryable,
        retry_after_ms=_retry_after_ms(answer) if retryable else None,
        content_at_fault=content_at_fault,
        provider_text=_text(answer),
    )


def _text(answer: httpx.Response) -> str | None:
    """Return what the provider wrote about its error: its message, else the whole body."""
    body = _parsed(answer)
    if isinstance(body, list):  # Gemini, for streams and through some gateways
        body = body[0] if body else None
    texts: list[object] = []
    if isinstance(body, dict):
        error = body.get("error")
        if isinstance(error, dict):
            # OpenRouter's ``raw`` is the text of the provider behind it.
            metadata = error.get("metadata")
            raw = metadata.get("raw") if isinstance(metadata, dict) else None
            texts = [error.get("message"), raw]
        else:
            # FastAPI, and vLLM behind it, have ``detail`` or ``message``.
            texts = [error, body.get("message"), body.get("detail")]
    said = " ".join(text[:_MAX_TEXT_CHARS] for text in texts if isinstance(text, str) and text)
    if not said:
        said = answer.content[: 4 * _MAX_TEXT_CHARS].decode("utf-8", errors="replace")
    return said[:_MAX_TEXT_CHARS].strip() or None


def _parsed(answer: httpx.Response) -> Any:
    import httpx

    try:
        return answer.json()
    except (ValueError, RecursionError, httpx.ResponseNotRead):
        return None


def _error(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's ``error`` object, where all providers put it; else an empty one."""
    body = _parsed(answer)
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _error_codes(answer: httpx.Response) -> set[str]:
    """Return the codes by which OpenAI and compatible providers name an error."""
    error = _error(answer)
    return {field for field in (error.get("code"), error.get("type")) if isinstance(field, str)}


def _is_moderated(answer: httpx.Response) -> bool:
    """Return whether OpenRouter's moderation flagged the input, which has the status of a bad key:
    https://openrouter.ai/docs/api/reference/errors.
    """
    metadata = _error(answer).get("metadata")
    return isinstance(metadata, dict) and "flagged_input" in metadata


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
