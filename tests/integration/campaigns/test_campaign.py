"""Campaigns on a real ledger; only the model is made up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from creditgate import ActionRuntime, ActionSpec, ExecutionResult
from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from providers.errors import FailureKind, Rejected
from runtime.actions.requests import Source
from runtime.bootstrap import open_runtime
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people import PeopleError, Person
from runtime.campaigns.run import CampaignRun
from runtime.config import parse_config
from runtime.credits.results import ExecutionConflict

ACCOUNT = "acme"

CONFIG = """
version: 1
data_dir: {data_dir}
redis: {{url: "{redis_url}", key_prefix: {key_prefix}}}
executions: {{wait_for_credits_ms: 0, reservation_ttl_ms: 5000}}
endpoints:
  mock: {{api_base: "http://127.0.0.1:1/v1", max_concurrency: 512}}
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


def action(**changes: Any) -> ActionSpec:
    content: dict[str, Any] = {
        "id": "greet",
        "model": "writer",
        "user": "Greet {{ customer.name }}",
        "outputs": {"text": {"type": "text", "max_length": 50, "fallback": "Hello"}},
        "limits": {"max_output_tokens": 50, "deadline_ms": 4_000, "attempts": 1},
    }
    return ActionSpec.model_validate({**content, **changes})


class Model:
    """Greets whoever the prompt names. ``gate`` holds answers back, ``failing`` refuses them."""

    def __init__(self) -> None:
        self.calls = 0
        self.running = 0
        self.most_running = 0
        self.failing = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def complete(self, request: CompletionRequest) -> Completion:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
            await asyncio.sleep(0.002)
        finally:
            self.running -= 1
        if self.failing:
            raise Rejected(FailureKind.REJECTED, "not today", status=400)
        name = request.messages[-1]["content"].removeprefix("Greet ")
        text = json.dumps({"text": f"Dear {name}"})
        return Completion(text, FinishReason.STOP, TokenUsage(input_tokens=20, output_tokens=10))

    async def aclose(self) -> None:
        return


@pytest.fixture
def model() -> Model:
    return Model()


@pytest_asyncio.fixture
async def runtime(
    model: Model, redis_url: str, key_prefix: str, tmp_path: Path
) -> AsyncIterator[ActionRuntime]:
    text = CONFIG.format(redis_url=redis_url, key_prefix=key_prefix, data_dir=tmp_path)
    async with open_runtime(parse_config(text), provider=model) as built:
        await built.accounts.open_account(ACCOUNT, plan="growth")
        await give(built, 100_000_000, "begin")
        yield built


async def give(runtime: ActionRuntime, amount_mc: int, reference: str) -> None:
    await runtime.accounts.grant(
        ACCOUNT, amount_mc=amount_mc, kind=GrantKind.ADJUSTMENT, reference=reference
    )


def campaign(**changes: Any) -> Campaign:
    fields: dict[str, Any] = {
        "account_id": ACCOUNT,
        "workspace_id": "w",
        "campaign_id": "spring",
        "action": action(),
    }
    return Campaign(**{**fields, **changes})


def people(count: int) -> Iterator[Person]:
    for i in range(count):
        yield Person(f"p{i}", {"customer": {"name": f"N{i}"}}, i + 2)


class Results(dict[str, ExecutionResult]):
    def hear(self, person: Person, result: ExecutionResult) -> None:
        assert person.person_id not in self, "one result a person"
        self[person.person_id] = result


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


async def test_everybody_gets_one_result_and_no_more_run_at_once_than_were_allowed(
    runtime: ActionRuntime, model: Model
) -> None:
    results = Results()
    run = CampaignRun(runtime, campaign(), concurrency=7, on_result=results.hear)
    tally = await run.run(people(100))
    assert {person: result.values["text"] for person, result in results.items()} == {
        f"p{i}": f"Dear N{i}" for i in range(100)
    }
    assert (tally.people, tally.model, model.calls) == (100, 100, 100)
    assert 1 < model.most_running <= 7
    balance = await runtime.accounts.balance(ACCOUNT)
    assert tally.charged_mc == balance.charged_mc > 0
    assert tally.available_mc is not None


async def test_no_more_people_are_read_than_are_under_way(
    runtime: ActionRuntime, model: Model
) -> None:
    read = 0

    def counted() -> Iterator[Person]:
        nonlocal read
        for person in people(1_000):
            read += 1
            yield person

    model.gate.clear()
    run = CampaignRun(runtime, campaign(), concurrency=5)
    running = asyncio.create_task(run.run(counted()))
    await until(lambda: model.running == 5)
    assert read == 5
    run.cancel()
    await running


