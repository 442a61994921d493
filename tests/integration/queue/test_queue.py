"""The request queue on real servers: what is added is taken, ended and counted, each once."""

from __future__ import annotations

from functools import partial

import pytest

from fallback.reasons import FallbackReason, ReasonGroup
from runtime.queue.entries import MOST_REQUEST_BYTES, QueueSettings
from runtime.queue.errors import (
    CampaignConflict,
    CampaignStopped,
    CampaignUnknown,
    QueueFull,
    RequestTooLarge,
)
from runtime.queue.retained import Rerun
from tests.harness.queues import ACCOUNT, CAMPAIGN, WORKSPACE, Bench, people_of, request_of


async def test_what_is_added_is_taken_in_order_and_ended_once(bench: Bench) -> None:
    assert await bench.add(1, 2, 3) == 3
    taken = await bench.take(count=2)
    assert people_of(taken) == ["p1", "p2"]
    assert taken.more
    assert [each.request for each in taken.entries] == [request_of(1), request_of(2)]
    assert [each.deliveries for each in taken.entries] == [1, 1]
    status = await bench.status()
    assert (status.added, status.waiting, status.running) == (3, 1, 2)

    assert await bench.finish(taken) == 2
    assert await bench.finish(taken) == 0
    rest = await bench.take()
    assert people_of(rest) == ["p3"]
    assert not rest.more
    assert await bench.finish(rest, FallbackReason.PROVIDER_ERROR) == 1
    status = await bench.status()
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
    status = await bench.status()
    assert (status.waiting, status.running, status.stopped) == (0, 1, 3)
    assert status.missed == {ReasonGroup.LIMITS: 3}
    assert await bench.finish(taken) == 1


async def test_accounts_with_work_are_those_that_had_something_added(bench: Bench) -> None:
    assert await bench.queue.accounts_with_work() == []
    await bench.add(1)
    assert await bench.queue.accounts_with_work() == [ACCOUNT]


async def test_a_batch_of_an_import_is_added_once_however_often_it_is_sent(bench: Bench) -> None:
    send = partial(bench.add, import_id="file-1", content="sha256-a")
    assert await send(1, 2, row=0) == 2
    assert await send(1, 2, row=0) == 0
    assert await send(4, 5, row=3) == 0
    assert await bench.queue.import_position(ACCOUNT, CAMPAIGN, "file-1") == 2
    assert await send(3, row=2, next_row=5) == 1
    assert await bench.queue.import_position(ACCOUNT, CAMPAIGN, "file-1") == 5
    # Rows that gave no request at all.
    assert await send(row=5, next_row=9) == 0
    status = await bench.status()
    assert (status.added, status.waiting) == (3, 3)
    assert status.imports == {"file-1": 9}


async def test_a_used_name_is_a_conflict_and_adds_nothing(bench: Bench) -> None:
    await bench.add(1, import_id="file-1", content="sha256-a")
    with pytest.raises(CampaignConflict, match="import"):
        await bench.add(2, import_id="file-1", content="sha256-b", row=1)
    with pytest.raises(CampaignConflict, match="workspace_id: 'retail'"):
        await bench.queue.add(
            ACCOUNT, "wholesale", CAMPAIGN, [request_of(2, workspace_id="wholesale")]
        )
    assert (await bench.status()).added == 1


async def test_campaigns_of_an_account_take_turns(bench: Bench) -> None:
    await bench.add(*range(10), campaign_id="long")
    await bench.add(*range(100, 102), campaign_id="short")
    order = [(await bench.take(count=2)).campaign_id for _ in range(4)]
    assert order == ["long", "short", "long", "long"]


async def test_a_slice_is_found_behind_many_campaigns_that_have_none(bench: Bench) -> None:
    for number in range(40):
        await bench.add(number, campaign_id=f"c{number:02}")
        if number % 2:
            await bench.take(count=1)
        else:
            await bench.switch(f"off campaign\tc{number:02}", off=True)
    assert await bench.queue.take(ACCOUNT, "worker") is None
    await bench.add(99, campaign_id="last")
    assert people_of(await bench.take()) == ["p99"]


