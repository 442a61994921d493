"""What a campaign was estimated to cost, held against what it then costs on the mock provider."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from creditgate import ActionSpec, ExecutionResult
from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.bootstrap import open_estimator
from runtime.campaigns.estimate import Covers, Estimate, Estimator, Sample
from runtime.credits.results import AccountUnknown
from runtime.learning.forecast import ENOUGH_TO_FORECAST, Typical
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, action, make_config

WORDS = ["card", "transfer", "money", "yesterday", "please", "help", "account", "Zürich", "why"]
THINKING: dict[str, Any] = {"reasoning_tokens": 30, "reasoning_sigma": 0.6}


def spec(trial: object = "", **changes: Any) -> ActionSpec:
    """An action that no other trial has."""
    limits = {"max_output_tokens": 600}
    return action(system=f"You sort messages {trial}.", limits=limits, **changes)


def people(seed: object, count: int) -> list[dict[str, Any]]:
    chance = random.Random(f"people {seed}")
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(5, 60))) for _ in range(count)]
    return [{"customer": {"message": text}} for text in texts]


async def estimate(
    bench: Workbench, tmp_path: Path, wanted: ActionSpec, sample: Sample, **options: Any
) -> Estimate:
    async with estimator_of(bench, tmp_path) as estimator:
        return await estimator.estimate(wanted, sample, **options)


@asynccontextmanager
async def estimator_of(bench: Workbench, tmp_path: Path) -> AsyncIterator[Estimator]:
    """Estimate as a process of its own would, once what was learned has been shared."""
    await bench.runtime.drain()
    url = bench.redis.connection_pool.connection_kwargs
    config = make_config(
        tmp_path / "data",
        f"unix://{url['path']}" if "path" in url else f"redis://{url['host']}:{url['port']}",
        bench.keys.prefix,
        "http://127.0.0.1:1/v1",
    )
    async with open_estimator(config) as estimator:
        yield estimator


async def learned(bench: Workbench, tmp_path: Path, wanted: ActionSpec) -> dict[str, Typical]:
    async with estimator_of(bench, tmp_path) as estimator:
        return await estimator.learned(wanted, ["writer", "retired"])


async def run(bench: Workbench, wanted: ActionSpec, crowd: list[Any]) -> list[ExecutionResult]:
    return await asyncio.gather(*(bench.execute(wanted, data=data) for data in crowd))


async def hits(
    bench: Workbench, tmp_path: Path, trials: range, known: int, size: int, counted: int
) -> int:
    """Return how often the real cost lay in the range."""
    found = 0
    for trial in trials:
        wanted = spec(trial)
        await run(bench, wanted, people(f"known {trial}", known))
        crowd = people(f"campaign {trial}", size)
        told = await estimate(bench, tmp_path, wanted, Sample.of(crowd, counted, seed=trial))
        assert told.answers_known == known
        real_mc = sum(result.charged_mc for result in await run(bench, wanted, crowd))
        assert real_mc <= told.cost.worst_mc
        found += told.cost.low_mc <= real_mc <= told.cost.high_mc
    return found


@pytest.mark.long
async def test_the_real_cost_lies_in_the_range_in_nine_of_ten_campaigns(
    open_bench: OpenWorkbench, tmp_path: Path
) -> None:
    async with open_bench(credits_mc=10**12, seed=5, timeout_ms=10_000, **THINKING) as bench:
        assert await hits(bench, tmp_path, range(20), known=20, size=30, counted=20) >= 18
        await bench.books()


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_real_cost_lies_in_the_range_in_at_least_90_of_100_campaigns(
    open_bench: OpenWorkbench, tmp_path: Path
) -> None:
    async with open_bench(credits_mc=10**12, seed=7, timeout_ms=10_000, **THINKING) as bench:
        assert await hits(bench, tmp_path, range(100), known=40, size=80, counted=60) >= 90
        await bench.books()


async def test_without_a_history_the_real_cost_lies_in_a_range_that_says_that_it_is_wide(
    open_bench: OpenWorkbench, tmp_path: Path
) -> None:
    async with open_bench(seed=5, cached_tokens_share=0.5) as bench:
        wanted, crowd = spec(), people("new", 40)
        await run(bench, wanted, people("few", ENOUGH_TO_FORECAST - 1))
        calls = await bench.calls()
        told = await estimate(bench, tmp_path, wanted, Sample.of(crowd))

        assert await bench.calls() == calls, "no model is called"
        assert told.answers_known == 0
        real_mc = sum(result.charged_mc for result in await run(bench, wanted, crowd))
        assert told.cost.low_mc <= real_mc <= told.cost.high_mc
        assert told.cost.high_mc > 2 * told.cost.low_mc
        assert 0.3 < told.cost.expected_mc / real_mc < 3


async def test_people_who_fall_back_before_a_call_are_counted_apart_and_cost_nothing(
    open_bench: OpenWorkbench, tmp_path: Path
) -> None:
    async with open_bench(seed=5) as bench:
        crowd = people("some", 30)
        lacking: list[Any] = [{"customer": {}}] * 10
        mixed = await estimate(bench, tmp_path, spec(), Sample.of([*crowd, *lacking]))
        asked = await estimate(bench, tmp_path, spec(), Sample.of(crowd))
        nobody = await estimate(bench, tmp_path, spec(), Sample.of(lacking))

        assert mixed.before_a_call == {FallbackReason.PROMPT_ERROR: 10}
        assert (mixed.people, mixed.called) == (40, 30)
        assert mixed.cost == asked.cost
        assert (nobody.called, nobody.cost.worst_mc) == (0, 0)
        retired = await estimate(bench, tmp_path, spec(model="retired"), Sample.of(crowd))
        assert retired.before_a_call == {FallbackReason.MODEL_UNAVAILABLE: 30}
        assert retired.cost.worst_mc == 0
        unpriced = await estimate(bench, tmp_path, spec(model="nosuch"), Sample.of(crowd))
        assert (unpriced.model_id, unpriced.called) == (None, 0)


async def test_it_says_how_far_the_credits_go_and_so_far_they_go(
    open_bench: OpenWorkbench, tmp_path: Path
) -> None:
    async with open_bench(credits_mc=30_000, wait_ms=30_000, seed=5) as bench:
        wanted, crowd = spec(), people("many", 120)
        await run(bench, wanted, people("known", 30))
        told = await estimate(bench, tmp_path, wanted, Sample.of(crowd), account_id=ACCOUNT)
        assert told.reach is not None
        assert told.reach.covers is Covers.LESS
        assert told.reach.available_mc == (await bench.books()).available_mc
        assert 0 < told.reach.people_least <= told.reach.people <= told.reach.people_most < 120

        results = await run(bench, wanted, crowd)
        answered = sum(result.status == "model" for result in results)
        assert abs(answered - told.reach.people) <= 8


async def test_what_the_credits_cover_is_told_in_four_steps(
    open_bench: OpenWorkbench, tmp_path: Path
) -> None:
    async with open_bench(credits_mc=0, seed=5) as bench:
        ledger, sample = bench.ledger, Sample.of(people("few", 10))
        cost = (await estimate(bench, tmp_path, spec(), sample)).cost
        assert cost.expected_mc < cost.high_mc < cost.worst_mc

        async def covered() -> tuple[Covers, int]:
            told = await estimate(bench, tmp_path, spec(), sample, account_id=ACCOUNT)
            assert told.reach is not None
            return told.reach.covers, told.reach.people

        assert await covered() == (Covers.LESS, 0)
        given = 0
        for up_to, covers in (
            (cost.expected_mc - 1, Covers.LESS),
            (cost.expected_mc, Covers.EXPECTED),
            (cost.high_mc, Covers.LIKELY),
            (cost.worst_mc, Covers.WORST_CASE),
        ):
            await ledger.accounts.grant(
                ACCOUNT,
                amount_mc=up_to - given,
                kind=GrantKind.PROMOTIONAL,
                reference=covers if up_to != cost.expected_mc - 1 else "just not",
            )
            given = up_to
            expected = 9 if covers is Covers.LESS else 10
            assert await covered() == (covers, expected)

        await ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="down")
        told = await estimate(bench, tmp_path, spec(), sample, account_id=ACCOUNT)
        assert told.reach is not None
        assert (told.reach.usable, told.reach.people) == (False, 0)
        with pytest.raises(AccountUnknown):
            await estimate(bench, tmp_path, spec(), sample, account_id="nosuch")


def test_a_sample_is_everybody_or_picked_with_the_same_chance_and_by_its_seed() -> None:
    few = people("few", 30)
    assert Sample.of(few, 30).people == few
    stream: list[Any] = [{"customer": {"n": n}} for n in range(1_000)]
    places = [0] * 10
    for seed in range(40):
        sample = Sample.of(stream, 50, seed)
        assert (sample.total, len(sample.people)) == (1_000, 50)
        for data in sample.people:
            places[data["customer"]["n"] // 100] += 1
    assert all(140 < count < 260 for count in places), places
    assert Sample.of(stream, 50, 3).people == Sample.of(stream, 50, 3).people
    assert Sample.of(stream, 50, 3).people != Sample.of(stream, 50, 4).people
    with pytest.raises(ValueError, match="size: found 1"):
        Sample(1)


async def test_what_answers_use_typically_is_known_from_twenty_on(
    open_bench: OpenWorkbench, tmp_path: Path
) -> None:
    async with open_bench(seed=5, **THINKING) as bench:
        wanted = spec()
        results = await run(bench, wanted, people("some", ENOUGH_TO_FORECAST - 1))
        assert await learned(bench, tmp_path, wanted) == {}
        results += await run(bench, wanted, people("last", 1))
        found = await learned(bench, tmp_path, wanted)

        assert found.keys() == {"writer"}
        usages = [result.usage for result in results if result.usage]
        assert len(usages) == ENOUGH_TO_FORECAST
        mean = sum(usage.output_tokens for usage in usages) / len(usages)
        thinking = sum(usage.reasoning_tokens for usage in usages) / len(usages)
        assert found["writer"].output_tokens == pytest.approx(mean)
        assert found["writer"].visible_output_tokens == pytest.approx(mean - thinking)
