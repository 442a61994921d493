"""Laws 1b, 8a, 9a, 12b and 13a at the very moment, and in the one before it."""

from __future__ import annotations

import asyncio

from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Release
from runtime.credits.journal import Kind, Part, Posting
from runtime.credits.results import Alert, Released, Settled
from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

DAY_MS = 86_400_000


async def test_law_9a_what_comes_home_at_the_moment_of_expiry_has_expired(desk: Desk) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    early, _ = await desk.reserve(50)
    late, _ = await desk.reserve(30)

    await desk.pass_time(4_999)
    assert await desk.ledger.release(Release(early)) == Released(70, found=True)
    await desk.pass_time(1)
    assert await desk.ledger.release(Release(late)) == Released(0, found=True)

    assert (await desk.parts()).expired_mc == 100
    assert (await desk.journal())[-1].postings == (Posting("g1", Part.RESERVED, Part.EXPIRED, 30),)


async def test_law_8a_grants_that_expire_in_turn_end_each_at_its_own_moment(desk: Desk) -> None:
    await desk.open()
    for lifetime_ms in (3_000, 1_000, 4_000, 2_000):
        await desk.grant(100, expires_in_ms=lifetime_ms)

    moments = []
    for left_mc in (300, 200, 100, 0):
        await desk.pass_time(999)
        await desk.write_what_is_due()
        assert (await desk.balance()).available_mc == left_mc + 100
        await desk.pass_time(1)
        await desk.write_what_is_due()
        assert (await desk.balance()).available_mc == left_mc
        moments.append(desk.now_ms)
        ended = [each for each in await desk.journal() if each.kind is Kind.GRANT_EXPIRED]
        assert [each.at_ms for each in ended] == moments, "and it is written then"


async def test_law_8a_the_sweeper_comes_by_the_earliest_deadline(desk: Desk) -> None:
    await desk.open(100)
    due = desk.keys.bucket(bucket_of(ACCOUNT), "due")

    for ttl_ms in (60_000, 1_000, 30_000):
        await desk.reserve(10, ttl_ms=ttl_ms)

    assert await desk.client.zscore(due, ACCOUNT) == desk.now_ms + 1_000
    await desk.pass_time(1_000)
    await desk.write_what_is_due()
    assert await desk.client.zscore(due, ACCOUNT) == desk.now_ms + 29_000


async def test_law_8a_a_balance_counts_nothing_that_is_due_however_much_it_is(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await asyncio.gather(*(desk.reserve(1, ttl_ms=1_000) for _ in range(300)))
    await desk.pass_time(1_000)

    balance = await desk.balance()

    assert (balance.available_mc, balance.reserved_mc) == (1_000, 0)
    assert balance.open_reservations == 0


async def test_law_8a_a_visit_at_the_horizon_keeps_nothing_of_what_expires_then(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=10_000) as desk:
        await desk.open(100)
        await desk.reserve(10, ttl_ms=1_000)
        await desk.pass_time(10_000)

        await desk.write_what_is_due()

        assert await desk.client.exists(desk.key("open"), desk.key("due")) == 0
        assert (await desk.balance()).available_mc == 100


async def test_law_13a_a_second_void_does_not_move_the_moment_of_the_first(desk: Desk) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    attempt, _ = await desk.reserve(60)
    await desk.pass_time(4_999)
    await desk.ledger.accounts.void(ACCOUNT, "g1", reference="first", reason="charged back")
    await desk.pass_time(1)
    second = await desk.ledger.accounts.void(ACCOUNT, "g1", reference="second", reason="to be sure")

    await desk.ledger.release(Release(attempt))

    parts = await desk.parts()
    assert second.amount_mc == 0
    assert (parts.voided_mc, parts.expired_mc) == (100, 0)


async def test_law_1b_each_attempt_counts_in_the_windows_that_it_noted(desk: Desk) -> None:
    await desk.open(1_000)
    for window in (CapWindow.DAY, CapWindow.MONTH):
        await desk.ledger.accounts.set_cap(ACCOUNT, Cap(window), limit_mc=500, reference=window)
    older, reserved = await desk.reserve(100, desk.attempt("journey-1:step:1"), ttl_ms=1_000)
    await desk.pass_time(DAY_MS)
    newer, _ = await desk.reserve(100, desk.attempt("journey-1:step:1"))
    await desk.ledger.release(Release(newer))
    in_total = Cap(CapWindow.TOTAL)
    await desk.ledger.accounts.set_cap(ACCOUNT, in_total, limit_mc=500, reference="since then")

    assert await desk.settle(older, reserved, 70) == Settled(70, 0, 930, ("late",))

    caps = {status.cap.window: status for status in await desk.ledger.accounts.caps(ACCOUNT)}
    assert caps[CapWindow.MONTH].charged_mc == 70
    assert caps[CapWindow.DAY].charged_mc == 0, "it noted the day before"
    assert caps[CapWindow.TOTAL].charged_mc == 0, "it noted no such cap"
    assert {status.reserved_mc for status in caps.values()} == {0}


async def test_law_12b_a_crossing_at_the_end_of_the_cool_down_is_told_at_once(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(alert_cooldown_ms=10_000) as desk:
        await desk.open(1_000)
        await desk.spend(800)
        await desk.grant(800)
        attempt, reserved = await desk.reserve(800)
        await desk.pass_time(10_000)

        await desk.settle(attempt, reserved, 800)

        assert desk.alerts == 2 * [Alert(ACCOUNT, "p20", threshold_mc=200, left_mc=200)]


async def test_law_12b_a_share_of_an_odd_sum_is_exact(desk: Desk) -> None:
    await desk.open(1_059)  # 20% are 211.8
    await desk.spend(847)
    assert desk.alerts == []

    await desk.spend(1)

    assert desk.alerts == [Alert(ACCOUNT, "p20", threshold_mc=211, left_mc=211)]


async def test_law_12b_a_grant_that_lifts_to_a_mark_and_not_above_it_does_not_arm_it(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=("a500",)) as desk:
        await desk.open(1_000)
        await desk.spend(700)
        await desk.grant(200)
        await desk.spend(1)
        assert [alert.left_mc for alert in desk.alerts] == [300]

        await desk.grant(2)
        await desk.spend(1)

        assert [alert.left_mc for alert in desk.alerts] == [300, 500]


async def test_law_12b_a_grant_in_the_moment_of_an_expiry_arms_by_what_it_leaves(
    desk: Desk,
) -> None:
    await desk.open(100)
    await desk.grant(1_000, expires_in_ms=5_000)
    await desk.pass_time(5_000)

    await desk.grant(50)  # 150 left, of which 20% are 30, while 20% of 1,100 were 220
    await desk.spend(120)

    assert [(a.threshold_mc, a.left_mc) for a in desk.alerts] == [(220, 100), (30, 30)]