@pytest.mark.parametrize(
    "switch", ["off account", "off workspace\tretail", "off campaign\twelcome", "off action\troute"]
)
async def test_what_is_switched_off_waits_and_goes_on_when_it_is_switched_on(
    one_bench: Bench, switch: str
) -> None:
    await one_bench.add(1, 2)
    await one_bench.switch(switch, off=True)
    assert await one_bench.queue.take(ACCOUNT, "worker") is None
    assert (await one_bench.status()).waiting == 2
    await one_bench.switch(switch, off=False)
    assert people_of(await one_bench.take()) == ["p1", "p2"]


async def test_nothing_is_added_to_a_stopped_campaign_until_it_is_resumed(bench: Bench) -> None:
    await bench.add(1)
    await bench.queue.stop(ACCOUNT, CAMPAIGN)
    with pytest.raises(CampaignStopped):
        await bench.add(2)
    with pytest.raises(CampaignStopped):
        await bench.queue.rerun(ACCOUNT, CAMPAIGN)
    await bench.queue.resume(ACCOUNT, CAMPAIGN)
    assert await bench.add(2) == 1
    assert await bench.queue.rerun(ACCOUNT, CAMPAIGN) == Rerun(put_back=1, gone=0, left=0)
    assert people_of(await bench.take()) == ["p2", "p1"]


async def test_what_a_dead_worker_held_of_a_stopped_campaign_is_moved_too(bench: Bench) -> None:
    await bench.add(1, 2)
    await bench.take(count=1, idle_ms=1_000)
    await bench.queue.stop(ACCOUNT, CAMPAIGN)
    assert (await bench.status()).running == 1
    bench.ahead_ms = 2_000
    assert await bench.queue.take(ACCOUNT, "worker") is None
    status = await bench.status()
    assert (status.running, status.stopped) == (0, 2)


async def test_law_15_more_than_may_wait_is_refused(bench: Bench) -> None:
    bench.settings = QueueSettings(most_waiting=2)
    await bench.add(1, 2)
    with pytest.raises(QueueFull) as refused:
        await bench.add(3)
    assert refused.value.may_clear
    await bench.finish(await bench.take(count=1))
    assert await bench.add(3) == 1


async def test_a_campaign_that_nobody_added_to_is_unknown(bench: Bench) -> None:
    for call in (bench.queue.status, bench.queue.pause, bench.queue.resume, bench.queue.stop):
        with pytest.raises(CampaignUnknown):
            await call(ACCOUNT, "nobody")
    with pytest.raises(CampaignUnknown):
        await bench.queue.rerun(ACCOUNT, "nobody")
    assert await bench.queue.campaigns(ACCOUNT) == []


async def test_the_mark_of_an_account_goes_once_it_is_old_and_nothing_is_left(
    one_bench: Bench,
) -> None:
    await one_bench.add(1)
    await one_bench.client.zadd(one_bench.keys.queued(), {ACCOUNT: 1_000})
    taken = await one_bench.take()
    assert await one_bench.queue.take(ACCOUNT, "worker") is None
    assert await one_bench.queue.accounts_with_work() == [ACCOUNT]
    await one_bench.finish(taken)
    assert await one_bench.queue.take(ACCOUNT, "worker") is None
    assert await one_bench.queue.accounts_with_work() == []


@pytest.mark.parametrize(
    "change",
    [{"account_id": "other"}, {"workspace_id": "other"}, {"campaign_id": "other"}],
    ids=str,
)
async def test_a_request_of_another_campaign_is_refused(
    one_bench: Bench, change: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="another"):
        await one_bench.queue.add(
            ACCOUNT, WORKSPACE, CAMPAIGN, [request_of(1), request_of(2, **change)]
        )
    assert await one_bench.queue.campaigns(ACCOUNT) == []


async def test_a_request_beyond_the_bound_is_refused(one_bench: Bench) -> None:
    data = {"customer": {"message": "x" * MOST_REQUEST_BYTES}}
    with pytest.raises(RequestTooLarge):
        await one_bench.queue.add(ACCOUNT, WORKSPACE, CAMPAIGN, [request_of(1, data=data)])
