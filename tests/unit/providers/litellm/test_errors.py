"""What a failed call means, by what came over the wire."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from providers.base import MAX_ANSWER_CHARS, CompletionRequest, Endpoint
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected
from providers.http import BadEncoding, HttpAnswer, Lost, NotConnected, TooLarge
from providers.litellm import adapter
from providers.litellm import errors as litellm_errors
from providers.litellm.transport import Exchange
from tests.harness.litellm_module import is_internal_call, litellm_module
from tests.harness.routes.comparing import RouteProvider

BASE = "http://127.0.0.1:9/v1"
KEY = "sk-very-secret"
PROMPT = "Dear Rosalind, your test results"
REQUEST = CompletionRequest(
    "openai/gpt-4o-mini",
    Endpoint("main", api_key=KEY, api_base=BASE),
    [{"role": "user", "content": PROMPT}],
    max_output_tokens=10,
)

RATE_LIMITED, TIMEOUT, REJECTED, ERROR = (
    FailureKind.RATE_LIMITED,
    FailureKind.TIMEOUT,
    FailureKind.REJECTED,
    FailureKind.ERROR,
)


@pytest.fixture
def chat(wire: respx.MockRouter) -> respx.Route:
    return wire.post(f"{BASE}/chat/completions")


async def fail(
    provider: RouteProvider, route: respx.Route, request: CompletionRequest = REQUEST
) -> ProviderError:
    """Return the error of a call that was sent once, with nothing of the provider's words."""
    with pytest.raises(ProviderError) as caught:
        await provider.complete(request)
    assert route.call_count == 1, "one call is one request"
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    for secret in (KEY, PROMPT, "of the provider"):
        assert secret not in shown
    assert caught.value.__context__ is None
    return caught.value


def failure(status: int, headers: Mapping[str, str] | None = None, **error: Any) -> httpx.Response:
    body = {"error": {"message": f"words of the provider: {KEY} {PROMPT}", "type": "t"} | error}
    return httpx.Response(status, json=body, headers=headers)


STATUSES = [
    (400, Rejected, REJECTED, False),
    (401, Rejected, REJECTED, False),
    (402, Rejected, REJECTED, False),
    (403, Rejected, REJECTED, False),
    (404, Rejected, REJECTED, False),
    (408, PossiblyExecuted, TIMEOUT, False),
    (409, Rejected, REJECTED, False),
    (413, Rejected, REJECTED, False),
    (418, Rejected, REJECTED, False),
    (422, Rejected, REJECTED, False),
    (429, Rejected, RATE_LIMITED, True),
    (500, PossiblyExecuted, ERROR, True),
    (501, PossiblyExecuted, ERROR, False),
    (502, PossiblyExecuted, ERROR, True),
    (503, Rejected, ERROR, True),
    (504, PossiblyExecuted, TIMEOUT, False),
    (520, PossiblyExecuted, ERROR, True),
    (524, PossiblyExecuted, TIMEOUT, False),
    (529, Rejected, ERROR, True),
]


@pytest.mark.parametrize("status, certainty, kind, retryable", STATUSES)
@pytest.mark.parametrize("provider_name", ["openai", "mistral"], ids=["SDK", "HTTP handler"])
async def test_an_error_status_means_the_same_whoever_sends_it(
    provider: RouteProvider,
    chat: respx.Route,
    provider_name: str,
    status: int,
    certainty: type[ProviderError],
    kind: FailureKind,
    retryable: bool,
) -> None:
    chat.mock(return_value=failure(status))
    request = CompletionRequest(
        f"{provider_name}/m", REQUEST.endpoint, REQUEST.messages, max_output_tokens=10
    )

    error = await fail(provider, chat, request)

    assert (type(error), error.kind, error.retryable) == (certainty, kind, retryable)
    assert error.status == status
    assert str(status) in str(error)


