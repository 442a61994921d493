"""A provider that is down is left alone, and nobody's credits wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from fallback.reasons import FallbackReason
from providers.base import Completion, CompletionRequest
from providers.errors import FailureKind, Rejected
from runtime.actions.requests import EndpointRefusal, Pending
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action, reasons

UNAVAILABLE = {FallbackReason.MODEL_UNAVAILABLE}
FAILURES = 3
PATIENCE_MS = 200
BREAKER = (
    f"breaker: {{failures: {FAILURES}, open_ms: 60000, max_open_ms: 60000, "
    f"patience_ms: {PATIENCE_MS}}}"
)


async def break_it(bench: Workbench) -> int:
    """Let the provider fail until it is left alone; return how many calls that took."""
    for _ in range(FAILURES):
        assert reasons(await bench.execute()) == {FallbackReason.PROVIDER_ERROR}
    return await bench.calls()


@pytest_asyncio.fixture
async def end_open_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the time pass for which the provider is left alone."""
    loop, passed_s = asyncio.get_running_loop(), [0]
    now_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: now_s() + sum(passed_s))
    return lambda: passed_s.append(61)


async def until_called(bench: Workbench, calls: int) -> None:
    async with asyncio.timeout(10):
        while await bench.calls() < calls:  # noqa: ASYNC110 - the server's count
            await asyncio.sleep(0.01)


async def test_a_provider_that_is_down_gets_one_probe_and_all_others_fall_back_at_once(
    open_bench: OpenWorkbench, end_open_time: Callable[[], None]
) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        bench.mock.play("status=500,delay_ms=50")
        assert bench.runtime.is_healthy("writer") is None
        calls = await break_it(bench)
        assert calls == FAILURES
        assert bench.runtime.is_healthy("writer") is False

        for period in range(1, 3):
            results = await asyncio.gather(*(bench.execute() for _ in range(30)))
            assert all(reasons(result) == UNAVAILABLE for result in results)
            assert all(not result.attempts and not result.reserved_mc for result in results)
            assert "model writer keeps failing" in (results[0].detail or "")
            assert (await bench.runtime.accounts.balance(ACCOUNT)).reserved_mc == 0
            assert await bench.calls() == calls + period - 1

            end_open_time()
            results = await asyncio.gather(*(bench.execute() for _ in range(30)))
            probes = [result for result in results if result.attempts]
            assert [reasons(probe) for probe in probes] == [{FallbackReason.PROVIDER_ERROR}]
            assert await bench.calls() == calls + period

        bench.mock.play(None)
        end_open_time()
        assert (await bench.execute()).status == "model"
        results = await asyncio.gather(*(bench.execute() for _ in range(30)))
        assert all(result.status == "model" for result in results)
        assert bench.runtime.is_healthy("writer") is True
        books = await bench.books()
        assert books.charged_mc > 0
        assert books.overage_mc == 0


async def test_a_person_who_fell_back_because_of_it_is_asked_for_anew(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint=BREAKER.replace("60000", "1500")) as bench:
        answered = bench.request()
        first = await bench.run(answered)
        bench.mock.play("status=503")
        calls = await break_it(bench)
        refused = bench.request()
        journal = bench.keys.of_account(ACCOUNT)[8]
        entries = await bench.redis.xlen(journal)

        assert reasons(await bench.run(refused)) == UNAVAILABLE
        # Law 3: what has its outcome keeps it, whatever the provider does now.
        again = await bench.run(answered)
        assert again.replayed
        assert again.values == first.values
        assert await bench.calls() == calls
        assert await bench.redis.xlen(journal) == entries

        bench.mock.play(None)
        await asyncio.sleep(1.5)
        assert (await bench.run(refused)).status == "model"


