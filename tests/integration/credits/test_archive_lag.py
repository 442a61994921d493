"""The archive may lag behind by so many entries: then new reserves wait, and endings go in."""

from __future__ import annotations

import pytest

from runtime.credits.endings import Release
from runtime.credits.results import AccountDamaged, AccountUnknown, Alert, Reserved
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk, raises_not_booked


async def archive(desk: Desk, seq: int) -> None:
    await desk.client.hset(desk.key("account"), "archived", seq)


async def test_law_5b_reserves_are_refused_and_nothing_is_kept_while_the_archive_is_too_far_behind(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(max_lag=4) as desk:
        await desk.open(1_000)  # two entries
        attempt, reserved = await desk.reserve(100)
        await desk.spend(10)  # its dimensions are named, and it is settled
        running, _ = await desk.reserve(100)
        await desk.settle(attempt, reserved, 60)
        before = await desk.state()

        refused = desk.attempt()
        with raises_not_booked("account acme: the archive is 5 entries behind, above archive"):
            await desk.ledger.reserve(refused, 10, 1_000, final=True)
        assert await desk.state() == before
        assert isinstance(await desk.ledger.reserve(running, 100, 60_000), Reserved)
        await desk.ledger.release(Release(running))
        await archive(desk, 2)

        assert isinstance(await desk.ledger.reserve(refused, 10, 1_000), Reserved)
        assert (await desk.balance()).charged_mc == 70


async def test_law_5b_exactly_so_many_entries_are_allowed(open_desk: OpenDesk) -> None:
    async with open_desk(max_lag=3) as desk:
        await desk.open(500, 500)
        await desk.reserve(10)  # names its dimensions
        with raises_not_booked("archive.max_lag"):
            await desk.reserve(10)
        await archive(desk, 1)
        await desk.reserve(10)


async def test_without_a_bound_nobody_waits_for_the_archive(desk: Desk) -> None:
    await desk.open(*[1] * 50)
    await desk.reserve(1)
    assert desk.alerts == []


async def test_law_5b_half_of_it_is_told_once_and_again_after_it_was_caught_up(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(max_lag=10) as desk:
        await desk.open(1_000, 1_000, 1_000)
        assert desk.alerts == []
        await desk.grant(1_000)
        told = Alert(ACCOUNT, "archive_lag", threshold_mc=0, left_mc=4_000, lag_entries=5)
        assert desk.alerts == [told]
        await desk.grant(1_000)
        assert desk.alerts == [told]
        await archive(desk, 6)
        for _ in range(5):
            await desk.grant(1_000)
        assert [alert.lag_entries for alert in desk.alerts] == [5, 5]

        stored = await desk.client.xrange(desk.keys.of_account(ACCOUNT)[-1])
        assert [fields[b"mark"] for _, fields in stored] == [b"archive_lag"] * 2
        assert stored[0][1][b"lag_entries"] == b"5"


async def test_what_time_has_ended_counts_for_the_lag_too(open_desk: OpenDesk) -> None:
    async with open_desk(max_lag=10) as desk:
        await desk.open()
        for _ in range(3):
            await desk.grant(100, expires_in_ms=1_000)
        await desk.pass_time(1_000)

        await desk.write_what_is_due()

        marks = [(alert.mark, alert.lag_entries) for alert in desk.alerts]
        assert ("archive_lag", 7) in marks


async def test_marks_of_what_is_left_stay_as_they_are(open_desk: OpenDesk) -> None:
    async with open_desk(max_lag=2, low_marks=("p20",)) as desk:
        await desk.open(1_000)
        attempt, reserved = await desk.reserve(900)
        await archive(desk, 3)
        await desk.settle(attempt, reserved, 900)
        await archive(desk, 4)
        await desk.grant(1_000)
        await archive(desk, 5)
        await desk.spend(1_000)

        low = [alert for alert in desk.alerts if alert.mark == "p20"]
        assert [(alert.left_mc, alert.lag_entries) for alert in low] == [(100, 0), (100, 0)]


async def test_an_account_is_opened_and_refused_as_without_a_bound(open_desk: OpenDesk) -> None:
    async with open_desk(max_lag=1) as desk:
        with pytest.raises(AccountUnknown):
            await desk.grant(1)
        await desk.open()
        assert [alert.lag_entries for alert in desk.alerts] == [1]


@pytest.mark.parametrize("archived", ["", "some", "-1", "1.5", "9" * 17])
async def test_law_11a_a_damaged_sequence_of_the_archive_is_named_and_nothing_changes(
    desk: Desk, archived: str
) -> None:
    await desk.open(1_000)
    await desk.client.hset(desk.key("account"), "archived", archived)
    names = [name.decode() for name in await desk.names()]
    before = await desk.contents(names)

    for verb in (desk.reserve(10), desk.grant(10), desk.balance()):
        with pytest.raises(AccountDamaged, match=f"{desk.key('account')} archived: expected"):
            await verb
    assert await desk.contents(names) == before