@pytest.mark.parametrize("provider_name", ["openai", "mistral"])
async def test_a_quota_that_is_used_up_is_not_worth_another_attempt(
    provider: RouteProvider, chat: respx.Route, provider_name: str
) -> None:
    chat.mock(return_value=failure(429, code="insufficient_quota"))
    request = CompletionRequest(
        f"{provider_name}/m", REQUEST.endpoint, REQUEST.messages, max_output_tokens=10
    )

    error = await fail(provider, chat, request)

    assert (type(error), error.kind, error.retryable) == (Rejected, RATE_LIMITED, False)


@pytest.mark.parametrize(
    "model, code",
    [
        ("azure/m", "content_filter"),
        ("openai/m", "content_filter"),
        ("openai/m", "content_policy_violation"),
    ],
)
async def test_a_prompt_that_a_filter_stopped_may_be_billed(
    provider: RouteProvider, wire: respx.MockRouter, model: str, code: str
) -> None:
    answer = failure(400, type="invalid_request_error", code=code)
    route = wire.route().mock(return_value=answer)
    request = CompletionRequest(model, REQUEST.endpoint, REQUEST.messages, max_output_tokens=10)

    error = await fail(provider, route, request)

    assert (type(error), error.kind, error.retryable) == (PossiblyExecuted, REJECTED, False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b'{"error": "no"}',
        b'{"error": {"code": [1]}}',
        b"[" * 9**6,
    ],
    ids=lambda content: str(content[:20]),
)
async def test_an_error_is_told_by_its_status_whatever_else_it_holds(
    provider: RouteProvider, chat: respx.Route, content: bytes
) -> None:
    chat.mock(return_value=httpx.Response(429, content=content))

    error = await fail(provider, chat)

    assert (type(error), error.kind, error.retryable) == (Rejected, RATE_LIMITED, True)


async def test_law_15_a_long_body_of_an_error_is_not_read(
    provider: RouteProvider, chat: respx.Route
) -> None:
    spaces = b" " * 65_536
    chat.mock(return_value=httpx.Response(400, content=b'{"error": {"code": "content_filter"}}'))
    assert type(await fail(provider, chat)) is PossiblyExecuted

    chat.calls.clear()
    chat.mock(
        return_value=httpx.Response(400, content=spaces + b'{"error": {"code": "content_filter"}}')
    )
    assert type(await fail(provider, chat)) is Rejected


async def test_a_prompt_that_is_too_long_is_rejected(
    provider: RouteProvider, chat: respx.Route
) -> None:
    chat.mock(return_value=failure(400, code="context_length_exceeded"))

    error = await fail(provider, chat)

    assert (type(error), error.kind, error.retryable) == (Rejected, REJECTED, False)


def in_a_minute(**format_as: bool) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=60), **format_as)


@pytest.mark.parametrize(
    "headers, expected_ms",
    [
        ({}, None),
        ({"Retry-After": "7"}, 7_000),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "1.5"}, 1_500),
        ({"Retry-After": " 2 "}, 2_000),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 250),
        ({"retry-after-ms": "soon", "Retry-After": "7"}, 7_000),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, 300_000),
        ({"Retry-After": "9" * 400}, 300_000),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"Retry-After": "Wed Oct 21 07:28:00 2015"}, 0),
        ({"Retry-After": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        ({"Retry-After": f"Wed, 21 Oct {'9' * 400} 07:28:00 GMT"}, None),
        ({"Retry-After": f"Wed, 21 Oct 2015 07:28:00 +{'9' * 30}"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}, 300_000),
    ],
)
async def test_how_long_to_wait_is_read_in_every_form(
    provider: RouteProvider,
    chat: respx.Route,
    headers: dict[str, str],
    expected_ms: int | None,
) -> None:
    chat.mock(return_value=failure(429, headers))

    assert (await fail(provider, chat)).retry_after_ms == expected_ms


