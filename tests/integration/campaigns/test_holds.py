"""Campaigns through an outage: who is asked again, and what a run does when it has waited enough.

The ledger and its Redis are real; only the model is made up.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from creditgate import ActionRuntime, ActionSpec, ExecutionResult
from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected
from runtime.bootstrap import open_runtime
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people import Person
from runtime.campaigns.run import CampaignRun, Then
from runtime.config import parse_config
from tests.harness.private_redis import PrivateRedis

ACCOUNT = "acme"

CONFIG = """
version: 1
data_dir: {data_dir}
redis: {{url: "{redis_url}", key_prefix: {key_prefix}, timeout_ms: 500}}
executions: {{wait_for_credits_ms: 0, reservation_ttl_ms: 5000}}
endpoints:
  mock: {{api_base: "http://127.0.0.1:1/v1", max_concurrency: 512, breaker: {{open_ms: 300}}}}
plans:
  growth: {{ai_credits: true}}
models:
  writer: {{litellm_model: openai/gpt-4o-mini, endpoint: mock, class: quick}}
rate_cards:
  - version: "2026-01"
    effective_from: 2026-01-01
    rates:
      writer: {{input: 1000, output: 10000}}
"""

ACTION = ActionSpec.model_validate(
    {
        "id": "greet",
        "model": "writer",
        "user": "Greet {{ customer.name }}",
        "outputs": {"text": {"type": "text", "max_length": 50, "fallback": "Hello"}},
        "limits": {"max_output_tokens": 50, "deadline_ms": 2_000, "attempts": 1},
    }
)
CAMPAIGN = Campaign(ACCOUNT, "w", "spring", ACTION)


def refused() -> ProviderError:
    return NotSent(FailureKind.ERROR, "connection refused")


def broken() -> ProviderError:
    return PossiblyExecuted(FailureKind.ERROR, "it broke", status=500)


def wrong_key() -> ProviderError:
    return Rejected(FailureKind.REJECTED, "the key is wrong", status=401)


class Model:
    """Greets whoever the prompt names, unless it is down for them."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.trouble: Callable[[str], ProviderError | None] = lambda name: None

    async def complete(self, request: CompletionRequest) -> Completion:
        name = request.messages[-1]["content"].removeprefix("Greet ")
        self.asked[name] += 1
        await asyncio.sleep(0.01)
        if (error := self.trouble(name)) is not None:
            raise error
        text = json.dumps({"text": f"Dear {name}"})
        return Completion(text, FinishReason.STOP, TokenUsage(input_tokens=20, output_tokens=10))

    async def aclose(self) -> None:
        return

    def fail(self, error: Callable[[], ProviderError], *names: str) -> None:
        """Fail for these people, or for everybody."""
        self.trouble = lambda name: error() if not names or name in names else None


Opened = Callable[[str], AbstractAsyncContextManager[ActionRuntime]]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def opened(model: Model, key_prefix: str, tmp_path: Path) -> Opened:
    @asynccontextmanager
    async def opening(url: str) -> Any:
        text = CONFIG.format(redis_url=url, key_prefix=key_prefix, data_dir=tmp_path)
        async with open_runtime(parse_config(text), provider=model) as runtime:
            await runtime.accounts.open_account(ACCOUNT, plan="growth")
            await runtime.accounts.grant(
                ACCOUNT, amount_mc=100_000_000, kind=GrantKind.ADJUSTMENT, reference="begin"
            )
            yield runtime

    return opening


def people(count: int) -> Iterator[Person]:
    for i in range(count):
        yield Person(f"p{i}", {"customer": {"name": f"N{i}"}}, i + 2)


class Results(dict[str, ExecutionResult]):
    def hear(self, person: Person, result: ExecutionResult) -> None:
        assert person.person_id not in self, "one result a person"
        self[person.person_id] = result


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("error", [refused, broken])
async def test_nobody_misses_an_answer_because_the_provider_was_away_for_a_while(
    opened: Opened, redis_url: str, model: Model, error: Callable[[], ProviderError]
) -> None:
    results = Results()
    async with opened(redis_url) as runtime:
        run = CampaignRun(runtime, CAMPAIGN, concurrency=16, on_result=results.hear)
        running = asyncio.create_task(run.run(people(300)))
        await until(lambda: len(results) > 50)
        model.fail(error)
        await until(lambda: run.hold is not None)
        calls = model.asked.total()
        await asyncio.sleep(1.5)
        assert model.asked.total() - calls <= 3, "one person at a time, with growing pauses"
        model.fail(refused, "nobody")
        tally = await running
        balance = await runtime.accounts.balance(ACCOUNT)
    assert (tally.model, tally.fallback, len(results)) == (300, 0, 300)
    assert {result.execution_id for result in results.values()} == {
        f"spring.p{i}:greet:1" for i in range(300)
    }, "each under the id that was asked first"
    assert tally.charged_mc == balance.charged_mc
    assert balance.reserved_mc == balance.open_reservations == 0