async def test_a_campaign_that_is_run_again_replays_and_charges_nothing(
    runtime: ActionRuntime, model: Model
) -> None:
    first, second = Results(), Results()
    await CampaignRun(runtime, campaign(), concurrency=8, on_result=first.hear).run(people(30))
    again = CampaignRun(runtime, campaign(), concurrency=8, on_result=second.hear)
    tally = await again.run(people(40))
    assert (tally.replayed, tally.model, model.calls) == (30, 40, 40)
    assert tally.charged_earlier_mc == sum(result.charged_mc for result in first.values())
    assert all(second[person].values == first[person].values for person in first)


async def test_each_source_runs_for_itself(runtime: ActionRuntime, model: Model) -> None:
    for number, source in enumerate(Source, start=1):
        tally = await CampaignRun(runtime, campaign(source=source), concurrency=2).run(people(3))
        assert (tally.replayed, model.calls) == (0, 3 * number)


async def test_fallbacks_are_asked_again_only_when_told_to_and_answers_never(
    runtime: ActionRuntime, model: Model
) -> None:
    async def run(count: int, retry_fallbacks: bool = False) -> tuple[int, int, int]:
        tally = await CampaignRun(
            runtime, campaign(), concurrency=4, retry_fallbacks=retry_fallbacks
        ).run(people(count))
        return tally.model, tally.fallback, tally.replayed

    assert await run(5) == (5, 0, 0)
    model.failing = True
    assert await run(10) == (5, 5, 5)
    assert await run(10) == (5, 5, 10)
    assert await run(10, retry_fallbacks=True) == (5, 5, 5), "the retry has failed too"
    model.failing = False
    assert await run(10) == (5, 5, 10)
    assert await run(10, retry_fallbacks=True) == (10, 0, 5)
    calls = model.calls
    assert await run(10, retry_fallbacks=True) == (10, 0, 10), "the second retry is stored"
    assert model.calls == calls


async def test_to_stop_lets_those_under_way_end(runtime: ActionRuntime, model: Model) -> None:
    model.gate.clear()
    results = Results()
    run = CampaignRun(runtime, campaign(), concurrency=6, on_result=results.hear)
    running = asyncio.create_task(run.run(people(50)))
    await until(lambda: model.running == 6)
    run.stop()
    model.gate.set()
    tally = await running
    assert (tally.people, tally.model, len(results), model.calls) == (6, 6, 6, 6)
    balance = await runtime.accounts.balance(ACCOUNT)
    assert balance.reserved_mc == balance.open_reservations == 0


async def test_to_cancel_gives_the_credits_back_and_they_can_be_asked_again(
    runtime: ActionRuntime, model: Model
) -> None:
    model.gate.clear()
    run = CampaignRun(runtime, campaign(), concurrency=6)
    running = asyncio.create_task(run.run(people(50)))
    await until(lambda: model.running == 6)
    run.cancel()
    assert (await running).people == 0
    model.gate.set()
    tally = await CampaignRun(runtime, campaign(), concurrency=6).run(people(6))
    assert (tally.model, tally.replayed) == (6, 0)
    balance = await runtime.accounts.balance(ACCOUNT)
    assert balance.reserved_mc == balance.open_reservations == 0
    assert balance.charged_mc == tally.charged_mc


async def test_somebody_who_is_answered_by_another_run_is_waited_for(
    runtime: ActionRuntime, model: Model
) -> None:
    model.gate.clear()
    slow = action(limits={"max_output_tokens": 50, "deadline_ms": 4_000, "attempts": 1})
    hasty = action(limits={"max_output_tokens": 50, "deadline_ms": 300, "attempts": 1})
    first = CampaignRun(runtime, campaign(action=slow), concurrency=1)
    running = asyncio.create_task(first.run(people(1)))
    await until(lambda: model.running == 1)
    second = CampaignRun(runtime, campaign(action=hasty), concurrency=1)
    waiting = asyncio.create_task(second.run(people(1)))
    # Longer than the second one's own deadline.
    await asyncio.sleep(0.5)
    assert not waiting.done()
    second_stopped = CampaignRun(runtime, campaign(action=hasty), concurrency=1)
    stopped = asyncio.create_task(second_stopped.run(people(1)))
    await asyncio.sleep(0.5)
    second_stopped.stop()
    assert (await stopped).unfinished == 1, "who stops does not wait"
    model.gate.set()
    assert (await running).model == 1
    tally = await waiting
    assert (tally.model, tally.replayed, model.calls) == (1, 1, 1)


