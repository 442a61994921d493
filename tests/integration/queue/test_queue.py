"""The request queue on real servers: what is added is taken, ended and counted, each once."""

from __future__ import annotations

from fallback.reasons import FallbackReason, ReasonGroup
from tests.harness.queues import ACCOUNT, CAMPAIGN, Bench, people_of, request_of


async def test_what_is_added_is_taken_in_order_and_ended_once(bench: Bench) -> None:
    assert await bench.add(1, 2, 3) == 3
    taken = await bench.take(count=2)
    assert people_of(taken) == ["p1", "p2"]
    assert taken.more
    assert [each.request for each in taken.entries] == [request_of(1), request_of(2)]
    assert [each.deliveries for each in taken.entries] == [1, 1]
    status = await bench.queue.status(ACCOUNT, CAMPAIGN)
    assert (status.added, status.waiting, status.running) == (3, 1, 2)

    assert await bench.finish(taken) == 2
    assert await bench.finish(taken) == 0
    rest = await bench.take()
    assert people_of(rest) == ["p3"]
    assert not rest.more
    assert await bench.finish(rest, FallbackReason.PROVIDER_ERROR) == 1
    status = await bench.queue.status(ACCOUNT, CAMPAIGN)
    assert (status.waiting, status.running, status.model, status.fallback) == (0, 0, 2, 1)
    assert status.charged_mc == 14
    assert status.fallbacks == status.missed == {ReasonGroup.MODEL: 1}
    assert await bench.queue.take(ACCOUNT, "worker") is None


async def test_what_is_given_back_is_taken_again(bench: Bench) -> None:
    await bench.add(1, 2)
    taken = await bench.take()
    assert await bench.queue.give_back(taken, taken.entries[:1]) == 1
    again = await bench.take()
    assert people_of(again) == ["p1"]
    assert again.entries[0].deliveries == 1
    assert await bench.queue.give_back(taken, taken.entries[:1]) == 0
    await bench.queue.give_back(again, again.entries, counts=True)
    assert (await bench.take()).entries[0].deliveries == 2


async def test_a_campaign_is_paused_resumed_and_stopped(bench: Bench) -> None:
    await bench.add(1, 2, 3)
    await bench.queue.pause(ACCOUNT, CAMPAIGN)
    assert await bench.queue.take(ACCOUNT, "worker") is None
    await bench.add(4)
    assert await bench.queue.take(ACCOUNT, "worker") is None
    await bench.queue.resume(ACCOUNT, CAMPAIGN)
    taken = await bench.take(count=1)
    await bench.queue.stop(ACCOUNT, CAMPAIGN)
    status = await bench.queue.status(ACCOUNT, CAMPAIGN)
    assert (status.waiting, status.running, status.stopped) == (0, 1, 3)
    assert status.missed == {ReasonGroup.LIMITS: 3}
    assert await bench.finish(taken) == 1


async def test_accounts_with_work_are_those_that_had_something_added(bench: Bench) -> None:
    assert await bench.queue.accounts_with_work() == []
    await bench.add(1)
    assert await bench.queue.accounts_with_work() == [ACCOUNT]