@pytest.mark.parametrize(
    "freeze, away_s",
    [
        (True, 1.0),
        pytest.param(True, 3.0, marks=pytest.mark.long),
        pytest.param(False, 3.0, marks=pytest.mark.long),
    ],
)
async def test_nobody_misses_an_answer_because_redis_was_away_for_a_while(
    opened: Opened, private_redis: PrivateRedis, *, freeze: bool, away_s: float
) -> None:
    results = Results()
    async with opened(private_redis.url) as runtime:
        run = CampaignRun(runtime, CAMPAIGN, concurrency=16, on_result=results.hear)
        running = asyncio.create_task(run.run(people(300)))
        await until(lambda: len(results) > 50)
        if freeze:
            private_redis.pause()
        else:
            await private_redis.stop()
        await asyncio.sleep(away_s)
        if freeze:
            private_redis.resume()
        else:
            await private_redis.start()
        tally = await running
        await runtime.drain()
        balance = await runtime.accounts.balance(ACCOUNT)
        async with asyncio.timeout(20):  # what was spooled is booked once it is replayed
            while balance.reserved_mc:
                await asyncio.sleep(0.05)
                balance = await runtime.accounts.balance(ACCOUNT)
    assert (tally.model, tally.fallback, len(results)) == (300, 0, 300)
    assert balance.charged_mc == sum(result.charged_mc for result in results.values())


@pytest.mark.parametrize("then", Then)
async def test_a_wrong_key_is_waited_for_and_then_told(
    opened: Opened, redis_url: str, model: Model, then: Then
) -> None:
    model.fail(wrong_key)
    results = Results()
    async with opened(redis_url) as runtime:
        run = CampaignRun(
            runtime,
            CAMPAIGN,
            concurrency=8,
            on_result=results.hear,
            patience_s=0.7,
            then=then,
        )
        tally = await run.run(people(200))
        assert run.gave_up is not None
        assert run.gave_up.trouble.status == 401
        if then is Then.FALLBACK:
            assert (tally.fallback, tally.missed) == (200, 200)
            assert set(tally.reasons) <= {
                FallbackReason.PROVIDER_REJECTED,
                FallbackReason.MODEL_UNAVAILABLE,
            }
        else:
            assert tally.people == len(results) == 0
            assert model.asked.total() < 20
        model.fail(refused, "nobody")
        mended = await CampaignRun(runtime, CAMPAIGN, concurrency=8).run(people(200))
    assert (mended.model, mended.replayed) == (200, 0), "nothing was kept: the same ids ask again"


async def test_a_person_who_fails_among_answers_is_asked_three_times_and_holds_nobody(
    opened: Opened, redis_url: str, model: Model
) -> None:
    model.fail(broken, "N10", "N11")
    async with opened(redis_url) as runtime:
        run = CampaignRun(runtime, CAMPAIGN, concurrency=8)
        tally = await run.run(people(200))
    assert run.gave_up is None
    assert (tally.model, tally.fallback) == (198, 2)
    assert tally.reasons == {FallbackReason.PROVIDER_ERROR: 2}
    assert model.asked["N10"] == model.asked["N11"] == 3
    assert model.asked.total() == 204


async def test_a_person_with_a_passing_trouble_of_their_own_is_answered_later(
    opened: Opened, redis_url: str, model: Model
) -> None:
    model.trouble = lambda name: broken() if name == "N3" and model.asked["N3"] == 1 else None
    async with opened(redis_url) as runtime:
        tally = await CampaignRun(runtime, CAMPAIGN, concurrency=4).run(people(40))
    assert (tally.model, tally.fallback) == (40, 0)


async def test_a_run_that_is_stopped_during_a_hold_ends_at_once(
    opened: Opened, redis_url: str, model: Model
) -> None:
    model.fail(refused)
    async with opened(redis_url) as runtime:
        run = CampaignRun(runtime, CAMPAIGN, concurrency=8)
        running = asyncio.create_task(run.run(people(50)))
        await until(lambda: run.hold is not None)
        since_s = time.monotonic()
        run.stop()
        tally = await running
        assert time.monotonic() - since_s < 1
        balance = await runtime.accounts.balance(ACCOUNT)
    assert tally.people == 0
    assert (balance.reserved_mc, balance.charged_mc) == (0, 0)


async def test_no_more_people_are_read_in_an_outage_than_twice_as_many_as_run_at_once(
    opened: Opened, redis_url: str, model: Model
) -> None:
    read = 0

    def counted() -> Iterator[Person]:
        nonlocal read
        for person in people(500):
            read += 1
            yield person

    model.fail(broken)
    async with opened(redis_url) as runtime:
        run = CampaignRun(runtime, CAMPAIGN, concurrency=8, patience_s=0.6)
        tally = await run.run(counted())
    assert tally.people == 0
    assert 8 <= read <= 16


async def test_retried_fallbacks_keep_their_id_unless_it_has_an_outcome(
    opened: Opened, redis_url: str, model: Model
) -> None:
    def rejected() -> ProviderError:
        return Rejected(FailureKind.REJECTED, "the request is wrong", status=400)

    errors = {"N1": rejected(), "N2": broken()}
    model.trouble = errors.get
    results = Results()
    async with opened(redis_url) as runtime:
        first = await CampaignRun(runtime, CAMPAIGN, concurrency=4).run(people(20))
        assert (first.fallback, first.missed) == (2, 1)
        model.fail(refused, "nobody")
        again = CampaignRun(
            runtime, CAMPAIGN, concurrency=4, on_result=results.hear, retry_fallbacks=True
        )
        tally = await again.run(people(20))
    assert (tally.model, tally.replayed) == (20, 18)
    assert results["p1"].execution_id == "spring.p1:greet:1:r1"
    assert results["p2"].execution_id == "spring.p2:greet:1"


async def test_without_patience_every_fallback_stands(
    opened: Opened, redis_url: str, model: Model
) -> None:
    model.fail(refused)
    async with opened(redis_url) as runtime:
        run = CampaignRun(runtime, CAMPAIGN, concurrency=8, patience_s=0, then=Then.FALLBACK)
        tally = await run.run(people(50))
    assert (tally.fallback, tally.missed) == (50, 50)
