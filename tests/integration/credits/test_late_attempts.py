"""Law 3 for attempts that come late: the first settlement wins, what else was done is exposure."""

from __future__ import annotations

import asyncio
import re

import pytest

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Release
from runtime.credits.journal import replay
from runtime.credits.results import Existing, NotBooked, Released, Reserved, Settled
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

ID = "journey-1:step:1"


async def test_law_3c_of_two_attempts_the_first_settlement_wins_and_the_other_is_exposure(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    slow, slow_reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    quick, quick_reserved = await desk.reserve(1_200, desk.attempt(ID), ttl_ms=1_000)
    won = await desk.settle(quick, quick_reserved, 600, outcome=b"quick")

    lost = await desk.settle(slow, slow_reserved, 500, outcome=b"slow")
    lost_again = await desk.settle(slow, slow_reserved, 500, outcome=b"slow")

    assert won == Settled(600, 0, 9_400, ())
    assert lost == lost_again == Existing("settled", 600, 0, None, b"quick")
    balance = await desk.balance()
    assert (balance.charged_mc, balance.exposure_mc) == (600, 500)
    assert [entry.kind for entry in await desk.journal()][-3:] == ["expired", "settled", "exposure"]


async def test_law_3c_a_late_settlement_wins_over_an_attempt_that_still_runs(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    late, late_reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    running, running_reserved = await desk.reserve(1_200, desk.attempt(ID))

    won = await desk.settle(late, late_reserved, 500, outcome=b"late")
    lost = await desk.settle(running, running_reserved, 800)

    assert won == Settled(500, 0, 9_500, ("late",))
    assert lost == Existing("settled", 500, 0, None, b"late")
    balance = await desk.balance()
    assert (balance.charged_mc, balance.reserved_mc, balance.exposure_mc) == (500, 0, 800)
    superseded = (await desk.journal())[-3]
    assert (superseded.kind, superseded.flags) == ("released", ("superseded",))


async def test_a_late_settlement_stays_late_when_a_newer_attempt_was_cancelled(desk: Desk) -> None:
    await desk.open(10_000)
    late, reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    newer, _ = await desk.reserve(1_000, desk.attempt(ID))
    await desk.ledger.release(Release(newer))

    settled = await desk.settle(late, reserved, 500)

    assert settled == Settled(500, 0, 9_500, ("late",))


async def test_an_attempt_may_reserve_again_after_its_own_reservation_expired(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)
    _, reserved = await desk.reserve(1_000, attempt, ttl_ms=1_000)

    released = await desk.ledger.release(Release(attempt))

    assert released == Released(10_000, found=True)
    assert (await desk.balance()).open_reservations == 0
    assert (await desk.settle(attempt, reserved, 10)).flags == ("orphan",)


async def test_law_3c_a_settlement_without_any_record_is_charged_as_an_orphan(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    lost = Reserved(1_000, 9_000, desk.now_ms - 5_000, 60_000)

    settled = await desk.settle(desk.attempt(), lost, 700)

    assert settled == Settled(700, 0, 9_300, ("orphan",))
    (entry,) = [e for e in await desk.journal() if e.kind == "settled"]
    assert entry.flags == ("orphan",)
    assert entry.reserved_at_ms == desk.now_ms - 5_000


async def test_law_3c_a_settlement_beyond_the_horizon_is_dead_and_changes_nothing(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=10_000) as desk:
        await desk.open(10_000)
        attempt = desk.attempt()
        before = await desk.state()
        horizon = Reserved(1_000, 0, desk.now_ms - 10_000, 0)

        assert await desk.settle(attempt, horizon, 700) == NotBooked()
        assert await desk.state() == before

        within = Reserved(1_000, 0, desk.now_ms - 9_999, 0)
        assert (await desk.settle(attempt, within, 700)).flags == ("orphan",)


async def test_law_3c_an_outcome_outlives_every_settlement_that_could_still_be_charged(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=10_000) as desk:
        await desk.open(10_000)
        attempt, reserved = await desk.reserve(1_000, ttl_ms=10_000)
        # The clock goes back, as at a failover to a server whose clock lags behind.
        await desk.set_clock(desk.now_ms - 8_000)
        await desk.settle(attempt, reserved, 700)

        key = desk.keys.outcome(attempt.account_id, attempt.execution_key)
        ends_at_ms = await desk.server_ms() + await desk.client.pttl(key)

        assert abs(ends_at_ms - (reserved.reserved_at_ms + 10_000)) < 2_000


async def test_law_3c_a_late_release_with_its_fallback_values_becomes_the_outcome(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    reason = FallbackReason.PROVIDER_TIMEOUT
    for _ in range(2):
        await desk.ledger.release(Release(attempt, reason, exposure_mc=30, outcome=b"fallback"))

    again = await desk.ledger.reserve(desk.attempt(ID), 1_000, 60_000)

    assert again == Existing("released", 0, 0, reason, b"fallback")
    assert (await desk.balance()).exposure_mc == 30
    assert (await desk.journal())[-1].flags == ("late", "exposure")


async def test_a_late_release_does_not_disturb_an_attempt_that_runs(desk: Desk) -> None:
    await desk.open(10_000)
    late, _ = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    running, reserved = await desk.reserve(1_000, desk.attempt(ID))

    for _ in range(2):
        answer = await desk.ledger.release(
            Release(late, FallbackReason.PROVIDER_TIMEOUT, exposure_mc=30, outcome=b"fallback")
        )
        assert answer == Released(9_000, found=False)

    assert await desk.settle(running, reserved, 700) == Settled(700, 0, 9_300, ())
    assert (await desk.balance()).exposure_mc == 30


async def test_the_exposure_of_an_expired_attempt_is_booked_once(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)

    for _ in range(3):
        await desk.ledger.release(Release(attempt, exposure_mc=30))

    assert (await desk.balance()).exposure_mc == 30


async def test_a_release_of_nothing_changes_nothing(desk: Desk) -> None:
    await desk.open(10_000)
    before = await desk.state()

    answer = await desk.ledger.release(Release(desk.attempt()))

    assert answer == Released(10_000, found=False)
    assert await desk.state() == before


@pytest.mark.parametrize("other", ["none", "runs", "expired"])
async def test_law_6_the_exposure_of_an_attempt_without_a_record_is_journaled_once(
    desk: Desk, other: str
) -> None:
    await desk.open(10_000)
    attempt = desk.attempt(ID)
    if other != "none":
        await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    if other == "expired":
        await desk.pass_time(1_000)
        await desk.write_what_is_due()
    before = (await desk.balance()).exposure_mc

    for _ in range(3):
        answer = await desk.ledger.release(Release(attempt, exposure_mc=30))
        assert isinstance(answer, Released)
        assert not answer.found

    assert (await desk.balance()).exposure_mc == before + 30
    exposed = [entry for entry in await desk.journal() if entry.kind == "exposure"]
    assert [entry.exposure_mc for entry in exposed] == [30]
    assert replay(await desk.journal()).exposure_mc == before + 30


async def test_law_6_a_release_without_outcome_is_exposure_once_and_the_id_can_be_asked_again(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID))
    reason = FallbackReason.PROVIDER_TIMEOUT

    found = []
    for _ in range(3):
        released = await desk.ledger.release(Release(attempt, reason, exposure_mc=30))
        assert isinstance(released, Released)
        found.append(released.found)

    assert found == [True, False, False]
    assert (await desk.balance()).exposure_mc == 30
    assert (await desk.settle(attempt, reserved, 500)).flags == ("late",)
    assert (await desk.balance()).exposure_mc == 0, "it was charged after all"


@pytest.mark.parametrize("kind, flag", [("expired", "late"), ("unknown", "orphan")])
async def test_law_3c_a_repeated_settlement_has_the_flags_of_the_first(
    desk: Desk, kind: str, flag: str
) -> None:
    await desk.open(10_000)
    attempt, reserved = desk.attempt(ID), Reserved(1_000, 9_000, desk.now_ms - 5_000, 60_000)
    if kind == "expired":
        attempt, reserved = await desk.reserve(1_000, attempt, ttl_ms=1_000)
        await desk.pass_time(1_000)
    loser, _ = await desk.reserve(1_000, desk.attempt(ID))

    first = await desk.settle(attempt, reserved, 1_200, flags=("usage_estimated",))
    await desk.ledger.release(Release(loser, exposure_mc=30))
    again = await desk.settle(attempt, reserved, 1_200, flags=("usage_estimated",))

    assert first.flags == again.flags == ("usage_estimated", "quote_exceeded", flag)
    assert (again.charged_mc, again.overage_mc) == (1_200, 0)


@pytest.mark.parametrize("due", [150, pytest.param(3_500, marks=pytest.mark.long)])
async def test_law_15_and_9a_a_late_bill_is_no_overage_while_credits_are_due_to_come_home(
    desk: Desk, due: int
) -> None:
    await desk.open(due * 10)
    late = [await desk.reserve(10, ttl_ms=1_000)]
    await asyncio.gather(*(desk.reserve(10, ttl_ms=1_000) for _ in range(due - 1)))
    await desk.pass_time(1_000)

    attempt, reserved = late[0]
    settled = await desk.settle(attempt, reserved, due * 10)

    assert (settled.charged_mc, settled.overage_mc) == (due * 10, 0)
    assert (await desk.balance()).overage_mc == 0


async def test_law_9a_a_bill_above_its_quote_is_no_overage_while_credits_are_due_to_come_home(
    desk: Desk,
) -> None:
    await desk.open(2_010)
    await asyncio.gather(*(desk.reserve(10, ttl_ms=1_000) for _ in range(200)))
    attempt, reserved = await desk.reserve(10)
    await desk.pass_time(1_000)

    settled = await desk.settle(attempt, reserved, 2_020)

    assert (settled.charged_mc, settled.overage_mc) == (2_010, 10)


async def test_law_6_a_reservation_that_expires_leaves_its_quote_as_exposure(desk: Desk) -> None:
    await desk.open(10_000)
    await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)

    seen = await desk.balance()
    await desk.write_what_is_due()
    balance = await desk.balance()

    assert (seen.exposure_mc, balance.exposure_mc, balance.charged_mc) == (1_000, 1_000, 0)
    expired = (await desk.journal())[-1]
    assert (expired.kind, expired.exposure_mc, expired.flags) == ("expired", 1_000, ("exposure",))


async def test_law_6_a_late_settlement_corrects_the_exposure_of_its_expiry(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.write_what_is_due()

    for _ in range(2):
        await desk.settle(attempt, reserved, 700, exposure_mc=40)

    balance = await desk.balance()
    assert (balance.charged_mc, balance.exposure_mc) == (700, 40)
    settled = (await desk.journal())[-1]
    assert (settled.kind, settled.exposure_mc, settled.flags) == ("settled", -960, ("late",))


async def test_law_6_a_late_release_says_that_its_call_was_never_made(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, _ = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.write_what_is_due()

    for _ in range(2):
        await desk.ledger.release(Release(attempt))

    assert (await desk.balance()).exposure_mc == 0
    assert (await desk.journal())[-1].exposure_mc == -1_000


@pytest.mark.parametrize("ending", ["settle", "release", "conclude"])
async def test_law_6_an_attempt_that_expired_and_lost_is_exposure_once(
    desk: Desk, ending: str
) -> None:
    await desk.open(10_000)
    slow, slow_reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    reason = FallbackReason.INSUFFICIENT_CREDITS
    if ending == "conclude":
        await desk.ledger.conclude(desk.attempt(ID), reason, b"fallback")
    else:
        quick, quick_reserved = await desk.reserve(1_200, desk.attempt(ID), ttl_ms=1_000)
        if ending == "settle":
            await desk.settle(quick, quick_reserved, 600)
        else:
            await desk.ledger.release(Release(quick, reason, outcome=b"fallback"))
    before = (await desk.balance()).exposure_mc

    for _ in range(2):
        await desk.settle(slow, slow_reserved, 500)

    assert (before, (await desk.balance()).exposure_mc) == (1_000, 500)


async def test_law_6_of_several_attempts_that_expired_each_corrects_its_own(desk: Desk) -> None:
    await desk.open(10_000)
    attempts = []
    for amount_mc in (1_000, 200, 30):
        attempts.append(await desk.reserve(amount_mc, desk.attempt(ID), ttl_ms=1_000))
        await desk.pass_time(1_000)
    await desk.write_what_is_due()
    seen = [(await desk.balance()).exposure_mc]

    for attempt, _ in attempts[::-1]:
        await desk.ledger.release(Release(attempt, exposure_mc=1))
        seen.append((await desk.balance()).exposure_mc)

    assert seen == [1_230, 1_201, 1_002, 3]


async def test_a_reservation_that_an_earlier_release_expired_has_nothing_to_correct(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.write_what_is_due()
    key = desk.key("open")
    record = (await desk.client.hget(key, attempt.execution_key)).decode()
    assert "exposed:1000" in record
    await desk.client.hset(key, attempt.execution_key, record.replace("exposed:1000", ""))

    assert (await desk.settle(attempt, reserved, 700)).flags == ("late",)

    assert (await desk.balance()).exposure_mc == 1_000


async def test_an_attempt_that_an_earlier_release_listed_counts_in_the_windows_of_now(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    await desk.ledger.accounts.set_cap(
        ACCOUNT, Cap(CapWindow.MONTH), limit_mc=9_000, reference="cap"
    )
    older, reserved = await desk.reserve(1_000, desk.attempt(ID), ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.reserve(1_000, desk.attempt(ID))
    since_then = Cap(CapWindow.TOTAL)
    await desk.ledger.accounts.set_cap(ACCOUNT, since_then, limit_mc=9_000, reference="another")
    key = desk.key("open")
    record = (await desk.client.hget(key, older.execution_key)).decode()
    listed = re.search(rf"{older.attempt_id}:1000(:[^\t]+)\t", record)
    assert listed
    await desk.client.hset(key, older.execution_key, record.replace(listed[1], ""))

    assert (await desk.settle(older, reserved, 700)).flags == ("late",)

    statuses = await desk.ledger.accounts.caps(ACCOUNT)
    assert [status.charged_mc for status in statuses] == [700, 700]
    assert (await desk.balance()).exposure_mc == 0


async def test_exposure_at_the_largest_amount_stops_no_expiry_and_no_correction(
    desk: Desk,
) -> None:
    await desk.open(MAX_MC)
    first, reserved = await desk.reserve(1_000, ttl_ms=1_000)
    await desk.settle(first, reserved, 1, exposure_mc=MAX_MC)
    late, _ = await desk.reserve(5_000, ttl_ms=1_000)
    await desk.pass_time(1_000)
    await desk.write_what_is_due()

    await desk.ledger.release(Release(late))

    balance = await desk.balance()
    assert balance.exposure_mc == MAX_MC - 5_000
    assert replay(await desk.journal()).exposure_mc == balance.exposure_mc
