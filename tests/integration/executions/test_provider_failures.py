"""Calls that go wrong, one at a time; ``test_certainty`` has every fault of every provider."""

from __future__ import annotations

from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.results import Balance
from tests.harness.workbench import OpenWorkbench, Workbench, action, reasons


async def fails(bench: Workbench, reason: FallbackReason, **limits: Any) -> Balance:
    """Execute, expect fallback values for this reason and no charge; return the books."""
    result = await bench.execute(action(limits=limits))
    assert reasons(result) == {reason}
    assert result.values == action().fallbacks
    assert result.charged_mc == 0
    books = await bench.books()
    assert books.charged_mc == 0
    assert books.available_mc == books.granted_mc
    return books


@pytest.mark.parametrize("malformed", ["broken_json", "empty"])
async def test_law_6_an_unusable_answer_is_charged_by_its_real_usage(
    open_bench: OpenWorkbench, malformed: str
) -> None:
    async with open_bench(scenario=f"malformed={malformed}") as bench:
        result = await bench.execute()

        assert reasons(result) == {FallbackReason.OUTPUT_INVALID}
        assert result.charged_mc > 0
        assert result.detail
        assert (await bench.books()).charged_mc == result.charged_mc


async def test_a_bad_field_takes_its_own_fallback_and_the_others_stay(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(scenario="malformed=unknown_option") as bench:
        result = await bench.execute()

        assert result.status == "mixed"
        assert result.values["intent"] == "other"
        assert result.origins["intent"].reason is FallbackReason.OUTPUT_INVALID
        assert result.origins["reply"].mark == "model"


async def test_a_passing_failure_is_retried_and_every_attempt_is_listed(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(scenario="status=503,times=1") as bench:
        result = await bench.execute(action(limits={"attempts": 3}))

        assert result.status == "model"
        assert [attempt.outcome for attempt in result.attempts] == ["provider_error", "answered"]
        assert result.attempts[0].status == 503
        await bench.books()


async def test_law_6_an_answer_after_a_lost_call_is_charged_once_and_the_lost_one_is_exposure(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(scenario="status=500,times=1") as bench:
        result = await bench.execute(action(limits={"attempts": 2}))

        books = await bench.books()
        assert result.status == "model"
        assert books.charged_mc == result.charged_mc
        assert books.exposure_mc == result.reserved_mc


async def test_retry_after_is_honoured(open_bench: OpenWorkbench) -> None:
    async with open_bench(scenario="status=429,retry_after=0.8,times=1") as bench:
        result = await bench.execute(action(limits={"attempts": 2}))

        assert result.status == "model"
        assert result.timings_ms["provider"] >= 800


async def test_law_4_an_adapter_that_breaks_gives_fallback_values(
    open_bench: OpenWorkbench,
) -> None:
    class Broken:
        async def complete(self, request: Any) -> Any:
            raise ZeroDivisionError("a bug")

        async def aclose(self) -> None:
            pass

    async with open_bench(provider=Broken()) as bench:
        books = await fails(bench, FallbackReason.PROVIDER_ERROR)
        assert books.exposure_mc > 0