@pytest.mark.parametrize(
    "delay", ["9" * 400 + "s", f"1e{'9' * 20}s", {"seconds": 10**300}, 10**300, None, []]
)
async def test_law_15_a_delay_of_any_form_in_the_error_is_read_or_left_out(
    provider: RouteProvider, chat: respx.Route, delay: object
) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    body = {"error": {"code": 429, "details": [detail]}}
    chat.mock(return_value=httpx.Response(429, json=body))

    error = await fail(provider, chat)

    assert (error.kind, error.retryable) == (RATE_LIMITED, True)
    assert error.retry_after_ms in (None, 300_000)


async def test_an_error_that_can_t_be_translated_brings_nothing_of_its_own(
    provider: RouteProvider, chat: respx.Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(answer: httpx.Response) -> int:
        raise OverflowError(answer.text)

    monkeypatch.setattr(litellm_errors, "_retry_after_ms", fails)
    chat.mock(return_value=failure(429, {}))

    error = await fail(provider, chat)

    assert (type(error), error.kind) == (PossiblyExecuted, ERROR)


@pytest.mark.parametrize("native", [{}, {"native_finish_reason": "error"}])
async def test_law_6_an_answer_that_ends_with_an_error_is_no_answer(
    provider: RouteProvider, chat: respx.Route, native: dict[str, str]
) -> None:
    message = {"role": "assistant", "content": "{of the provider"}
    choice = {"index": 0, "message": message, "finish_reason": "error"}
    usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
    body = {"id": "gen-1", "model": "m", "object": "chat.completion", "created": 1}
    chat.mock(
        return_value=httpx.Response(
            200, json={**body, "choices": [choice | native], "usage": usage}
        )
    )

    error = await fail(provider, chat)

    assert (type(error), error.kind, error.retryable) == (PossiblyExecuted, ERROR, True)


async def test_a_temperature_that_the_model_does_not_take_is_named_and_nothing_is_sent(
    provider: RouteProvider, chat: respx.Route
) -> None:
    with pytest.raises(NotSent, match="the model does not take this temperature"):
        await provider.complete(replace(REQUEST, litellm_model="openai/gpt-5", temperature=0.5))

    assert not chat.called
    assert adapter.refuses_temperature("openai/gpt-5", 0.5)
    assert adapter.refuses_temperature("openai/o3-mini", 0)
    assert not adapter.refuses_temperature("openai/gpt-5", 1)
    assert not adapter.refuses_temperature("openai/gpt-4o-mini", 0.5)
    assert not adapter.refuses_temperature("anthropic/claude-sonnet-4-5", 0.5)


DATES = st.builds(
    "{} {} {} {}:00:00 {}".format,
    st.sampled_from(["Mon,", "", "Mon", "Montag,", "\xff"]),
    st.integers(-1, 10**20),
    st.sampled_from(["Jan 2026", "Jan 0", "Jan 9999", "2026", "Jan -1", f"Jan {'9' * 20}"]),
    st.integers(-1, 10**20),
    st.sampled_from(["GMT", "+9999", "-2359", "+99999999999999999999", "", "x"]),
)


@given(DATES | st.text(st.characters(max_codepoint=255), max_size=20), st.binary(max_size=60))
def test_law_15_any_header_and_any_body_of_an_error_are_read(waits: str, body: bytes) -> None:
    headers = ((b"Retry-After", waits.encode("latin-1")), (b"Content-Type", body))
    answer = HttpAnswer(429, headers, body)
    exchange = Exchange(httpx.URL(BASE), begun=True, answer=answer)

    error = litellm_errors.translate(litellm_module(), Exception("any"), exchange)

    assert error.status == 429
    assert error.retry_after_ms is None or 0 <= error.retry_after_ms <= 300_000


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_date_to_come_back_at_is_as_far_away_as_it_is(
    provider: RouteProvider, chat: respx.Route, status: int
) -> None:
    chat.mock(return_value=failure(status, {"Retry-After": in_a_minute(usegmt=True)}))

    error = await fail(provider, chat)

    assert error.retry_after_ms is not None
    assert 30_000 < error.retry_after_ms <= 60_000


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{",
        b"",
        b"\xff\xfe",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"role": "assistant", "content": {"a": 1}}}]}',
        b"<html>of the provider</html>",
    ],
)
@pytest.mark.parametrize("provider_name", ["openai", "mistral"])
async def test_an_answer_of_unknown_form_may_be_billed(
    provider: RouteProvider, chat: respx.Route, provider_name: str, body: bytes
) -> None:
    media = "text/html" if body.startswith(b"<") else "application/json"
    chat.mock(return_value=httpx.Response(200, content=body, headers={"Content-Type": media}))
    request = CompletionRequest(
        f"{provider_name}/m", REQUEST.endpoint, REQUEST.messages, max_output_tokens=10
    )

    error = await fail(provider, chat, request)

    assert (type(error), error.kind, error.retryable) == (PossiblyExecuted, ERROR, False)
    assert error.status is None


