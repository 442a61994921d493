"""Laws 8, 9, 10: which grant pays, and what time takes away."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pricing.offers import GrantKind
from runtime.credits.endings import Release
from runtime.credits.journal import Kind, Part, Posting
from runtime.credits.results import Refused, Settled
from tests.harness.ledger.desk import Desk, OpenDesk


async def test_law_10a_burn_order_is_priority_then_expiry_then_creation_then_id(
    desk: Desk,
) -> None:
    await desk.open()
    order: list[tuple[str, dict[str, Any]]] = [  # in the order in which they are to burn
        ("low priority number, never expires", {"priority": 5}),
        ("soonest expiry", {"priority": 7, "expires_in_ms": 10_000}),
        ("later expiry", {"priority": 7, "expires_in_ms": 20_000}),
        ("never expires, created first", {"priority": 7}),
        ("never expires, created at the same moment, later id", {"priority": 7}),
        ("highest number", {"priority": 9, "expires_in_ms": 5_000}),
    ]
    # Given in another order, but for the two that only their ids tell apart.
    grant_ids = {}
    for position in (5, 2, 0, 3, 4, 1):
        name, terms = order[position]
        grant_ids[name] = (await desk.grant(10, reference=name, **terms)).grant_id
    expected = [grant_ids[name] for name, _ in order]

    attempt, _ = await desk.reserve(60)
    await desk.ledger.release(Release(attempt))

    assert [grant.grant_id for grant in (await desk.balance()).grants] == expected
    assert [posting.grant_id for posting in (await desk.journal())[-1].postings] == expected


async def test_law_10a_default_priorities_spend_given_credits_before_bought_ones(
    desk: Desk,
) -> None:
    await desk.open()
    for kind in (
        GrantKind.PURCHASED,
        GrantKind.ADJUSTMENT,
        GrantKind.PLAN,
        GrantKind.PROMOTIONAL,
        GrantKind.INTRODUCTORY,
    ):
        await desk.grant(10, kind=kind)

    await desk.spend(25)

    charged = {grant.kind: grant.charged_mc for grant in (await desk.balance()).grants}
    assert charged == {
        GrantKind.INTRODUCTORY: 10,
        GrantKind.PROMOTIONAL: 10,
        GrantKind.PLAN: 5,
        GrantKind.ADJUSTMENT: 0,
        GrantKind.PURCHASED: 0,
    }


async def test_law_2b_a_reservation_keeps_its_slices_whatever_grants_come_later(desk: Desk) -> None:
    await desk.open(100)
    attempt, reserved = await desk.reserve(60)
    await desk.grant(1_000, priority=0)

    await desk.settle(attempt, reserved, 60)

    assert (await desk.parts("g1")).charged_mc == 60
    assert (await desk.parts("g2")).charged_mc == 0


async def test_law_2b_a_settlement_pays_its_slices_in_order_and_sends_the_rest_home(
    desk: Desk,
) -> None:
    await desk.open()
    for priority in (1, 2, 3):
        await desk.grant(100, priority=priority)
    attempt, reserved = await desk.reserve(250)

    await desk.settle(attempt, reserved, 120)

    parts = [(grant.charged_mc, grant.available_mc) for grant in (await desk.balance()).grants]
    assert parts == [(100, 0), (20, 80), (0, 100)]
    settled = (await desk.journal())[-1]
    assert settled.slices == {"g1": 100, "g2": 100, "g3": 50}


async def test_law_3b_a_bill_above_the_quote_takes_what_is_available_and_the_rest_is_overage(
    desk: Desk,
) -> None:
    await desk.open(100, 50)
    attempt, reserved = await desk.reserve(100)

    settled = await desk.settle(attempt, reserved, 180)

    assert settled == Settled(150, 30, 0, ("quote_exceeded",))
    balance = await desk.balance()
    assert (balance.charged_mc, balance.available_mc, balance.overage_mc) == (150, 0, 30)
    entry = (await desk.journal())[-1]
    assert (entry.flags, entry.overage_mc) == (("quote_exceeded",), 30)


async def test_law_1_overage_never_takes_what_others_have_reserved(desk: Desk) -> None:
    await desk.open(100)
    mine, my_reserved = await desk.reserve(40)
    other, other_reserved = await desk.reserve(60)

    assert await desk.settle(mine, my_reserved, 90) == Settled(40, 50, 0, ("quote_exceeded",))
    assert await desk.settle(other, other_reserved, 60) == Settled(60, 0, 0, ())


# Expiry


@pytest.mark.parametrize("before_ms, reserved", [(1, True), (0, False)])
async def test_law_8a_an_expiry_is_exact_to_the_millisecond_and_needs_no_sweeper(
    desk: Desk, before_ms: int, reserved: bool
) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    await desk.pass_time(5_000 - before_ms)

    answer = await desk.ledger.reserve(desk.attempt(), 100, 60_000)

    assert isinstance(answer, Refused) is not reserved
    parts = await desk.parts()
    assert (parts.reserved_mc, parts.expired_mc) == ((100, 0) if reserved else (0, 100))


async def test_law_8a_a_balance_shows_what_has_expired_and_writes_nothing(desk: Desk) -> None:
    await desk.open(70)
    await desk.grant(30, expires_in_ms=5_000)
    await desk.reserve(100, ttl_ms=1_000)
    before, seq = await desk.state(), (await desk.balance()).journal_seq

    await desk.pass_time(1_000)
    assert (await desk.balance()).reserved_mc == 0
    assert (await desk.balance()).available_mc == 100
    await desk.pass_time(4_000)
    balance = await desk.balance()

    assert (balance.available_mc, balance.expired_mc, balance.journal_seq) == (70, 30, seq)
    assert await desk.state() == before
    assert desk.alerts == []


async def test_law_8a_a_server_clock_that_goes_back_does_not_turn_time_back(desk: Desk) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    await desk.pass_time(5_000)
    await desk.write_what_is_due()
    await desk.set_clock(desk.now_ms - 4_000)

    answer = await desk.ledger.reserve(desk.attempt(), 100, 60_000)

    assert isinstance(answer, Refused)
    assert (await desk.balance()).at_ms == desk.now_ms + 4_000


async def test_law_8a_a_reservation_ends_at_its_deadline_and_not_before(desk: Desk) -> None:
    await desk.open(100)
    await desk.reserve(100, ttl_ms=1_000)
    await desk.pass_time(999)
    assert isinstance(await desk.ledger.reserve(desk.attempt(), 1, 1_000), Refused)
    await desk.pass_time(1)

    await desk.reserve(100)

    (expired,) = [e for e in await desk.journal() if e.kind is Kind.EXPIRED]
    assert expired.effective_at_ms == desk.now_ms
    assert expired.postings == (Posting("g1", Part.RESERVED, Part.AVAILABLE, 100),)


async def test_law_9a_a_reservation_taken_before_its_grant_expired_still_pays_from_it(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    attempt, reserved = await desk.reserve(80)
    await desk.pass_time(6_000)

    assert await desk.settle(attempt, reserved, 50) == Settled(50, 0, 0, ())
    parts = await desk.parts()
    assert (parts.charged_mc, parts.expired_mc, parts.available_mc) == (50, 50, 0)


async def test_law_9a_what_comes_home_to_an_expired_grant_expires_at_once_and_is_journaled(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    attempt, _ = await desk.reserve(80)
    await desk.pass_time(6_000)

    await desk.ledger.release(Release(attempt))

    assert (await desk.parts()).expired_mc == 100
    grant_expired, released = (await desk.journal())[-2:]
    assert grant_expired.kind is Kind.GRANT_EXPIRED
    assert grant_expired.effective_at_ms == desk.now_ms - 1_000
    assert grant_expired.postings == (Posting("g1", Part.AVAILABLE, Part.EXPIRED, 20),)
    assert released.postings == (Posting("g1", Part.RESERVED, Part.EXPIRED, 80),)


async def test_law_9a_an_expired_grant_pays_nothing_to_a_late_settlement(desk: Desk) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=5_000)
    attempt, reserved = await desk.reserve(80, ttl_ms=1_000)
    await desk.pass_time(6_000)

    assert await desk.settle(attempt, reserved, 50) == Settled(0, 50, 0, ("late",))
    assert (await desk.parts()).expired_mc == 100


async def test_law_8a_expiries_are_journaled_in_the_order_in_which_time_ended_them(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.grant(100, priority=1, expires_in_ms=3_000)
    await desk.grant(100, priority=2, expires_in_ms=1_000)
    await desk.grant(100, priority=3, expires_in_ms=5_000)
    await desk.reserve(150, ttl_ms=2_000)  # all of g1, half of g2
    await desk.reserve(60, ttl_ms=4_000)  # the rest of g2 and a part of g3
    await desk.pass_time(10_000)

    await desk.write_what_is_due()

    entries = (await desk.journal())[-5:]
    effective = [entry.effective_at_ms - (desk.now_ms - 10_000) for entry in entries]
    # g2 has nothing available when it expires at 1,000: what is reserved of it expires with
    # the reservations; so does g1's at 3,000, after it came home at 2,000.
    assert [(e.kind, at) for e, at in zip(entries, effective, strict=True)][-4:] == [
        (Kind.EXPIRED, 2_000),
        (Kind.GRANT_EXPIRED, 3_000),
        (Kind.EXPIRED, 4_000),
        (Kind.GRANT_EXPIRED, 5_000),
    ]
    assert effective[-4:] == sorted(effective[-4:])
    assert (await desk.balance()).expired_mc == 300


async def test_law_8a_grants_that_expire_between_two_visits_are_journaled_in_order_of_expiry(
    desk: Desk,
) -> None:
    await desk.open()
    for priority, expires_in_ms in ((1, 3_000), (2, 1_000), (3, 2_000)):
        await desk.grant(100, priority=priority, expires_in_ms=expires_in_ms)
    await desk.pass_time(10_000)

    await desk.write_what_is_due()

    expired = [e for e in await desk.journal() if e.kind is Kind.GRANT_EXPIRED]
    assert [e.effective_at_ms - desk.now_ms for e in expired] == [-9_000, -8_000, -7_000]


@pytest.mark.parametrize("visits", [1, 7])
async def test_law_8a_one_visit_after_many_expiries_leaves_what_many_visits_would(
    open_desk: OpenDesk, visits: int
) -> None:
    async with open_desk() as desk:
        await desk.open(1_000)
        chance = random.Random(1)
        for _ in range(5):
            await desk.grant(200, priority=1, expires_in_ms=chance.randrange(1, 10_000))
        for _ in range(10):
            await desk.reserve(150, ttl_ms=chance.randrange(1, 10_000))
        for _ in range(visits):
            await desk.pass_time(10_000 // visits + 1)
            await desk.write_what_is_due()

        balance = await desk.balance()
        expiries = [
            (e.effective_at_ms, e.kind, e.postings)
            for e in await desk.journal()
            if e.kind in (Kind.EXPIRED, Kind.GRANT_EXPIRED)
        ]

        assert (balance.available_mc, balance.expired_mc) == (1_000, 1_000)
        assert [at for at, _, _ in expiries] == sorted(at for at, _, _ in expiries)


async def test_law_12a_more_due_reservations_than_one_script_ends_are_all_ended_before_a_refusal(
    desk: Desk,
) -> None:
    await desk.open(500)
    for _ in range(500):
        await desk.reserve(1, ttl_ms=1_000)
    await desk.pass_time(1_000)

    await desk.reserve(500)

    assert (await desk.balance()).open_reservations == 1


async def test_law_12a_more_than_can_be_ended_is_said_to_be_reserved_elsewhere(
    desk: Desk,
) -> None:
    await desk.open(1_200)
    for _ in range(1_200):
        await desk.reserve(1, ttl_ms=1_000)
    await desk.pass_time(1_000)

    answer = await desk.ledger.reserve(desk.attempt(), 1_200, 60_000)
    again = await desk.ledger.reserve(desk.attempt(), 1_200, 60_000)

    assert isinstance(answer, Refused)
    assert answer.may_clear
    assert not isinstance(again, Refused)


async def test_the_sweeper_ends_everything_that_is_due_and_then_has_nothing_to_visit(
    open_desk: OpenDesk,
) -> None:
    # By the server's own clock, as the sweeper asks it who is due.
    async with open_desk() as desk:
        await desk.set_clock(await desk.server_ms() - 60_000)
        for account_id in ("acme", "other"):
            await desk.open(1_000, account_id=account_id)
        for _ in range(250):
            attempt = desk.attempt()
            await desk.ledger.reserve(attempt, 1, 1_000)
        await desk.ledger.reserve(desk.attempt(account_id="other"), 1, 1_000_000)
        await desk.pass_time(1_000)

        assert await desk.ledger.sweep() == 1
        assert (await desk.balance()).reserved_mc == 0
        assert len([e for e in await desk.journal() if e.kind is Kind.EXPIRED]) == 250
        assert await desk.ledger.sweep() == 0
        assert (await desk.balance("other")).reserved_mc == 1


async def test_the_sweeper_has_nothing_to_visit_where_nothing_can_become_due(desk: Desk) -> None:
    await desk.set_clock(await desk.server_ms() - 60_000)
    await desk.open(100)
    await desk.grant(100, expires_in_ms=5_000)
    await desk.pass_time(10_000)

    assert [await desk.ledger.sweep(), await desk.ledger.sweep()] == [1, 0]
    assert (await desk.balance()).expired_mc == 100


async def test_an_expired_record_goes_when_no_settlement_can_come_any_more(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=10_000) as desk:
        await desk.open(100)
        await desk.reserve(10, ttl_ms=1_000)
        await desk.pass_time(9_999)
        await desk.write_what_is_due()
        assert await desk.client.hlen(desk.key("open")) == 1
        await desk.pass_time(1)
        await desk.write_what_is_due()

        assert await desk.client.exists(desk.key("open"), desk.key("due")) == 0


async def test_an_id_that_expires_again_and_again_keeps_a_record_of_bounded_size(
    desk: Desk,
) -> None:
    await desk.open(100)
    sizes = []
    for _ in range(40):
        await desk.reserve(10, desk.attempt("journey-1:step:1"), ttl_ms=1_000)
        await desk.pass_time(1_000)
        await desk.write_what_is_due()
        ((_, record),) = (await desk.client.hgetall(desk.key("open"))).items()
        sizes.append(len(record))

    assert max(sizes) == sizes[-1] == sizes[20]
