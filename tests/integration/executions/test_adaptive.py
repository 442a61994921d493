"""``reservation: adaptive``: what answers were found to take is what is paid for in advance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean

import pytest

from creditgate import ActionSpec, ExecutionResult
from fallback.reasons import FallbackReason
from pricing.quote import quote_mc
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from runtime.bootstrap import open_runtime
from runtime.learning.history import ENOUGH_TO_RESERVE, History
from runtime.learning.sharing import Learning, Topic
from tests.harness.workbench import OpenWorkbench, Workbench, action, make_config

MOST = 1_000
LEAST = 40
ADAPTIVE = action(
    limits={"max_output_tokens": MOST, "min_output_tokens": LEAST, "reservation": "adaptive"}
)
ANSWER = json.dumps({"intent": "card", "score": 1, "reply": "Soon."})


class Writer:
    """Takes so many tokens for each answer, and is cut off where it may not have them."""

    def __init__(self, lengths: Iterable[int]) -> None:
        self.lengths: Iterator[int] = iter(lengths)
        self.allowed: list[int] = []

    async def complete(self, request: CompletionRequest) -> Completion:
        self.allowed.append(request.max_output_tokens)
        length, most = next(self.lengths), request.max_output_tokens
        if length > most:
            return Completion(ANSWER[:10], FinishReason.LENGTH, TokenUsage(40, most))
        return Completion(ANSWER, FinishReason.STOP, TokenUsage(40, length))

    async def aclose(self) -> None:
        pass


def writer(*lengths: tuple[int, int]) -> Writer:
    """A writer of so many answers of each length: ``(length, times)``."""
    return Writer(length for length, times in lengths for _ in range(times))


async def execute(
    bench: Workbench, count: int, spec: ActionSpec = ADAPTIVE
) -> list[ExecutionResult]:
    return [await bench.execute(spec) for _ in range(count)]


async def shared(bench: Workbench, spec: ActionSpec = ADAPTIVE) -> History:
    """Share what was learned now; return what all know."""
    await bench.runtime.drain()
    another = Learning(bench.redis, bench.keys, timeout_ms=1_000)
    return await another.history(Topic(spec.id, spec.version, spec.model))


async def learn(bench: Workbench, count: int = ENOUGH_TO_RESERVE) -> None:
    await execute(bench, count)
    await shared(bench)


async def test_the_worst_case_is_reserved_until_enough_answers_are_known_then_what_they_took(
    open_bench: OpenWorkbench,
) -> None:
    model = writer((80, 200))
    async with open_bench(provider=model) as bench:
        await learn(bench, ENOUGH_TO_RESERVE - 1)
        assert set(model.allowed) == {MOST}
        await learn(bench, 1)
        result, trace = await bench.traced(bench.request(ADAPTIVE))

        assert result.status == "model"
        assert 96 <= model.allowed[-1] <= 102, "a fifth more than the longest"
        # Law 1: whatever the model may write is covered.
        assert trace is not None
        quoted = quote_mc(trace.rates, trace.progress.quote.input_tokens, model.allowed[-1])
        assert result.reserved_mc == quoted >= result.charged_mc
        await bench.books()


@pytest.mark.parametrize("length, expected", [(10, LEAST), (950, MOST)])
async def test_never_less_than_the_least_and_never_more_than_the_most_is_reserved(
    open_bench: OpenWorkbench, length: int, expected: int
) -> None:
    model = writer((length, ENOUGH_TO_RESERVE + 1))
    async with open_bench(provider=model) as bench:
        await learn(bench)
        await execute(bench, 1)
        assert model.allowed[-1] == expected


async def test_actions_reserve_the_worst_case_unless_they_say_otherwise(
    open_bench: OpenWorkbench,
) -> None:
    model = writer((80, 200))
    async with open_bench(provider=model) as bench:
        plain = action(limits={"max_output_tokens": MOST, "min_output_tokens": LEAST})
        await execute(bench, ENOUGH_TO_RESERVE, plain)
        assert (await shared(bench, plain)).answers == ENOUGH_TO_RESERVE
        await execute(bench, 1, plain)
        assert set(model.allowed) == {MOST}


async def test_an_answer_that_the_lowered_limit_cuts_off_is_not_charged_and_is_learned_from(
    open_bench: OpenWorkbench,
) -> None:
    model = writer((80, ENOUGH_TO_RESERVE), (400, 2))
    async with open_bench(provider=model) as bench:
        await learn(bench)
        before = await bench.books()
        [cut] = await execute(bench, 1)

        assert model.allowed[-1] < 110
        assert cut.values == ADAPTIVE.fallbacks
        assert {o.reason for o in cut.origins.values()} == {FallbackReason.OUTPUT_TRUNCATED}
        assert cut.charged_mc == 0
        after = await bench.books()
        assert after.charged_mc == before.charged_mc
        assert after.exposure_mc > before.exposure_mc, "the provider bills it all the same"
        assert bench.runtime.counters.cut_by_us == 1

        # At once, and for all: too many were cut off, so the worst case is back.
        [answered] = await execute(bench, 1)
        assert model.allowed[-1] == MOST
        assert answered.status == "model"
        assert (await shared(bench)).cut == 1


async def test_longer_answers_become_the_new_measure_after_a_while_of_worst_cases(
    open_bench: OpenWorkbench,
) -> None:
    model = writer((80, ENOUGH_TO_RESERVE), (300, 400))
    async with open_bench(provider=model) as bench:
        await learn(bench)
        # 150 more answers, and one that was cut off weighs less than half a percent.
        await learn(bench, 152)
        await execute(bench, 1)

        assert 360 <= model.allowed[-1] <= 380
        assert bench.runtime.counters.cut_by_us == 1


async def test_other_processes_and_later_ones_start_with_what_was_learned(
    open_bench: OpenWorkbench, redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    async with open_bench(provider=writer((80, 100))) as bench:
        await execute(bench, ENOUGH_TO_RESERVE)
    # The end of that runtime has shared what it knew.
    model = writer((80, 100))
    config = make_config(tmp_path / "data", redis_url, key_prefix, "http://127.0.0.1:1/v1")
    async with open_runtime(config, provider=model) as later:
        async with asyncio.timeout(20):
            while not model.allowed or model.allowed[-1] == MOST:
                number = len(model.allowed)
                await later.execute(bench.request(ADAPTIVE, execution_id=f"later-{number}"))
                await asyncio.sleep(0.05)
        assert model.allowed[0] == MOST, "an execution does not wait for what others know"
        assert model.allowed[-1] < 110


async def test_adaptive_reservations_tie_up_half_and_cut_off_next_to_nothing(
    open_bench: OpenWorkbench,
) -> None:
    """The benchmarks ``adaptive_reserved_ratio`` and ``truncated_answers``, in small."""
    rounds, size = 12, 40
    options = {"reasoning_tokens": 80, "reasoning_sigma": 0.5, "seed": 11}
    async with open_bench(credits_mc=10**9, **options) as bench:
        plain = ADAPTIVE.limits.model_copy(update={"reservation": "worst_case"})
        worst = ADAPTIVE.model_copy(update={"limits": plain})
        quotes = [result.reserved_mc for result in await gather(bench, worst, size)]
        found: list[ExecutionResult] = []
        for _ in range(rounds):
            found += await gather(bench, ADAPTIVE, size)
            await shared(bench)

        learned = found[2 * size :]
        assert mean(result.reserved_mc for result in learned) <= 0.5 * mean(quotes)
        assert bench.runtime.counters.cut_by_us <= 0.01 * len(found)
        books = await bench.books()
        assert books.overage_mc == 0
        assert bench.runtime.counters.quote_exceeded == 0
        assert bench.runtime.counters.input_undercounted == 0


async def gather(bench: Workbench, spec: ActionSpec, count: int) -> list[ExecutionResult]:
    return await asyncio.gather(*(bench.execute(spec) for _ in range(count)))