@pytest.mark.parametrize(
    "error_in_body, certainty, kind, status",
    [
        ('"code": 429', Rejected, FailureKind.RATE_LIMITED, 429),
        ('"code": 402', Rejected, FailureKind.REJECTED, 402),
        ('"code": 502', PossiblyExecuted, ERROR, 502),
        ('"type": "overloaded_error"', Rejected, ERROR, 503),
        ('"code": "x"', PossiblyExecuted, ERROR, 502),
    ],
)
async def test_law_6_an_error_within_an_answer_counts_by_its_own_code(
    provider: RouteProvider,
    chat: respx.Route,
    error_in_body: str,
    certainty: type[ProviderError],
    kind: FailureKind,
    status: int,
) -> None:
    body = f'{{"error": {{"message": "words of the provider", {error_in_body}}}}}'
    chat.mock(return_value=httpx.Response(200, content=body))

    error = await fail(provider, chat, REQUEST)

    assert (type(error), error.kind, error.status) == (certainty, kind, status)


async def test_law_15_an_answer_longer_than_models_can_speak_is_cut_and_paid_for(
    provider: RouteProvider, chat: respx.Route
) -> None:
    message = {"role": "assistant", "content": "of the provider " * 300_000}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    chat.mock(return_value=httpx.Response(200, json={"id": "1", "choices": [choice]}))

    answer = await provider.complete(REQUEST)

    assert len(answer.text) == MAX_ANSWER_CHARS + 1, "enough to know that it is too long"


