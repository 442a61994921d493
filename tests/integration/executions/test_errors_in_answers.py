"""Law 6: an error inside an answer with status 200 is what its own code says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from providers.http import HttpAnswer, HttpClient
from providers.litellm.adapter import LiteLLMProvider
from tests.harness.workbench import OpenWorkbench, action, reasons

TEXT = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})
RETRIED = action(limits={"attempts": 2})


def choice(finish_reason: str, **more: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": TEXT}
    return {"index": 0, "message": message, "finish_reason": finish_reason} | more


def body(**content: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}
    return {"id": "gen-1", "model": "m", "object": "chat.completion", "usage": usage} | content


def error(code: int) -> dict[str, Any]:
    return {"id": "gen-1", "error": {"code": code, "message": "Provider returned error"}}


BROKEN_OFF = body(choices=[choice("error")])
BROKEN_OFF_UPSTREAM = body(choices=[choice("stop", native_finish_reason="error")])
ANSWER = body(choices=[choice("stop")])


class Gateway(HttpClient):
    """Our client before a gateway that answers 200, whatever happens behind it."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        super().__init__()
        self.bodies = list(bodies)

    async def send(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes,
        **options: Any,
    ) -> HttpAnswer:
        return HttpAnswer(
            200,
            ((b"Content-Type", b"application/json"),),
            json.dumps(self.bodies.pop(0)).encode(),
        )


@pytest.mark.parametrize(
    "first, quotes_exposed",
    [
        pytest.param(error(429), 0, id="429"),
        pytest.param(error(503), 0, id="503"),
        pytest.param(error(502), 1, id="502"),
        pytest.param(BROKEN_OFF, 1, id="finish_reason error"),
        pytest.param(BROKEN_OFF_UPSTREAM, 1, id="native_finish_reason error"),
    ],
)
async def test_law_6_what_may_pass_is_retried_and_only_the_answer_is_charged(
    open_bench: OpenWorkbench, first: dict[str, Any], quotes_exposed: int
) -> None:
    gateway = Gateway(first, ANSWER)
    async with open_bench(provider=LiteLLMProvider(gateway)) as bench:
        result = await bench.execute(RETRIED)
        books = await bench.books()

    assert (result.status, gateway.bodies) == ("model", [])
    assert books.charged_mc == result.charged_mc > 0
    assert books.exposure_mc == quotes_exposed * result.reserved_mc


@pytest.mark.parametrize(
    "answer, reason, quotes_exposed",
    [
        pytest.param(error(402), FallbackReason.PROVIDER_REJECTED, 0, id="402"),
        pytest.param(error(400), FallbackReason.PROVIDER_REJECTED, 0, id="400"),
        pytest.param(error(429), FallbackReason.PROVIDER_RATE_LIMITED, 0, id="429"),
        pytest.param(error(502), FallbackReason.PROVIDER_ERROR, 1, id="502"),
        pytest.param(BROKEN_OFF, FallbackReason.PROVIDER_ERROR, 1, id="finish_reason error"),
    ],
)
async def test_law_6_an_error_is_charged_to_nobody_whatever_usage_comes_with_it(
    open_bench: OpenWorkbench,
    answer: dict[str, Any],
    reason: FallbackReason,
    quotes_exposed: int,
) -> None:
    async with open_bench(provider=LiteLLMProvider(Gateway(answer))) as bench:
        result = await bench.execute()
        books = await bench.books()

    assert reasons(result) == {reason}
    assert (result.charged_mc, books.charged_mc) == (0, 0)
    assert books.exposure_mc == quotes_exposed * result.reserved_mc
