"""Law 5: while Redis is away, slow or just back, nothing is taken for done, and nothing twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from runtime.credits.endings import Release
from runtime.credits.results import (
    BookingUnknown,
    Existing,
    InProgress,
    LedgerUnavailable,
    Refused,
    Reserved,
    Settled,
)
from runtime.redis.cluster import transport_to
from tests.harness.ledger.desk import Desk, connect, make_ledger, raises_not_booked
from tests.harness.ledger.staged import StagedTransport
from tests.harness.private_redis import PrivateRedis


@pytest_asyncio.fixture
async def desk(private_redis: PrivateRedis) -> AsyncIterator[Desk]:
    """A ledger on a server of the test's own, by that server's clock."""
    client = connect(private_redis.url)
    transport = StagedTransport(transport_to(client, timeout_ms=400))
    ledger = make_ledger(client, "t", transport=transport, timeout_ms=400)
    desk = Desk(client, "t", ledger)
    desk.transport = transport
    yield desk
    await ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


async def test_a_server_that_is_away_is_said_to_be_and_found_again(
    desk: Desk, private_redis: PrivateRedis
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(300)
    await private_redis.stop()

    with pytest.raises(LedgerUnavailable):
        await desk.settle(attempt, reserved, 200)
    with raises_not_booked():
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)

    await private_redis.start()
    assert isinstance(await desk.settle(attempt, reserved, 200), Settled)
    assert (await desk.balance()).charged_mc == 200


async def test_a_server_that_restarts_forgets_its_scripts_and_callers_notice_nothing(
    desk: Desk, private_redis: PrivateRedis
) -> None:
    await desk.open(10_000)
    await asyncio.gather(*(desk.open(10, account_id=f"other-{n}") for n in range(6)))
    await private_redis.stop(signal.SIGTERM)
    await private_redis.start()

    await asyncio.gather(*(desk.spend(10) for _ in range(50)))
    for number in range(6):
        assert (await desk.balance(f"other-{number}")).available_mc == 10
    await desk.client.script_flush()
    await asyncio.gather(*(desk.spend(10) for _ in range(50)))

    assert (await desk.balance()).charged_mc == 1_000


async def test_connections_that_the_server_has_closed_carry_no_call(
    desk: Desk, private_redis: PrivateRedis
) -> None:
    await desk.open(10_000)
    await asyncio.gather(*(desk.open(10, account_id=f"other-{n}") for n in range(6)))
    await private_redis.stop(signal.SIGTERM)
    await private_redis.start()
    before = desk.transport.asked

    await desk.reserve(10)

    assert desk.transport.asked - before == 1


async def test_a_server_that_hangs_is_not_asked_again_by_who_waited_for_the_time_out(
    desk: Desk, private_redis: PrivateRedis
) -> None:
    await desk.open(1_000)
    before = desk.transport.asked
    private_redis.pause()
    with pytest.raises(BookingUnknown, match=r"no answer within 0\.4 s"):
        await desk.reserve(100)
    results = await asyncio.gather(*(desk.reserve(1) for _ in range(20)), return_exceptions=True)
    private_redis.resume()

    one, another_alone, all_behind_it = 1, 1, 1
    assert desk.transport.asked - before == one + another_alone + all_behind_it
    assert all(isinstance(result, LedgerUnavailable) for result in results)


async def test_what_a_hanging_server_did_after_all_is_found_by_asking_again(
    desk: Desk, private_redis: PrivateRedis
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(300)
    other = desk.attempt()
    private_redis.pause()
    with pytest.raises(BookingUnknown):
        await desk.settle(attempt, reserved, 200)
    with pytest.raises(LedgerUnavailable):
        await desk.ledger.reserve(other, 50, 60_000)
    private_redis.resume()

    assert isinstance(await desk.settle(attempt, reserved, 200), Settled)
    again = await desk.ledger.reserve(other, 50, 60_000)

    assert isinstance(again, Reserved)
    balance = await desk.balance()
    assert (balance.charged_mc, balance.reserved_mc) == (200, 50)


async def test_callers_cancelled_while_the_server_hangs_leave_nothing_reserved(
    desk: Desk, private_redis: PrivateRedis
) -> None:
    await desk.open(1_000)
    private_redis.pause()
    tasks = [asyncio.create_task(desk.reserve(10)) for _ in range(10)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    private_redis.resume()

    await desk.ledger.drain()

    assert (await desk.balance()).reserved_mc == 0


async def test_law_3_a_server_killed_again_and_again_charges_each_execution_once(
    desk: Desk, private_redis: PrivateRedis
) -> None:
    await desk.open(1_000_000)
    done: dict[str, int] = {}

    async def execute(number: int) -> None:
        """Ask until it is done, as redelivered jobs and the spool do."""
        attempt = desk.attempt(f"journey-{number}:step:1")
        reserved: Reserved | None = None
        while attempt.execution_id not in done:
            try:
                if reserved is None:
                    answer = await desk.ledger.reserve(attempt, 100, 60_000)
                    assert not isinstance(answer, Refused | InProgress), answer
                    if isinstance(answer, Existing):
                        done[attempt.execution_id] = answer.charged_mc
                        continue
                    reserved = answer
                settled = await desk.settle(attempt, reserved, 60)
                assert isinstance(settled, Settled), settled
                done[attempt.execution_id] = settled.charged_mc
            except LedgerUnavailable:
                await asyncio.sleep(0.02)

    kills = 0

    async def run_all() -> None:
        first = 0
        while kills < 4:
            await asyncio.gather(*(execute(first + number) for number in range(40)))
            first += 40

    running = asyncio.create_task(run_all())
    while kills < 4:
        await asyncio.sleep(0.1)
        await private_redis.stop(signal.SIGKILL)
        await private_redis.start()
        kills += 1
    async with asyncio.timeout(60):
        await running

    balance = await desk.balance()
    assert balance.charged_mc == sum(done.values()) == len(done) * 60
    assert (balance.reserved_mc, balance.overage_mc, balance.exposure_mc) == (0, 0, 0)


async def test_at_maxmemory_settlements_go_in_and_reservations_do_not(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(300)
    other, _ = await desk.reserve(300)
    await desk.client.config_set("maxmemory-policy", "noeviction")
    await desk.client.config_set("maxmemory", 1)
    try:
        before = await desk.state()
        with pytest.raises(LedgerUnavailable, match="OOM"):
            await desk.reserve(10)
        with pytest.raises(LedgerUnavailable, match="OOM"):
            await desk.grant(10)
        assert await desk.state() == before

        assert isinstance(await desk.settle(attempt, reserved, 200), Settled)
        await desk.ledger.release(Release(other))
    finally:
        await desk.client.config_set("maxmemory", 0)
    balance = await desk.balance()
    assert (balance.charged_mc, balance.reserved_mc) == (200, 0)


async def test_a_pool_without_a_free_connection_is_unavailable_not_an_error(
    private_redis: PrivateRedis,
) -> None:
    client: Any = connect(private_redis.url, connections=1)
    ledger = make_ledger(client, "t", timeout_ms=300)
    desk = Desk(client, "t", ledger)
    await desk.open(100)
    pool = client.connection_pool
    taken = await pool.get_connection()

    with raises_not_booked():
        await desk.reserve(10)

    await pool.release(taken)
    await desk.reserve(10)
    await ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)
