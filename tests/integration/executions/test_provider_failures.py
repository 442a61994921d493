"""Law 6, fault by fault: who pays for a call that went wrong, and what the campaign hears."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.answers import Balance
from tests.integration.executions.conftest import ACCOUNT, Bench, OpenBench, action
from tests.integration.executions.test_outcomes import reasons

REJECTED = FallbackReason.PROVIDER_REJECTED
LIMITED = FallbackReason.PROVIDER_RATE_LIMITED
ERROR = FallbackReason.PROVIDER_ERROR
TIMEOUT = FallbackReason.PROVIDER_TIMEOUT


async def fails(bench: Bench, reason: FallbackReason, **limits: Any) -> Balance:
    """Execute, expect fallback values for this reason and no charge; return the books."""
    result = await bench.execute(action(limits=limits))
    assert reasons(result) == {reason}
    assert result.values == action().fallbacks
    assert result.charged_mc == 0
    books = await bench.books()
    assert books.charged_mc == 0
    assert books.available_mc == books.granted_mc
    return books


@pytest.mark.parametrize(
    "scenario, reason, exposed",
    [
        ("status=400", REJECTED, False),
        ("status=401", REJECTED, False),
        ("status=403", REJECTED, False),
        ("status=404", REJECTED, False),
        ("status=413", REJECTED, False),
        ("context_length_exceeded", REJECTED, False),
        # Azure bills prompts that its filter stopped, and names them so.
        ("content_filter", REJECTED, True),
        ("status=429", LIMITED, False),
        ("insufficient_quota", LIMITED, False),
        ("status=503", ERROR, False),
        ("status=529", ERROR, False),
        ("status=500", ERROR, True),
        ("status=502", ERROR, True),
        ("reset", ERROR, True),
        ("hang", TIMEOUT, True),
        ("drip", TIMEOUT, True),
    ],
)
async def test_law_6_a_call_without_an_answer_charges_nothing(
    open_bench: OpenBench, scenario: str, reason: FallbackReason, exposed: bool
) -> None:
    async with open_bench(scenario=scenario) as bench:
        books = await fails(bench, reason, attempt_timeout_ms=2_000)
        assert (books.exposure_mc > 0) == exposed
        assert await bench.calls() == 1


async def test_law_6_a_refused_connection_was_never_sent(open_bench: OpenBench) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody_listens = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    async with open_bench(api_base=nobody_listens) as bench:
        books = await fails(bench, ERROR, deadline_ms=3_000)
        assert books.exposure_mc == 0


@pytest.mark.parametrize("malformed", ["broken_json", "empty"])
async def test_law_6_an_unusable_answer_is_charged_by_its_real_usage(
    open_bench: OpenBench, malformed: str
) -> None:
    async with open_bench(scenario=f"malformed={malformed}") as bench:
        result = await bench.execute()

        assert reasons(result) == {FallbackReason.OUTPUT_INVALID}
        assert result.charged_mc > 0
        assert result.detail
        assert (await bench.books()).charged_mc == result.charged_mc


async def test_a_bad_field_takes_its_own_fallback_and_the_others_stay(
    open_bench: OpenBench,
) -> None:
    async with open_bench(scenario="malformed=unknown_option") as bench:
        result = await bench.execute()

        assert result.status == "mixed"
        assert result.values["intent"] == "other"
        assert result.origins["intent"].reason is FallbackReason.OUTPUT_INVALID
        assert result.origins["reply"].mark == "model"


async def test_law_6_a_refusal_of_the_model_is_charged(open_bench: OpenBench) -> None:
    async with open_bench(scenario="refusal") as bench:
        result = await bench.execute()

        assert reasons(result) == {FallbackReason.CONTENT_REFUSED}
        assert result.charged_mc > 0


@pytest.mark.parametrize("usage", ["missing", "zero"])
async def test_law_6_an_answer_without_usage_is_charged_by_counted_tokens_and_flagged(
    open_bench: OpenBench, usage: str
) -> None:
    async with open_bench(scenario=f"usage={usage}") as bench:
        result = await bench.execute()

        assert result.status == "model"
        assert result.charged_mc > 0
        journal = bench.keys.of_account(ACCOUNT)[8]
        entries = await bench.redis.xrevrange(journal, count=1)
        assert "usage_estimated" in str(entries)


async def test_a_passing_failure_is_retried_and_every_attempt_is_listed(
    open_bench: OpenBench,
) -> None:
    async with open_bench(scenario="status=503,times=1") as bench:
        result = await bench.execute(action(limits={"attempts": 3}))

        assert result.status == "model"
        assert [attempt.outcome for attempt in result.attempts] == ["provider_error", "answered"]
        assert result.attempts[0].status == 503
        await bench.books()


async def test_law_6_an_answer_after_a_lost_call_is_charged_once_and_the_lost_one_is_exposure(
    open_bench: OpenBench,
) -> None:
    async with open_bench(scenario="status=500,times=1") as bench:
        result = await bench.execute(action(limits={"attempts": 2}))

        books = await bench.books()
        assert result.status == "model"
        assert books.charged_mc == result.charged_mc
        assert books.exposure_mc == result.reserved_mc


async def test_retry_after_is_honoured(open_bench: OpenBench) -> None:
    async with open_bench(scenario="status=429,retry_after=0.8,times=1") as bench:
        result = await bench.execute(action(limits={"attempts": 2}))

        assert result.status == "model"
        assert result.timings_ms["provider"] >= 800


async def test_law_4_an_adapter_that_breaks_gives_fallback_values(open_bench: OpenBench) -> None:
    class Broken:
        async def complete(self, request: Any) -> Any:
            raise ZeroDivisionError("a bug")

        async def aclose(self) -> None:
            pass

    async with open_bench(provider=Broken()) as bench:
        books = await fails(bench, ERROR)
        assert books.exposure_mc > 0
