"""A worker empties the queue, waits out outages, heeds pauses and ends gently."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from providers.mock.options import MockOptions
from runtime.campaigns.run import Then
from runtime.queue.entries import DeadReason
from runtime.worker.engine import FunctionsMissing
from tests.harness.servers import OLDEST, LedgerServers
from tests.harness.workbench import ACCOUNT
from tests.harness.workers import OpenCrew, until


def one_endpoint_more(config: dict[str, Any]) -> None:
    """Give the config a second endpoint, with an action on it."""
    config["endpoints"]["second"] = dict(config["endpoints"]["mock"])
    config["models"]["distant"] = {**config["models"]["writer"], "endpoint": "second"}
    config["rate_cards"][0]["rates"]["distant"] = {"input": 1000, "output": 10000}
    config["actions"]["far"] = {**config["actions"]["route"], "model": "distant"}


async def test_a_worker_runs_everybody_in_the_queue_once_and_ends(open_a_crew: OpenCrew) -> None:
    async with open_a_crew() as crew:
        await crew.open_account("corner-shop")
        await crew.add(50)
        await crew.add(20, campaign_id="autumn")
        await crew.add(7, "corner-shop")
        opened = await crew.drain()
        assert opened.tally.people.model == len(crew.ended) == 77
        assert crew.mock.stats()["requests"] == 77
        found = await crew.status()
        assert (found.model, found.waiting, found.running) == (50, 0, 0)
        balance = await crew.ledger.accounts.balance(ACCOUNT)
        charged_mc = found.charged_mc + (await crew.status(campaign_id="autumn")).charged_mc
        assert (balance.charged_mc, balance.reserved_mc) == (charged_mc, 0)


async def test_while_a_provider_is_away_nobody_is_burnt_and_all_get_answers_later(
    open_a_crew: OpenCrew,
) -> None:
    async with open_a_crew() as crew:
        crew.mock.play("status=503")
        await crew.add(60)
        async with crew.worker() as opened:
            await until(lambda: opened.worker.holds)
            calls = crew.mock.stats()["requests"]
            await asyncio.sleep(1)
            assert crew.mock.stats()["requests"] - calls <= 5, "one at a time, now and then"
            assert crew.ended == []
            crew.mock.play(None)
            await until(lambda: len(crew.ended) == 60)
        assert opened.tally.people.model == 60


async def test_a_worker_whose_patience_is_over_stops_and_leaves_the_rest_in_the_queue(
    open_a_crew: OpenCrew,
) -> None:
    async with open_a_crew() as crew:
        crew.mock.play("status=503")
        await crew.add(40)
        opened = await crew.drain(patience_s=1.0)
        assert opened.worker.gave_up is not None
        assert opened.worker.gave_up.place == ("endpoint", "mock")
        found = await crew.status()
        assert (crew.ended, found.waiting + found.running) == ([], 40)
        crew.mock.play(None)
        await crew.drain()
        assert (await crew.status()).model == 40


@pytest.mark.long
async def test_a_worker_goes_on_with_fallbacks_after_its_patience_if_told_to(
    open_a_crew: OpenCrew,
) -> None:
    async with open_a_crew() as crew:
        crew.mock.play("status=503")
        await crew.add(40)
        opened = await crew.drain(patience_s=0.5, then=Then.FALLBACK)
        assert opened.worker.gave_up is None
        found = await crew.status()
        assert (found.fallback, found.waiting, found.running) == (40, 0, 0)


@pytest.mark.long
async def test_a_provider_that_is_away_holds_nobody_at_another_one(open_a_crew: OpenCrew) -> None:
    def change(config: dict[str, Any]) -> None:
        one_endpoint_more(config)
        config["endpoints"]["second"]["api_base"] = "http://127.0.0.1:9/v1"

    async with open_a_crew(change=change) as crew:
        await crew.open_account("corner-shop")
        await crew.add(60, "corner-shop", action="far")
        async with crew.worker(patience_s=1.0) as opened:
            await until(lambda: opened.worker.holds)
            for number in range(5):
                await crew.add(20, campaign_id=f"round-{number}")
                await until(lambda: len(crew.ended) == 20 * (number + 1))  # noqa: B023 - awaited
                await asyncio.sleep(0.3)
            assert opened.worker.gave_up is None
        assert {each.entry.request.account_id for each in crew.ended} == {ACCOUNT}


async def test_a_paused_campaign_is_held_within_about_a_second_and_goes_on_later(
    open_a_crew: OpenCrew,
) -> None:
    slow = MockOptions(latency_median_ms=300)
    async with open_a_crew(mock_options=slow, max_concurrency=2) as crew:
        await crew.add(200)
        async with crew.worker():
            await until(lambda: len(crew.ended) >= 2)
            await crew.queue.pause(ACCOUNT, "welcome")
            await asyncio.sleep(1.2)
            calls = crew.mock.stats()["requests"]
            await asyncio.sleep(0.8)
            assert crew.mock.stats()["requests"] == calls
            await crew.queue.resume(ACCOUNT, "welcome")
            await until(lambda: crew.mock.stats()["requests"] > calls)


@pytest.mark.long
async def test_a_switch_that_is_off_holds_a_campaign_and_burns_nobody(
    open_a_crew: OpenCrew,
) -> None:
    slow = MockOptions(latency_median_ms=100)
    async with open_a_crew(mock_options=slow, max_concurrency=4) as crew:
        await crew.add(60)
        async with crew.worker():
            await until(lambda: len(crew.ended) >= 4)
            await crew.ledger.accounts.switch_off(ACCOUNT, workspace_id="retail", reference="off")
            await asyncio.sleep(1.5)
            calls = crew.mock.stats()["requests"]
            await asyncio.sleep(0.5)
            assert crew.mock.stats()["requests"] == calls
            await crew.ledger.accounts.switch_on(ACCOUNT, workspace_id="retail", reference="on")
            await until(lambda: len(crew.ended) == 60)
        reasons = {o.reason for each in crew.ended for o in each.result.origins.values()}  # type: ignore[union-attr]  # all have results
        assert reasons == {None}


async def test_a_worker_that_is_stopped_finishes_what_runs_and_gives_the_rest_back_at_once(
    open_a_crew: OpenCrew,
) -> None:
    slow = MockOptions(latency_median_ms=700)
    async with open_a_crew(mock_options=slow, max_concurrency=8) as crew:
        await crew.add(100)
        async with crew.worker() as opened:
            await until(lambda: opened.worker.in_flight >= 6)
            running = opened.worker.in_flight
            since_s = time.monotonic()
            opened.worker.stop()
        assert time.monotonic() - since_s < 3
        assert running <= len(crew.ended) <= 8
        found = await crew.status()
        assert found.waiting + found.running + found.model == 100
        taken = await crew.queue.take(ACCOUNT, "another", 100)
        assert taken is not None
        assert len(taken.entries) >= 80, "what was given back can be taken at once"


async def test_a_second_signal_cancels_what_runs_and_gives_its_credits_back(
    open_a_crew: OpenCrew,
) -> None:
    slow = MockOptions(latency_median_ms=8_000)
    async with open_a_crew(mock_options=slow) as crew:
        await crew.add(20)
        async with crew.worker() as opened:
            await until(lambda: opened.worker.in_flight >= 16)
            opened.worker.stop()
            opened.worker.cancel()
        found = await crew.status()
        assert (crew.ended, found.waiting + found.running) == ([], 20)
        balance = await crew.ledger.accounts.balance(ACCOUNT)
        assert (balance.reserved_mc, balance.charged_mc) == (0, 0)


@pytest.mark.long
async def test_an_unknown_action_is_given_back_for_others_and_is_a_dead_letter_in_the_end(
    open_a_crew: OpenCrew,
) -> None:
    def change(config: dict[str, Any]) -> None:
        config["worker"]["max_deliveries"] = 1

    async with open_a_crew(change=change) as crew:
        await crew.add(2, campaign_id="old", action="unheard-of")
        await crew.add(3)
        async with crew.worker():
            await until(lambda: len(crew.ended) == 3)
            found = await crew.status(campaign_id="old")
            assert (found.dead, found.waiting + found.running) == (0, 2)
            await until(lambda: _dead(crew, "old", 2))


async def _dead(crew: Any, campaign_id: str, count: int) -> bool:
    return bool((await crew.status(campaign_id=campaign_id)).dead == count)


async def test_an_execution_that_runs_elsewhere_is_asked_again_later(
    open_a_crew: OpenCrew,
) -> None:
    slow = MockOptions(latency_median_ms=1_500)
    async with open_a_crew(mock_options=slow) as crew:
        # The same person twice in the queue: one runs, the other is pending meanwhile.
        await crew.add(1)
        await crew.add(1)
        async with crew.worker() as opened:
            await until(lambda: len(crew.ended) == 2)
        assert crew.mock.stats()["requests"] == 1
        assert opened.tally.people.replayed == 1


@pytest.mark.long
async def test_an_id_that_was_used_for_something_else_is_a_dead_letter(
    open_a_crew: OpenCrew,
) -> None:
    async with open_a_crew() as crew:
        await crew.add(1)
        await crew.drain()
        await crew.add(1, person_id="somebody-else")
        await crew.drain()
        assert crew.ended[-1].dead is DeadReason.EXECUTION_CONFLICT


async def test_redis_6_is_refused_with_a_sentence(
    open_a_crew: OpenCrew, ledger_servers: LedgerServers
) -> None:
    async with open_a_crew(redis_url=ledger_servers.url(OLDEST)) as crew:
        with pytest.raises(FunctionsMissing, match=r"Redis 7\.0 or newer"):
            await crew.drain()


@pytest.mark.long
async def test_one_persons_own_trouble_ends_with_the_fallback_while_others_get_answers(
    open_a_crew: OpenCrew,
) -> None:
    def change(config: dict[str, Any]) -> None:
        one_endpoint_more(config)
        config["models"]["distant"] |= {
            "endpoint": "mock",
            "litellm_model": "openai/gpt-4o-mini#status=500",
        }

    async with open_a_crew(change=change) as crew:
        await crew.add(1, campaign_id="unlucky", action="far")
        async with crew.worker():
            for number in range(40):
                if any(each.result and each.result.status == "fallback" for each in crew.ended):
                    break
                await crew.add(3, campaign_id=f"lucky-{number}")
                await asyncio.sleep(0.3)
        [burnt] = [each for each in crew.ended if each.entry.request.campaign_id == "unlucky"]
        assert burnt.result is not None
        assert {o.reason for o in burnt.result.origins.values()} == {FallbackReason.PROVIDER_ERROR}
