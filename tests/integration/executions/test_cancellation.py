"""Whatever is cancelled, wherever: nothing stays reserved."""

from __future__ import annotations

import asyncio

import pytest

from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from tests.harness.workbench import OpenWorkbench, Workbench


class SlowProvider:
    """Answers after a few turns of the event loop, so that a cancellation finds it at work."""

    def __init__(self) -> None:
        self.phase = "before the call"

    async def complete(self, request: CompletionRequest) -> Completion:
        self.phase = "during the call"
        for _ in range(5):
            await asyncio.sleep(0)
        self.phase = "after the answer"
        answer = '{"intent": "card", "score": 3, "reply": "Soon."}'
        return Completion(answer, FinishReason.STOP, TokenUsage(50, 20))

    async def aclose(self) -> None:
        pass


PHASES = ("before the call", "during the call", "after the answer")


async def cancel_in(phase: str, turns: int, provider: SlowProvider, bench: Workbench) -> bool:
    """Execute, cancel so many turns of the event loop into a phase.

    Returns whether that is where it was cancelled.
    """
    provider.phase = PHASES[0]
    task = asyncio.create_task(bench.execute())
    while provider.phase != phase and not task.done():  # noqa: ASYNC110 - turns are counted
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    in_phase = provider.phase == phase
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return in_phase
    return False


@pytest.mark.parametrize("phase", PHASES)
async def test_cancelled_at_any_await_point_an_execution_leaves_nothing_reserved(
    open_bench: OpenWorkbench, phase: str
) -> None:
    provider = SlowProvider()
    async with open_bench(provider=provider) as bench:
        cancelled = 0
        for turns in (*range(25), 40, 80, 160, 320):
            cancelled += await cancel_in(phase, turns, provider, bench)
            await bench.runtime.drain()
            await bench.books()

        assert cancelled


async def test_many_cancelled_at_once_leave_nothing_reserved(open_bench: OpenWorkbench) -> None:
    async with open_bench(provider=SlowProvider()) as bench:
        tasks = [asyncio.create_task(bench.execute()) for _ in range(200)]
        for position, task in enumerate(tasks):
            if position % 3 == 0:
                await asyncio.sleep(0)
            if position % 2 == 0:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bench.runtime.drain()

        await bench.books()


@pytest.mark.parametrize("after_ms", [5, 50, 150])
async def test_cancelled_during_the_call_it_is_exposure_and_the_id_may_be_asked_again(
    open_bench: OpenWorkbench, after_ms: int
) -> None:
    async with open_bench(latency_median_ms=300) as bench:
        request = bench.request()
        task = asyncio.create_task(bench.run(request))
        await asyncio.sleep(after_ms / 1000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await bench.runtime.drain()
        await bench.books()

        again = await bench.run(request)

        assert again.status == "model"
        assert not again.replayed
        assert (await bench.books()).charged_mc == again.charged_mc
