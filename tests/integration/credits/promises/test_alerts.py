"""Law 12b: an alert for each crossing of what is left, none lost and none told twice."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.credits.endings import Release
from runtime.credits.results import Alert, Reserved
from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

MARKS = ("p20", "p50", "a30")
NUMBERS = itertools.count(1)


async def stored(desk: Desk, account_id: str = ACCOUNT) -> list[Alert]:
    """The alerts that are in Redis."""
    key = desk.keys.bucket(bucket_of(account_id), "alerts")
    return [
        Alert(
            fields[b"account"].decode(),
            fields[b"mark"].decode(),
            int(fields[b"threshold_mc"]),
            int(fields[b"left_mc"]),
        )
        for _, fields in await desk.client.xrange(key)
    ]


# What an alert is, said once more and in the plainest words


class Watcher:
    """Is told what is left after each step, and says which marks that crossed."""

    def __init__(self) -> None:
        self.left_mc = self.top_mc = 0
        self.told: set[str] = set()

    def threshold_mc(self, mark: str) -> int:
        if mark == "exhausted":
            return 0
        number = int(mark[1:])
        return number if mark.startswith("a") else self.top_mc * number // 100

    def sees(self, left_mc: int) -> Counter[tuple[str, int, int]]:
        before_mc, self.left_mc = self.left_mc, left_mc
        if left_mc > before_mc:  # a grant: it sets the shares, and arms what it lifts left above
            self.top_mc = left_mc
            self.told = {mark for mark in self.told if self.threshold_mc(mark) >= left_mc}
        crossed = {
            mark
            for mark in (*MARKS, "exhausted")
            if left_mc <= self.threshold_mc(mark) < before_mc and mark not in self.told
        }
        self.told |= crossed
        return Counter((mark, self.threshold_mc(mark), left_mc) for mark in crossed)


LIFETIMES_MS = {"grant": None, "short grant": 1_000, "stale grant": 0}
STEPS = [*LIFETIMES_MS, "spend", "overrun", "reserve", "void", "time"]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 100)), max_size=15))
async def test_law_12b_each_step_tells_what_it_crossed_and_nothing_else(
    open_desk: OpenDesk, steps: list[tuple[str, int]]
) -> None:
    async with open_desk(low_marks=MARKS) as desk:
        account_id = f"acme-{next(NUMBERS)}"
        await desk.open(account_id=account_id)
        watcher, granted = Watcher(), 0

        for step, number in steps:
            heard = len(desk.alerts)
            available_mc = (await desk.balance(account_id)).available_mc
            match step:
                case "grant" | "short grant" | "stale grant":
                    lifetime_ms = LIFETIMES_MS[step]
                    await desk.grant(number, account_id=account_id, expires_in_ms=lifetime_ms)
                    granted += 1
                case "spend" | "overrun" | "reserve":
                    attempt = desk.attempt(account_id=account_id)
                    amount_mc = available_mc * number // 100
                    answer = await desk.ledger.reserve(attempt, amount_mc, 700)
                    assert isinstance(answer, Reserved)
                    if step != "reserve":
                        cost_mc = amount_mc + (number if step == "overrun" else 0)
                        await desk.settle(attempt, answer, cost_mc)
                case "void" if granted:
                    grant_id = f"g{1 + number % granted}"
                    reference = f"void-{next(desk.numbers)}"
                    await desk.ledger.accounts.void(
                        account_id, grant_id, reference=reference, reason="so"
                    )
                case _:
                    await desk.pass_time(10 * number)
                    await desk.write_what_is_due(account_id)

            balance = await desk.balance(account_id)
            expected = watcher.sees(balance.available_mc + balance.reserved_mc)
            told = desk.alerts[heard:]
            assert Counter((a.mark, a.threshold_mc, a.left_mc) for a in told) == expected

        assert await stored(desk, account_id) == desk.alerts
        await desk.client.delete(desk.keys.bucket(bucket_of(account_id), "alerts"))


# Every way down

Fall = Callable[[Desk, Any, Reserved], Awaitable[Any]]


async def settle(desk: Desk, attempt: Any, reserved: Reserved) -> None:
    await desk.settle(attempt, reserved, 950)


async def settle_late(desk: Desk, attempt: Any, reserved: Reserved) -> None:
    await desk.pass_time(60_000)
    await desk.settle(attempt, reserved, 950)


async def void(desk: Desk, attempt: Any, reserved: Reserved) -> None:
    await desk.ledger.release(Release(attempt))
    await desk.ledger.accounts.void(ACCOUNT, "g1", reference="void-1", reason="paid back")


async def come_home_to_a_voided_grant(desk: Desk, attempt: Any, reserved: Reserved) -> None:
    await desk.ledger.accounts.void(ACCOUNT, "g1", reference="void-1", reason="paid back")
    assert desk.alerts == [], "950 are still reserved"
    await desk.ledger.release(Release(attempt))


async def come_home_to_an_expired_grant(desk: Desk, attempt: Any, reserved: Reserved) -> None:
    await desk.pass_time(59_000)
    await desk.write_what_is_due()
    assert desk.alerts == [], "950 are still reserved"
    await desk.pass_time(1_000)
    await desk.write_what_is_due()


@pytest.mark.parametrize(
    "fall", [settle, settle_late, void, come_home_to_a_voided_grant, come_home_to_an_expired_grant]
)
async def test_law_12b_whatever_lowers_what_is_left_tells_it_once(desk: Desk, fall: Fall) -> None:
    await desk.open()
    expires_in_ms = 59_000 if fall is come_home_to_an_expired_grant else None
    await desk.grant(950, expires_in_ms=expires_in_ms, priority=1)
    await desk.grant(50, priority=2)
    attempt, reserved = await desk.reserve(950, ttl_ms=60_000)

    await fall(desk, attempt, reserved)

    assert desk.alerts == [Alert(ACCOUNT, "p20", threshold_mc=200, left_mc=50)]
    assert await stored(desk) == desk.alerts
    await desk.balance()
    await desk.write_what_is_due()
    assert await stored(desk) == desk.alerts


# None lost, none doubled


async def test_law_12b_many_who_cross_at_once_tell_each_mark_once_between_them(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=MARKS) as desk, open_desk(low_marks=MARKS) as another:
        await desk.open(1_000)

        async def spend(one: Desk) -> None:
            attempt = desk.attempt()
            answer = await one.ledger.reserve(attempt, 10, 60_000)
            assert isinstance(answer, Reserved)
            await one.settle(attempt, answer, 10)

        await asyncio.gather(*(spend(one) for one in (desk, another) for _ in range(50)))

        in_redis = await stored(desk)
        assert sorted(alert.mark for alert in in_redis) == ["a30", "exhausted", "p20", "p50"]
        heard = desk.alerts + another.alerts
        assert Counter(heard) == Counter(in_redis), "each was heard by the one whose call it was"


async def test_law_12b_an_alert_is_kept_when_the_one_whose_call_it_was_goes_away(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(900)
    settling = asyncio.create_task(desk.settle(attempt, reserved, 900))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await desk.ledger.drain()

    # Asked again, for the answer was lost
    await desk.settle(attempt, reserved, 900)

    assert await stored(desk) == [Alert(ACCOUNT, "p20", threshold_mc=200, left_mc=100)]


async def test_law_12b_the_sweeper_finds_a_pending_alert_when_nobody_calls(
    open_desk: OpenDesk,
) -> None:
    cool_down_ms = 10_000
    async with open_desk(alert_cooldown_ms=cool_down_ms) as desk:
        # By the server's own clock, as the sweeper asks it who is due.
        seconds, _ = await desk.client.time()
        await desk.set_clock(seconds * 1000 - cool_down_ms - 1_000)
        await desk.open(1_000)
        await desk.spend(900)
        await desk.grant(900)
        await desk.spend(950)
        assert len(desk.alerts) == 1
        await desk.ledger.sweep()
        assert len(desk.alerts) == 1, "its time has not come by the account's clock"

        await desk.pass_time(cool_down_ms)

        assert await desk.ledger.sweep() == 1
        assert desk.alerts[1:] == [Alert(ACCOUNT, "p20", threshold_mc=200, left_mc=50)]
        assert await desk.ledger.sweep() == 0
        assert await stored(desk) == desk.alerts


async def test_law_12b_dust_that_is_too_small_for_anything_is_told_as_exhaustion_once(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await desk.spend(999)
    assert [alert.mark for alert in desk.alerts] == ["p20"]

    for _ in range(3):
        await desk.ledger.reserve(desk.attempt(), 500, 60_000, final=True)
    await desk.spend(1)

    assert desk.alerts[1:] == [Alert(ACCOUNT, "exhausted", threshold_mc=200, left_mc=1)]
    await desk.grant(500)
    await desk.spend(500)
    assert [alert.mark for alert in desk.alerts[2:]] == ["p20", "exhausted"]
