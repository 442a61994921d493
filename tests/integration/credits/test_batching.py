"""Callers that come together, and callers that go away."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from runtime.credits.batch import MAX_CALLS
from runtime.credits.endings import Release
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.results import BookingUnknown, LedgerError, Refused, Reserved, Settled
from runtime.redis.primaries import primaries
from runtime.redis.transport import Reply
from tests.harness.ledger.desk import Desk, OpenDesk, connect, make_ledger
from tests.harness.ledger.staged import Loss


async def script_calls(desk: Desk) -> int:
    told = [await primary.info("commandstats") for primary in await primaries(desk.client)]
    return sum(stats.get("cmdstat_evalsha", {"calls": 0})["calls"] for stats in told)


async def test_law_1_many_callers_at_once_never_overspend(desk: Desk) -> None:
    await desk.open(100_000)

    async def execute(number: int) -> int:
        attempt = desk.attempt()
        answer = await desk.ledger.reserve(attempt, 500, 60_000)
        if not isinstance(answer, Reserved):
            return 0
        settled = await desk.settle(attempt, answer, 300 + number % 200)
        assert isinstance(settled, Settled)
        return settled.charged_mc

    charged = sum(await asyncio.gather(*(execute(number) for number in range(600))))

    balance = await desk.balance()
    assert balance.charged_mc == charged <= 100_000
    assert (balance.reserved_mc, balance.overage_mc) == (0, 0)


async def test_callers_that_come_together_share_a_script_call(desk: Desk) -> None:
    await desk.open(100_000)
    before = await script_calls(desk)

    await asyncio.gather(*(desk.reserve(1) for _ in range(500)))

    one_alone, full = 1, math.ceil(499 / MAX_CALLS)
    assert await script_calls(desk) - before <= one_alone + full


async def test_no_script_call_has_more_calls_than_others_may_be_made_to_wait_for(
    desk: Desk,
) -> None:
    await desk.open(100_000)
    sizes = desk.transport.sizes
    sizes.clear()
    attempts = [desk.attempt() for _ in range(300)]
    await asyncio.gather(*(desk.reserve(1, attempt) for attempt in attempts))
    await asyncio.gather(*(desk.ledger.release(Release(attempt)) for attempt in attempts))

    assert sum(sizes) == 600
    assert max(sizes) == MAX_CALLS


async def test_a_call_whose_answer_was_lost_is_asked_again_by_the_same_attempt(desk: Desk) -> None:
    await desk.open(1_000)
    before = desk.transport.asked
    desk.transport.losses = [Loss.ANSWER]
    attempt, reserved = await desk.reserve(500)

    assert desk.transport.asked - before == 2
    assert isinstance(await desk.settle(attempt, reserved, 400), Settled)
    balance = await desk.balance()
    assert (balance.charged_mc, balance.available_mc) == (400, 600)


async def test_what_may_have_been_booked_stays_unknown_when_the_next_asking_is_not_reached(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    desk.transport.losses = [Loss.ANSWER, Loss.REQUEST]

    with pytest.raises(BookingUnknown, match="lost on the way back"):
        await desk.reserve(500)


async def test_endings_go_before_reservations_that_came_earlier(desk: Desk) -> None:
    await desk.open(100)
    holder, reserved = await desk.reserve(100)
    first = asyncio.create_task(desk.ledger.reserve(desk.attempt(), 0, 1_000))
    waiting = asyncio.create_task(desk.ledger.reserve(desk.attempt(), 100, 1_000))
    await asyncio.sleep(0)

    await desk.settle(holder, reserved, 0)

    await first
    assert isinstance(await waiting, Reserved)


async def test_one_wrong_call_of_a_batch_fails_alone(desk: Desk) -> None:
    await desk.open(1_000)

    async def wrong() -> object:
        return await desk.ledger.reserve(desk.attempt(), -5, 1_000)

    answers = await asyncio.gather(
        desk.ledger.reserve(desk.attempt(), 10, 1_000),
        wrong(),
        desk.ledger.reserve(desk.attempt(), 10, 1_000),
        desk.ledger.reserve(desk.attempt(), 2_000, 1_000),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [Reserved, ValueError, Reserved, Refused]


async def test_an_account_that_waits_does_not_hold_up_another(desk: Desk) -> None:
    names = [f"acme-{number}" for number in range(30)]
    await asyncio.gather(*(desk.open(1_000, account_id=name) for name in names))

    answers = await asyncio.gather(
        *(
            desk.ledger.reserve(desk.attempt(account_id=name), 100, 1_000)
            for name in names
            for _ in range(12)
        )
    )

    assert sum(isinstance(answer, Reserved) for answer in answers) == 300
    for name in names:
        assert (await desk.balance(name)).reserved_mc == 1_000


# Cancellation


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_caller_leaves_nothing_reserved(desk: Desk, turns: int) -> None:
    await desk.open(1_000)
    for _ in range(20):
        task = asyncio.create_task(desk.reserve(100))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(results[0], BaseException):
            await desk.ledger.release(Release(results[0][0]))
        await desk.ledger.drain()

        assert (await desk.balance()).reserved_mc == 0


async def test_cancelled_callers_leave_the_rest_of_their_batch_intact(desk: Desk) -> None:
    await desk.open(1_000_000)
    chance = random.Random(3)
    for _ in range(20):
        tasks = [asyncio.create_task(desk.reserve(10)) for _ in range(60)]
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        going = chance.sample(tasks, 25)
        for task in going:
            await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        stayed = [result for result in results if not isinstance(result, BaseException)]
        assert len(stayed) >= 35
        await desk.ledger.drain()

        assert (await desk.balance()).reserved_mc == 10 * len(stayed)
        await asyncio.gather(*(desk.ledger.release(Release(attempt)) for attempt, _ in stayed))
    assert (await desk.balance()).open_reservations == 0


async def test_a_caller_cancelled_when_its_answer_is_there_already_leaves_nothing_reserved(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    given_back: list[ExecutionAttempt] = []
    desk.ledger.hand_abandoned_to(given_back.append)
    tasks: list[asyncio.Task[object]] = []

    def cancel_before_anyone_wakes(reply: Reply) -> None:
        if len(reply[0]) > 1:  # the batch, not the call that went alone
            asyncio.get_running_loop().call_soon(lambda: [task.cancel() for task in tasks])

    desk.transport.on_answer = cancel_before_anyone_wakes
    alone = asyncio.create_task(desk.reserve(1))
    await asyncio.sleep(0)
    attempts = [desk.attempt() for _ in range(3)]
    tasks += [asyncio.create_task(desk.ledger.reserve(a, 100, 60_000)) for a in attempts]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await alone

    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert given_back == attempts


async def test_a_caller_cancelled_before_its_call_was_sent_asks_for_nothing(desk: Desk) -> None:
    await desk.open(1_000)
    given_back: list[ExecutionAttempt] = []
    desk.ledger.hand_abandoned_to(given_back.append)
    alone = asyncio.create_task(desk.reserve(10))
    await asyncio.sleep(0)
    queued = asyncio.create_task(desk.reserve(500))
    await asyncio.sleep(0)
    queued.cancel()
    await alone
    await desk.ledger.drain()

    assert given_back == []
    assert (await desk.balance()).reserved_mc == 10


async def test_a_caller_cancelled_between_two_askings_gives_back_what_the_first_may_have_done(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    lost = asyncio.Event()
    desk.transport.losses = [Loss.ANSWER]
    desk.transport.on_answer = lambda reply: lost.set()
    caller = asyncio.create_task(desk.reserve(500))
    await lost.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await desk.ledger.drain()

    assert (await desk.balance()).reserved_mc == 0


async def test_a_timed_out_caller_is_a_cancelled_one(desk: Desk) -> None:
    await desk.open(1_000)
    timed_out = 0
    for microseconds in range(0, 3_000, 100):
        try:
            async with asyncio.timeout(microseconds / 1_000_000):
                await desk.reserve(10)
        except TimeoutError:
            timed_out += 1
    await desk.ledger.drain()

    balance = await desk.balance()
    assert timed_out > 0
    assert balance.reserved_mc == 10 * (30 - timed_out)


async def test_after_a_cancelled_caller_the_account_is_served_on(desk: Desk) -> None:
    await desk.open(1_000)
    desk.ledger.hand_abandoned_to(lambda attempt: None)
    first = asyncio.create_task(desk.reserve(10))
    await asyncio.sleep(0)
    behind = asyncio.create_task(desk.reserve(10))
    await asyncio.sleep(0)
    first.cancel()

    async with asyncio.timeout(5):
        await behind
        await desk.reserve(10)
        await asyncio.gather(*(desk.reserve(10) for _ in range(3)))
        await desk.reserve(10)


async def test_closing_the_loop_over_waiting_callers_leaves_none_waiting(
    open_desk: OpenDesk,
) -> None:
    async with open_desk() as desk:
        await desk.open(1_000)
        tasks = [asyncio.create_task(desk.reserve(1)) for _ in range(300)]
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

        async with asyncio.timeout(5):
            results = await asyncio.gather(*tasks, return_exceptions=True)

        assert all(isinstance(r, asyncio.CancelledError | LedgerError | tuple) for r in results)
        await desk.spend(1)


async def test_accounts_that_share_few_connections_are_served_in_turn(
    redis_url: str, key_prefix: str
) -> None:
    client = connect(redis_url, connections=2)
    desk = Desk(client, key_prefix, make_ledger(client, key_prefix, timeout_ms=10_000))
    names = [f"acme-{number}" for number in range(12)]
    await asyncio.gather(*(desk.open(1_000, account_id=name) for name in names))
    served: list[str] = []

    async def spend_on(name: str) -> None:
        for _ in range(20):
            await desk.ledger.reserve(desk.attempt(account_id=name), 1, 60_000)
            served.append(name)

    await asyncio.gather(*map(spend_on, names))

    # In a cluster some servers have less to do than others, so no more than this is promised.
    assert set(served[: len(served) // 2]) == set(names)
    await desk.ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


async def take_connections(client: Redis, count: int) -> None:
    """Take so many connections of the client's pool at once; fails if they are not there."""
    pool: Any = client.connection_pool  # redis-py types its pools in parts only
    async with AsyncExitStack() as taken, asyncio.timeout(5):
        for _ in range(count):
            taken.push_async_callback(pool.release, await pool.get_connection())