@pytest.mark.parametrize(
    "broken, certainty, retryable",
    [
        (NotConnected("refused"), NotSent, True),
        (Lost("reset"), PossiblyExecuted, False),
        (TooLarge("more than any model says"), PossiblyExecuted, False),
        (BadEncoding("damaged"), PossiblyExecuted, False),
        (RuntimeError(f"words of the provider: {KEY}"), PossiblyExecuted, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
@pytest.mark.parametrize("model", ["openai/m", "mistral/m", "azure/m"])
async def test_a_request_without_an_answer_means_what_is_certain(
    provider: RouteProvider,
    wire: respx.MockRouter,
    model: str,
    broken: Exception,
    certainty: type[ProviderError],
    retryable: bool,
) -> None:
    route = wire.route().mock(side_effect=broken)
    request = CompletionRequest(model, REQUEST.endpoint, REQUEST.messages, max_output_tokens=10)

    error = await fail(provider, route, request)

    assert (type(error), error.kind, error.retryable) == (certainty, ERROR, retryable)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize(
    "model", ["openai/m", "mistral/m", "azure/m", "anthropic/claude-sonnet-4-5"]
)
async def test_law_16_a_redirect_is_a_rejected_call(
    provider: RouteProvider, wire: respx.MockRouter, model: str, status: int
) -> None:
    elsewhere = {"Location": "http://127.0.0.1:8/v1/chat/completions"}
    route = wire.route().mock(return_value=httpx.Response(status, headers=elsewhere))
    request = CompletionRequest(model, REQUEST.endpoint, REQUEST.messages, max_output_tokens=10)

    error = await fail(provider, route, request)

    assert (type(error), error.kind, error.retryable) == (Rejected, REJECTED, False)
    assert error.status == status


async def test_law_16_an_answer_that_comes_with_a_redirect_is_none(
    provider: RouteProvider, chat: respx.Route
) -> None:
    message = {"role": "assistant", "content": "of the provider"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    chat.mock(return_value=httpx.Response(304, json={"id": "1", "choices": [choice]}))

    assert type(await fail(provider, chat)) is Rejected


async def test_a_package_that_is_missing_is_named(provider: RouteProvider) -> None:
    error = litellm_module().InternalServerError("words", "openai", "m")
    error.__cause__ = ModuleNotFoundError("No module named 'google'", name="google")

    translated = litellm_errors.translate(litellm_module(), error, Exchange(httpx.URL(BASE)))

    assert type(translated) is NotSent
    assert "google" in str(translated)


async def test_what_went_wrong_before_a_call_says_nothing_about_it(
    provider: RouteProvider, chat: respx.Route
) -> None:
    chat.mock(side_effect=Lost("reset"))
    earlier = httpx.Response(401, request=httpx.Request("POST", BASE))
    try:
        earlier.raise_for_status()
    except httpx.HTTPStatusError:
        with pytest.raises(PossiblyExecuted, match="reset"):
            await provider.complete(REQUEST)


async def test_a_cancelled_call_is_cancelled_not_failed(
    provider: RouteProvider, chat: respx.Route
) -> None:
    reached = asyncio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        reached.set()
        await asyncio.sleep(60)
        raise AssertionError("it was cancelled")

    chat.mock(side_effect=hang)
    calling = asyncio.create_task(provider.complete(REQUEST))
    await reached.wait()
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    assert not is_internal_call()


# Google's errors


def exhausted(*details: Any) -> httpx.Response:
    error = {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED", "details": list(details)}
    return httpx.Response(429, json={"error": error})


def quota(quota_id: Any) -> dict[str, Any]:
    kind = "type.googleapis.com/google.rpc.QuotaFailure"
    return {"@type": kind, "violations": [{"quotaId": quota_id}]}


def retry_info(delay: Any) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


@pytest.mark.parametrize(
    "details, retryable, after_ms",
    [
        ([], True, None),
        ([quota("GenerateRequestsPerMinutePerProject")], True, None),
        ([quota("GenerateRequestsPerMinutePerProject"), retry_info("27s")], True, 27_000),
        ([retry_info("0.25s")], True, 250),
        ([quota("GenerateRequestsPerDayPerProject"), retry_info("27s")], False, None),
        ([retry_info("soon"), retry_info(None), 7, None, {"@type": 3}], True, None),
        (
            [quota(None), {**quota("x"), "violations": 7}, {**quota("x"), "violations": [7]}],
            True,
            None,
        ),
    ],
)
async def test_gemini_says_in_the_error_itself_when_to_come_back(
    provider: RouteProvider,
    wire: respx.MockRouter,
    details: list[Any],
    retryable: bool,
    after_ms: int | None,
) -> None:
    route = wire.route().mock(return_value=exhausted(*details))
    request = CompletionRequest(
        "gemini/gemini-2.5-flash", REQUEST.endpoint, REQUEST.messages, max_output_tokens=10
    )

    error = await fail(provider, route, request)

    assert isinstance(error, Rejected)
    assert (error.kind, error.retryable) == (RATE_LIMITED, retryable)
    assert error.retry_after_ms == after_ms


@pytest.mark.parametrize("code", ["json_validate_failed", "tool_use_failed"])
async def test_what_groq_lets_the_model_write_and_then_refuses_may_be_billed(
    provider: RouteProvider, chat: respx.Route, code: str
) -> None:
    chat.mock(return_value=failure(400, code=code))
    request = CompletionRequest(
        "groq/llama-3.3-70b-versatile", REQUEST.endpoint, REQUEST.messages, max_output_tokens=10
    )

    error = await fail(provider, chat, request)

    assert (type(error), error.kind, error.retryable) == (PossiblyExecuted, REJECTED, False)