async def test_an_execution_that_still_runs_elsewhere_is_not_ended_by_it(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        bench.mock.play("hang")
        request = bench.request()
        running = asyncio.create_task(bench.run(request))
        await until_called(bench, 1)
        bench.mock.play("status=500")
        await break_it(bench)

        again = await bench.runtime.execute(request)

        assert isinstance(again, Pending)
        assert (await bench.runtime.accounts.balance(ACCOUNT)).open_reservations == 1
        running.cancel()
        await asyncio.wait([running])


async def test_a_cancelled_probe_leaves_its_place_to_the_next(
    open_bench: OpenWorkbench, end_open_time: Callable[[], None]
) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        bench.mock.play("status=500")
        calls = await break_it(bench)
        bench.mock.play("hang")
        end_open_time()
        probe = asyncio.create_task(bench.execute())
        await until_called(bench, calls + 1)
        assert reasons(await bench.execute()) == UNAVAILABLE
        probe.cancel()
        await asyncio.wait([probe])
        bench.mock.play(None)

        assert (await bench.execute()).status == "model"
        await bench.runtime.drain()
        assert (await bench.books()).exposure_mc > 0


async def test_requests_that_are_refused_say_nothing_against_their_provider(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        for scenario in ("status=400", "status=429", "malformed=broken_json", "refusal"):
            bench.mock.play(scenario)
            for _ in range(FAILURES + 1):
                await bench.execute()
        assert await bench.calls() == 4 * (FAILURES + 1)
        bench.mock.play(None)
        assert (await bench.execute()).status == "model"


async def test_a_time_out_counts_if_the_provider_had_its_time(open_bench: OpenWorkbench) -> None:
    turns = FAILURES + 1
    patience = BREAKER.replace(f"patience_ms: {PATIENCE_MS}", "patience_ms: 1000")
    async with open_bench(endpoint=patience, max_concurrency=turns) as bench:
        bench.mock.play("hang")
        hurried = action(limits={"deadline_ms": 2_000})
        async with bench.turns_taken(turns):
            late = [asyncio.create_task(bench.execute(hurried)) for _ in range(turns)]
            await asyncio.sleep(1.2)
        for task in late:
            assert reasons(await task) == {FallbackReason.PROVIDER_TIMEOUT}
        calls = await bench.calls()
        assert calls == 2 * turns, "their turn came late, and they were called all the same"

        in_time = action(limits={"attempt_timeout_ms": 1_000})
        for result in await asyncio.gather(*(bench.execute(in_time) for _ in range(FAILURES))):
            assert reasons(result) == {FallbackReason.PROVIDER_TIMEOUT}
        assert reasons(await bench.execute(in_time)) == UNAVAILABLE
        assert await bench.calls() == calls + FAILURES


async def test_short_deadlines_of_one_account_close_a_healthy_model_to_nobody(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(latency_median_ms=120) as bench:
        accounts = bench.runtime.accounts
        await accounts.open_account("hasty", plan="growth")
        await accounts.purchase("hasty", credits=100_000, payment_reference="paid")
        short = action(limits={"deadline_ms": 60})

        async with asyncio.timeout(10):
            while await bench.calls() < 12:
                hasty = await bench.execute(short, account_id="hasty")
                assert hasty.status == "fallback"

        assert bench.runtime.is_healthy("writer")
        assert (await bench.execute()).status == "model"


async def test_a_retry_is_not_made_once_the_provider_is_left_alone(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        bench.mock.play("status=503")
        result = await bench.execute(action(limits={"attempts": 9}))
        assert reasons(result) == {FallbackReason.PROVIDER_ERROR}
        assert len(result.attempts) == await bench.calls() == FAILURES
        await bench.books()


async def test_calls_of_another_model_go_on(open_bench: OpenWorkbench) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        bench.mock.play("status=500")
        await break_it(bench)
        bench.mock.play(None)
        assert reasons(await bench.execute()) == UNAVAILABLE
        assert (await bench.execute(action(model="other"))).status == "model"


async def test_many_at_once_at_a_dead_provider_leave_no_credits_behind(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint=BREAKER, wait_ms=0, timeout_ms=10_000) as bench:
        bench.mock.play("status=500,delay_ms=20")
        results = await asyncio.gather(
            *(bench.execute(action(limits={"attempts": 2})) for _ in range(100))
        )
        assert {reason for result in results for reason in reasons(result)} <= {
            FallbackReason.PROVIDER_ERROR,
            FallbackReason.MODEL_UNAVAILABLE,
        }
        books = await bench.books()
        assert books.charged_mc == 0
        quote_mc = results[0].reserved_mc
        assert books.exposure_mc >= await bench.calls() * quote_mc * 0.9


@pytest.mark.parametrize(
    "status, says",
    [
        (401, "HTTP 401 from endpoint mock: the key was refused; check endpoints.mock.api_key"),
        (403, "HTTP 403 from endpoint mock: the key may not be used for this; check "),
    ],
)
async def test_a_refused_key_ends_the_calls_of_all_models_at_its_endpoint_at_once(
    open_bench: OpenWorkbench, end_open_time: Callable[[], None], status: int, says: str
) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        bench.mock.play(f"status={status}")

        first = await bench.execute()
        others = [await bench.execute(), await bench.execute(action(model="other"))]

        assert await bench.calls() == 1
        assert reasons(first) == {FallbackReason.PROVIDER_REJECTED}
        assert [reasons(other) for other in others] == [UNAVAILABLE] * 2
        for result in (first, *others):
            assert result.endpoint_refusal == EndpointRefusal("mock", status)
            assert (result.detail or "").startswith(says)
            assert result.to_json()["endpoint_refusal"] == {"endpoint": "mock", "status": status}
        assert all("; the next attempt is in " in (other.detail or "") for other in others)
        assert [other.kept for other in others] == [False, False]
        assert bench.runtime.is_healthy("other") is False
        assert (await bench.books()).charged_mc == 0

        bench.mock.play(None)
        end_open_time()
        results = [await bench.execute(), await bench.execute(action(model="other"))]
        assert [(one.status, one.endpoint_refusal) for one in results] == [("model", None)] * 2


async def test_a_model_that_is_not_found_ends_the_calls_of_this_model_alone(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(endpoint=BREAKER) as bench:
        bench.mock.play("status=404")
        first, second = await bench.execute(), await bench.execute()
        bench.mock.play(None)
        other = await bench.execute(action(model="other"))

    says = (
        "HTTP 404 from endpoint mock: the model was not found; check models.writer.litellm_model "
        "and endpoints.mock.api_base"
    )
    assert first.detail == says
    assert (second.detail or "").startswith(f"{says}; the next attempt is in ")
    assert (reasons(first), reasons(second)) == ({FallbackReason.PROVIDER_REJECTED}, UNAVAILABLE)
    assert second.endpoint_refusal == EndpointRefusal("mock", 404)
    assert other.status == "model"


async def test_another_endpoint_with_the_same_key_is_called_all_the_same(
    open_bench: OpenWorkbench,
) -> None:
    def second_endpoint(config: dict[str, Any]) -> None:
        config["endpoints"]["second"] = dict(config["endpoints"]["mock"])
        config["models"]["other"]["endpoint"] = "second"

    async with open_bench(endpoint=BREAKER, change=second_endpoint) as bench:
        bench.mock.play("status=401")
        await bench.execute()
        bench.mock.play(None)
        assert reasons(await bench.execute()) == UNAVAILABLE
        assert (await bench.execute(action(model="other"))).status == "model"


async def test_a_providers_objection_to_one_persons_words_ends_nobody_elses_execution(
    open_bench: OpenWorkbench,
) -> None:
    provider = Objecting()
    async with open_bench(endpoint=BREAKER, provider=provider) as bench:
        objected = await bench.execute()
        assert reasons(objected) == {FallbackReason.PROVIDER_REJECTED}
        assert objected.endpoint_refusal is None
        assert bench.runtime.is_healthy("writer")


class Objecting:
    """Answers with the status of a refused key, because of what a request says."""

    async def complete(self, request: CompletionRequest) -> Completion:
        raise Rejected(FailureKind.REJECTED, "flagged", status=403, content_at_fault=True)

    async def aclose(self) -> None:
        pass
