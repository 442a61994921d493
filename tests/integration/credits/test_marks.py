"""Alerts: once per downward crossing, exactly-at included, armed again by a grant."""

from __future__ import annotations

from pricing.offers import GrantKind
from runtime.credits.endings import Release
from runtime.credits.results import Alert
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk


def marks(desk: Desk) -> list[str]:
    return [alert.mark for alert in desk.alerts]


async def test_law_12b_a_mark_fires_when_what_is_left_reaches_it_exactly(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.spend(799)
    assert desk.alerts == []

    await desk.spend(1)

    assert desk.alerts == [Alert(ACCOUNT, "p20", threshold_mc=200, left_mc=200)]


async def test_law_12b_a_mark_fires_once_however_much_is_spent_below_it(desk: Desk) -> None:
    await desk.open(1_000)
    for _ in range(99):
        await desk.spend(10)

    assert marks(desk) == ["p20"]


async def test_law_12b_reserving_and_releasing_around_a_mark_raises_nothing(desk: Desk) -> None:
    await desk.open(1_000)
    for _ in range(5):
        attempt, _ = await desk.reserve(1_000)
        await desk.ledger.release(Release(attempt))

    assert desk.alerts == []


async def test_law_12b_one_settlement_across_all_marks_raises_each_of_them(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=("p20", "p10", "a50")) as desk:
        await desk.open(1_000)

        await desk.spend(1_000)

        assert marks(desk) == ["p20", "p10", "a50", "exhausted"]


async def test_law_12b_a_grant_arms_the_marks_that_it_lifts_the_balance_above(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=("p20", "a500")) as desk:
        await desk.open(1_000)
        await desk.spend(900)
        await desk.grant(100)  # 200 left: above 20% of what is now left, not above 500
        await desk.spend(170)

        assert marks(desk) == ["p20", "a500", "p20"]
        assert desk.alerts[-1] == Alert(ACCOUNT, "p20", threshold_mc=40, left_mc=30)

        await desk.grant(600)
        await desk.spend(200)

        assert desk.alerts[-1] == Alert(ACCOUNT, "a500", threshold_mc=500, left_mc=430)


async def test_law_12b_a_share_is_of_what_the_last_grant_left_not_of_all_ever_granted(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await desk.spend(900)
    await desk.grant(400)  # 500 left, so low is 100
    await desk.spend(399)
    assert marks(desk) == ["p20"]

    await desk.spend(1)

    assert desk.alerts[-1] == Alert(ACCOUNT, "p20", threshold_mc=100, left_mc=100)


async def test_law_12b_a_grant_that_had_expired_when_it_came_arms_nothing(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.spend(850)
    await desk.grant(500, expires_in_ms=0)

    await desk.spend(140)

    assert marks(desk) == ["p20"]


async def test_law_12b_an_expiry_crosses_marks_too(desk: Desk) -> None:
    await desk.open()
    await desk.grant(1_000, expires_in_ms=5_000)
    await desk.pass_time(5_000)
    await desk.balance()
    assert desk.alerts == []

    await desk.write_what_is_due()
    await desk.write_what_is_due()

    assert marks(desk) == ["p20", "exhausted"]


async def test_law_12b_exhausted_is_raised_once_when_nothing_is_left(desk: Desk) -> None:
    await desk.open(100)
    await desk.spend(100)
    for _ in range(3):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000, final=True)
    assert marks(desk) == ["p20", "exhausted"]

    await desk.grant(50)
    await desk.spend(50)

    assert marks(desk) == ["p20", "exhausted", "p20", "exhausted"]


async def test_law_12b_exhausted_is_raised_when_what_is_left_is_too_little_for_anything(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await desk.spend(900)
    may_clear = await desk.ledger.reserve(desk.attempt(), 200, 1_000)
    assert marks(desk) == ["p20"], "a refusal that is not final concludes nothing"

    await desk.ledger.reserve(desk.attempt(), 200, 1_000, final=True)
    await desk.ledger.reserve(desk.attempt(), 200, 1_000, final=True)

    assert may_clear.available_mc == 100  # type: ignore[union-attr]  # a Refused
    assert desk.alerts[1:] == [Alert(ACCOUNT, "exhausted", threshold_mc=200, left_mc=100)]


async def test_law_12b_a_refusal_of_something_huge_is_no_exhaustion(desk: Desk) -> None:
    await desk.open(1_000)

    await desk.ledger.reserve(desk.attempt(), 5_000, 1_000, final=True)

    assert desk.alerts == []


async def test_law_12b_without_marks_exhaustion_is_still_told(open_desk: OpenDesk) -> None:
    async with open_desk(low_marks=()) as desk:
        await desk.open(10_000)
        await desk.spend(9_900)
        await desk.ledger.reserve(desk.attempt(), 200, 1_000, final=True)

        assert desk.alerts == [Alert(ACCOUNT, "exhausted", threshold_mc=100, left_mc=100)]


async def test_law_12b_an_alert_is_in_redis_as_well_as_told(desk: Desk) -> None:
    await desk.open()
    await desk.grant(1_000, kind=GrantKind.PURCHASED)
    await desk.spend(900)

    ((_, fields),) = await desk.client.xrange(desk.keys.of_account(ACCOUNT)[-1])

    assert fields == {
        b"account": ACCOUNT.encode(),
        b"mark": b"p20",
        b"threshold_mc": b"200",
        b"left_mc": b"100",
        b"at_ms": str(desk.now_ms).encode(),
    }


async def test_law_12b_a_listener_that_fails_does_not_make_the_settlement_look_undone(
    open_desk: OpenDesk,
) -> None:
    def broken(alert: Alert) -> None:
        raise RuntimeError(alert.mark)

    async with open_desk(on_alert=broken) as desk:
        await desk.open(1_000)
        await desk.spend(900)

        assert (await desk.balance()).charged_mc == 900