async def test_rows_that_can_not_be_read_end_the_run_after_those_under_way(
    runtime: ActionRuntime, model: Model
) -> None:
    def breaking() -> Iterator[Person]:
        yield from people(10)
        raise PeopleError("line 12: is broken")

    run = CampaignRun(runtime, campaign(), concurrency=4)
    with pytest.raises(PeopleError, match="line 12"):
        await run.run(breaking())
    assert run.tally.model == model.calls == 10


async def test_a_listener_that_fails_ends_the_run_with_nothing_reserved(
    runtime: ActionRuntime, model: Model
) -> None:
    def fail(person: Person, result: ExecutionResult) -> None:
        raise OSError(28, "No space left on device")

    run = CampaignRun(runtime, campaign(), concurrency=4, on_result=fail)
    with pytest.raises(OSError, match="No space left"):
        await run.run(people(1_000))
    assert model.calls <= 8
    assert (await runtime.accounts.balance(ACCOUNT)).open_reservations == 0


async def test_a_campaign_that_was_something_else_before_is_refused_and_charges_nothing(
    runtime: ActionRuntime, model: Model
) -> None:
    await CampaignRun(runtime, campaign(), concurrency=2).run(people(3))
    before = await runtime.accounts.balance(ACCOUNT)
    with pytest.raises(ExecutionConflict):
        await CampaignRun(runtime, campaign(workspace_id="x"), concurrency=2).run(people(3))
    assert (await runtime.accounts.balance(ACCOUNT)).charged_mc == before.charged_mc


async def test_others_go_on_while_a_campaign_fails_person_by_person_without_awaiting(
    runtime: ActionRuntime,
) -> None:
    nobody_has = action(user="Greet {{ customer.missing }}")
    run = CampaignRun(runtime, campaign(action=nobody_has), concurrency=2)
    running = asyncio.create_task(run.run(people(1_000_000)))
    async with asyncio.timeout(10):
        await asyncio.sleep(0.1)
    run.stop()
    tally = await running
    assert 0 < tally.people < 1_000_000
    assert tally.reasons == {FallbackReason.PROMPT_ERROR: tally.people}


async def test_reasons_are_counted_once_a_person(runtime: ActionRuntime, model: Model) -> None:
    outputs = {
        name: {"type": "text", "max_length": 50, "fallback": "Hello"} for name in ("text", "more")
    }
    tally = await CampaignRun(runtime, campaign(action=action(outputs=outputs)), concurrency=2).run(
        people(4)
    )
    assert (tally.mixed, tally.model, tally.fallback) == (4, 0, 0)
    assert tally.reasons == {FallbackReason.OUTPUT_INVALID: 4}


async def test_cancelling_whoever_runs_the_campaign_gives_the_credits_back(
    runtime: ActionRuntime, model: Model
) -> None:
    model.gate.clear()
    running = asyncio.create_task(CampaignRun(runtime, campaign(), concurrency=6).run(people(50)))
    await until(lambda: model.running == 6)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert model.running == 0

    async def reserved() -> int:
        return (await runtime.accounts.balance(ACCOUNT)).open_reservations

    async with asyncio.timeout(5):
        while await reserved():  # noqa: ASYNC110 - Redis sets no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("concurrency", [0, 1_001])
def test_a_concurrency_that_makes_no_sense_is_refused(concurrency: int) -> None:
    with pytest.raises(ValueError, match="concurrency"):
        CampaignRun(None, campaign(), concurrency=concurrency)  # type: ignore[arg-type]  # not used


def test_execution_ids_name_one_visit_of_one_person_and_keep_within_their_length() -> None:
    ids = {
        campaign(campaign_id=name, source=source).request(Person(person, {}, 1), retry).execution_id
        for name in ("a", "b")
        for source in Source
        for person in ("p1", "p1:greet:1", "x" * 150, "x" * 200, "y" * 200)
        for retry in (0, 1, 2)
    }
    assert len(ids) == 2 * 3 * 5 * 3
    assert max(map(len, ids)) <= 200
    assert campaign().request(Person("p1", {}, 1)).execution_id == "spring.p1:greet:1"
    assert campaign().request(Person("p1", {}, 1), retry=2).execution_id == "spring.p1:greet:1:r2"
