"""Laws 5 and 8: clocks that can't be trusted and servers that are nearly full."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.config import Config
from runtime.credits import watch
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.clock import own_clock_ms
from runtime.credits.endings import Release
from runtime.credits.results import LedgerUnavailable, Settled
from runtime.ledger_opening import open_ledger
from tests.harness.ledger.desk import ACCOUNT, Desk, connect, make_ledger
from tests.harness.private_redis import PrivateRedis


class Clock:
    """This process's clock, which the test sets wrong."""

    off_ms = 0

    def __call__(self) -> int:
        return own_clock_ms() + self.off_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def desk(private_redis: PrivateRedis, clock: Clock) -> AsyncIterator[Desk]:
    """A ledger on a server of the test's own, by that server's clock."""
    client = connect(private_redis.url)
    desk = Desk(client, "t", make_ledger(client, "t", clock_ms=clock))
    await desk.open(10_000)
    yield desk
    await desk.ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


async def fill_to(desk: Desk, percent: int) -> None:
    """Have the server so full that this share of its memory is used."""
    used = (await desk.client.info("memory"))["used_memory"]
    await desk.client.config_set("maxmemory", used * 100 // percent)


# Clocks


@pytest.mark.parametrize("off_ms", [61_000, -61_000])
async def test_law_11a_with_a_clock_that_is_far_off_nothing_is_reserved_or_swept(
    desk: Desk,
    clock: Clock,
    off_ms: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "CLOCK_EVERY_S", 0)
    attempt, reserved = await desk.reserve(100)
    await desk.reserve(100, ttl_ms=1)
    await asyncio.sleep(0.002)
    clock.off_ms = off_ms
    before = await desk.state()

    await desk.ledger.check_installation()
    for _ in range(3):
        await desk.ledger.watch.look()

    side = "behind" if off_ms > 0 else "ahead of"
    with pytest.raises(LedgerUnavailable, match=rf"61\.0 s {side} this process's"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    with pytest.raises(LedgerUnavailable, match=rf"61\.0 s {side} this process's"):
        await desk.ledger.sweep()
    after = await desk.state()
    assert {name: after[name] for name in before} == before
    assert caplog.text.count("61.0 s") == 1
    with pytest.raises(LedgerUnavailable, match="nothing is booked"):
        await desk.settle(attempt, reserved, 60)

    clock.off_ms = 0
    await desk.ledger.watch.look()
    await desk.reserve(10)
    await desk.ledger.sweep()
    assert caplog.text.count("no longer so") == 1
    assert isinstance(await desk.settle(attempt, reserved, 60), Settled)


@pytest.mark.parametrize("off_ms", [61_000, -61_000])
async def test_law_8a_before_the_watch_has_looked_a_wrong_clock_writes_nothing(
    desk: Desk, clock: Clock, off_ms: int
) -> None:
    await desk.grant(50, expires_at=datetime.now(UTC) + timedelta(seconds=30))
    attempt, reserved = await desk.reserve(100)
    before = await desk.state()
    clock.off_ms = off_ms
    accounts = desk.ledger.accounts

    for refused in (
        desk.settle(attempt, reserved, 60),
        desk.ledger.release(Release(attempt)),
        desk.reserve(10),
        desk.grant(10),
        accounts.purchase(ACCOUNT, credits=100_000, payment_reference="p-1"),
        accounts.void(ACCOUNT, "g1", reference="v-1", reason="back"),
        accounts.switch_off(ACCOUNT, reference="s-1"),
        accounts.set_cap(ACCOUNT, Cap(CapWindow.DAY), limit_mc=10, reference="c-1"),
        accounts.change_plan(ACCOUNT, plan="trial", reference="t-1"),
        accounts.open_account("other", plan="growth"),
    ):
        with pytest.raises(LedgerUnavailable, match="this process's: above"):
            await refused
    assert await desk.state() == before
    assert (await desk.balance()).reserved_mc == 100

    clock.off_ms = 0
    assert isinstance(await desk.settle(attempt, reserved, 60), Settled)


@pytest.mark.parametrize("off_ms", [59_000, -59_000])
async def test_a_clock_within_a_minute_is_good_enough(
    desk: Desk, clock: Clock, off_ms: int
) -> None:
    clock.off_ms = off_ms
    await desk.ledger.check_installation()
    await desk.reserve(10)
    await desk.ledger.sweep()


async def commands(desk: Desk, *names: str) -> list[int]:
    """How often the server was given these commands so far."""
    told = await desk.client.info("commandstats")
    return [told.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names]


async def test_clocks_are_read_every_30_s_and_memory_every_5(desk: Desk, clock: Clock) -> None:
    clocks, infos = await commands(desk, "time", "info")
    for _ in range(13):
        await desk.ledger.watch.look()
        clock.off_ms += int(watch.MEMORY_EVERY_S * 1000)

    clocks_now, infos_now = await commands(desk, "time", "info")
    by_the_test = 1
    assert clocks_now - clocks == 3
    assert infos_now - infos - by_the_test == 13


@pytest.mark.parametrize("set_by_ms", [61_000, -61_000])
async def test_a_clock_that_is_set_wrong_is_noticed_at_the_next_look(
    desk: Desk, clock: Clock, set_by_ms: int
) -> None:
    await desk.ledger.watch.look()
    assert not desk.ledger.watch.faults

    clock.off_ms = set_by_ms
    await desk.ledger.watch.look()

    with pytest.raises(LedgerUnavailable, match=r"61\.0 s"):
        await desk.reserve(10)


# Memory


async def test_law_11a_above_90_percent_of_memory_nothing_is_reserved_and_settlements_go_on(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.ledger.check_installation()
    attempt, reserved = await desk.reserve(100)
    await fill_to(desk, 95)
    for _ in range(3):
        await desk.ledger.watch.look()

    with pytest.raises(LedgerUnavailable, match=r"full to 9\d% of maxmemory"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    assert isinstance(await desk.settle(attempt, reserved, 60), Settled)
    assert (await desk.balance()).reserved_mc == 0
    await desk.ledger.sweep()
    assert caplog.text.count("of maxmemory") == 1

    await fill_to(desk, 50)
    await desk.ledger.watch.look()
    await desk.reserve(10)
    assert caplog.text.count("no longer so") == 1


async def test_law_3c_where_a_policy_of_eviction_is_set_later_nothing_new_is_reserved(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    attempt, reserved = await desk.reserve(100)
    await desk.client.config_set("maxmemory-policy", "volatile-lru")
    for _ in range(3):
        await desk.ledger.watch.look()

    with pytest.raises(LedgerUnavailable, match="maxmemory-policy is volatile-lru"):
        await desk.reserve(10)
    assert isinstance(await desk.settle(attempt, reserved, 60), Settled)
    assert caplog.text.count("is volatile-lru") == 1

    await desk.client.config_set("maxmemory-policy", "noeviction")
    await desk.ledger.watch.look()
    await desk.reserve(10)


async def test_below_90_percent_and_without_a_limit_all_goes_on(desk: Desk) -> None:
    for percent in (85, 50):
        await fill_to(desk, percent)
        await desk.ledger.watch.look()
        await desk.reserve(10)
    await desk.client.config_set("maxmemory", 0)
    await desk.ledger.watch.look()
    await desk.reserve(10)


async def test_a_service_that_forbids_info_is_believed_and_named_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.client.execute_command("ACL", "SETUSER", "default", "-info")
    await desk.ledger.check_installation()
    for _ in range(3):
        await desk.ledger.watch.look()
    await desk.reserve(10)

    assert caplog.text.count("does not tell how full it is") == 1


# The task


async def test_an_open_ledger_watches_until_it_is_closed(
    private_redis: PrivateRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(watch, "MEMORY_EVERY_S", 0.02)
    config = Config.model_validate(
        {
            "version": 1,
            "data_dir": str(tmp_path / "data"),
            "redis": {"url": private_redis.url, "key_prefix": "t", "timeout_ms": 300},
            "plans": {"growth": {"ai_credits": True}},
        }
    )
    client = connect(private_redis.url)
    async with open_ledger(config) as ledger, asyncio.timeout(20):
        desk = Desk(client, "t", ledger)
        await desk.open(1_000)
        await fill_to(desk, 95)
        while not ledger.watch.faults:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        with pytest.raises(LedgerUnavailable, match="maxmemory"):
            await ledger.reserve(desk.attempt(), 10, 1_000)

        # A server that is away is no reason to stop watching; what was known of it stands.
        with caplog.at_level(logging.DEBUG, "creditgate.ledger"):
            await private_redis.stop()
            while "the watch: " not in caplog.text:  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.01)
        assert ledger.watch.faults
        await private_redis.start()
        while ledger.watch.faults:  # noqa: ASYNC110 - the new one has no limit
            await asyncio.sleep(0.01)
        await desk.reserve(10)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await client.aclose()
    await asyncio.sleep(0)