async def connected(desk: Desk) -> int:
    told = [await primary.info("clients") for primary in await primaries(desk.client)]
    return sum(int(clients["connected_clients"]) for clients in told)


async def test_idle_connections_never_take_the_whole_pool(desk: Desk) -> None:
    await asyncio.gather(
        *(desk.open(10, account_id=f"acme-{number}") for number in range(40)),
    )
    await asyncio.gather(*(desk.balance(f"acme-{number}") for number in range(40)))

    if isinstance(desk.client, Redis):
        size = desk.client.connection_pool.max_connections
        await take_connections(desk.client, size // 2)
        await desk.ledger.drain()
        await take_connections(desk.client, size)
    else:
        before = await connected(desk)
        await desk.ledger.drain()
        assert await connected(desk) < before
    assert (await desk.balance("acme-7")).available_mc == 10


@pytest.mark.parametrize("decode", [True, False])
async def test_a_hosts_own_client_will_do_however_it_is_made(
    redis_url: str, key_prefix: str, decode: bool
) -> None:
    async with connect(redis_url, decode_responses=decode, socket_timeout=5) as client:
        desk = Desk(client, key_prefix, make_ledger(client, key_prefix))
        await desk.ledger.check_installation()
        await desk.open(1_000)
        await asyncio.gather(*(desk.spend(10) for _ in range(20)))
        await desk.reserve(5, ttl_ms=1)
        await asyncio.sleep(0.002)

        assert await desk.ledger.sweep() == 1
        assert (await desk.balance()).available_mc == 800
        await desk.ledger.drain()
    await asyncio.sleep(0)
