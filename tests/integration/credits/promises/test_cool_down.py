"""Law 12b: an alert once per crossing, and never again before its cool-down is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runtime.credits.results import Alert
from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

COOL_DOWN_MS = 10_000


@pytest_asyncio.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    async with open_desk(alert_cooldown_ms=COOL_DOWN_MS) as opened:
        yield opened


def told(desk: Desk) -> list[tuple[str, int]]:
    return [(alert.mark, alert.left_mc) for alert in desk.alerts]


async def hover(desk: Desk) -> None:
    """Cross the 20% mark, buy, and cross it again 10 ms later."""
    await desk.open(1_000)
    await desk.spend(800)
    await desk.pass_time(10)
    await desk.grant(800)
    await desk.spend(800)


async def test_law_12b_a_second_crossing_within_the_cool_down_waits(desk: Desk) -> None:
    await hover(desk)
    assert told(desk) == [("p20", 200)]

    await desk.pass_time(COOL_DOWN_MS - 11)
    await desk.spend(1)
    assert told(desk) == [("p20", 200)]

    await desk.pass_time(1)
    await desk.spend(1)
    await desk.spend(1)

    assert told(desk) == [("p20", 200), ("p20", 199)]
    assert desk.alerts[-1] == Alert(ACCOUNT, "p20", threshold_mc=200, left_mc=199)


async def test_law_12b_a_sweep_tells_what_waited_when_nobody_calls(desk: Desk) -> None:
    await hover(desk)
    due = desk.keys.bucket(bucket_of(ACCOUNT), "due")
    expected_ms = desk.now_ms - 10 + COOL_DOWN_MS
    assert await desk.client.zscore(due, ACCOUNT) == expected_ms

    await desk.pass_time(COOL_DOWN_MS)
    await desk.write_what_is_due()
    await desk.write_what_is_due()

    assert told(desk) == [("p20", 200), ("p20", 200)]
    assert await desk.client.zscore(due, ACCOUNT) is None


async def test_law_12b_what_a_grant_lifted_left_above_is_not_told(desk: Desk) -> None:
    await hover(desk)
    await desk.grant(5_000)
    await desk.pass_time(COOL_DOWN_MS)

    await desk.spend(10)

    assert told(desk) == [("p20", 200)]


async def test_law_12b_marks_do_not_hold_each_other_back(desk: Desk) -> None:
    await desk.open(1_000)

    await desk.spend(900)
    await desk.spend(100)

    assert told(desk) == [("p20", 100), ("exhausted", 0)]


async def test_law_12b_exhaustion_cools_down_as_well(desk: Desk) -> None:
    await desk.open(100)
    await desk.spend(100)
    for _ in range(3):
        await desk.pass_time(1_000)
        await desk.grant(50)
        await desk.spend(50)
    assert [mark for mark, _ in told(desk)].count("exhausted") == 1

    await desk.pass_time(COOL_DOWN_MS)
    await desk.write_what_is_due()

    assert told(desk)[2:] == [("p20", 0), ("exhausted", 0)]


async def test_law_12b_every_alert_told_is_one_in_redis(desk: Desk) -> None:
    for _ in range(5):
        await hover(desk) if not desk.alerts else await desk.grant(900)
        await desk.spend(850 if len(desk.alerts) > 1 else 1)
        await desk.pass_time(COOL_DOWN_MS)
        await desk.write_what_is_due()

    stored = await desk.client.xrange(desk.keys.bucket(bucket_of(ACCOUNT), "alerts"))
    assert [fields[b"mark"].decode() for _, fields in stored] == [a.mark for a in desk.alerts]


@pytest.mark.parametrize("waits", [False, True])
async def test_law_12b_a_closed_account_is_told_nothing(desk: Desk, waits: bool) -> None:
    if waits:
        await hover(desk)
    else:
        await desk.open(1_000)
    before = told(desk)

    await desk.ledger.accounts.close_account(ACCOUNT, reference="close", reason="asked for it")
    await desk.pass_time(COOL_DOWN_MS)
    await desk.write_what_is_due()

    assert told(desk) == before
    assert await desk.client.zscore(desk.keys.bucket(bucket_of(ACCOUNT), "due"), ACCOUNT) is None
