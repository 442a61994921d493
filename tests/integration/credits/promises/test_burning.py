"""Laws 9a and 10a: which grant pays, and where what comes back goes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.credits.endings import Release
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import Kind, Part, Posting
from runtime.credits.results import GrantBalance, Reserved, Settled
from tests.harness.ledger.desk import START_MS, Desk, instant

SHARES_A_DESK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SOON, LATER = START_MS + 10**9, START_MS + 2 * 10**9
# Amount, priority, expiry, and how long after the grant before it this one is made.
terms = st.tuples(
    st.integers(1, 50),
    st.integers(0, 2),
    st.sampled_from([None, SOON, LATER]),
    st.sampled_from([0, 0, 1]),
)
Terms = tuple[int, int, int | None, int]


async def give(desk: Desk, grants: list[Terms]) -> str:
    """Open an account of its own with these grants, in this order."""
    account_id = f"acme-{next(desk.numbers)}"
    await desk.open(account_id=account_id)
    for amount_mc, priority, expires_ms, after_ms in grants:
        await desk.pass_time(after_ms)
        expires_at = None if expires_ms is None else instant(expires_ms)
        await desk.grant(amount_mc, account_id=account_id, priority=priority, expires_at=expires_at)
    return account_id


async def spend(desk: Desk, account_id: str, amount_mc: int) -> tuple[GrantBalance, ...]:
    attempt, reserved = await desk.reserve(amount_mc, desk.attempt(account_id=account_id))
    await desk.settle(attempt, reserved, amount_mc)
    return (await desk.balance(account_id)).grants


@SHARES_A_DESK
@given(grants=st.lists(terms, min_size=2, max_size=7), per_cent=st.integers(0, 100))
async def test_law_10a_the_first_in_the_documented_order_is_used_up_before_the_next_is_touched(
    desk: Desk, grants: list[Terms], per_cent: int
) -> None:
    account_id = await give(desk, grants)
    amount_mc = sum(amount for amount, *_ in grants) * per_cent // 100

    found = await spend(desk, account_id, amount_mc)

    def documented(grant: GrantBalance) -> tuple[int, float, int, int]:
        expires_ms = math.inf if grant.expires_at_ms is None else grant.expires_at_ms
        number = int(grant.grant_id.removeprefix("g"))
        return (grant.priority, expires_ms, grant.created_at_ms, number)

    missing = amount_mc
    for grant in sorted(found, key=documented):
        assert grant.charged_mc == min(missing, grant.amount_mc)
        missing -= grant.charged_mc
    assert missing == 0


@SHARES_A_DESK
@given(grants=st.lists(terms, min_size=2, max_size=6), data=st.data())
async def test_law_10a_the_same_grants_in_any_order_pay_the_same(
    desk: Desk, grants: list[Terms], data: st.DataObject
) -> None:
    in_another_order = data.draw(st.permutations(grants))
    amount_mc = data.draw(st.integers(0, sum(amount for amount, *_ in grants)))

    async def paid(given_so: list[Terms]) -> Counter[tuple[int, int | None]]:
        # Of two grants with the same priority and expiry the older one pays first, and which
        # one that is depends on the order: what they pay together does not.
        by_terms: Counter[tuple[int, int | None]] = Counter()
        for grant in await spend(desk, await give(desk, given_so), amount_mc):
            by_terms[grant.priority, grant.expires_at_ms] += grant.charged_mc
        return by_terms

    assert await paid(grants) == await paid(in_another_order)


# What comes back

End = Callable[[Desk, ExecutionAttempt, Reserved], Awaitable[Any]]


async def release(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> None:
    await desk.ledger.release(Release(attempt))


async def settle_nothing(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> None:
    await desk.settle(attempt, reserved, 0)


async def expire(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> None:
    await desk.set_clock(reserved.reserved_at_ms + reserved.expires_in_ms)
    await desk.write_what_is_due()


async def lose_to_another_attempt(
    desk: Desk, attempt: ExecutionAttempt, reserved: Reserved
) -> None:
    lost = Reserved(0, 0, desk.now_ms, 0)
    await desk.settle(desk.attempt(attempt.execution_id), lost, 0)


ENDS = [release, settle_nothing, expire, lose_to_another_attempt]


@pytest.mark.parametrize("end", ENDS)
async def test_law_9a_what_comes_back_to_an_expired_grant_expires_then_and_is_journaled(
    desk: Desk, end: End
) -> None:
    await desk.open()
    await desk.grant(100, priority=1, expires_in_ms=5_000)
    await desk.grant(100, priority=2)
    attempt, reserved = await desk.reserve(150)
    await desk.pass_time(6_000)

    await end(desk, attempt, reserved)

    expired, other = await desk.parts("g1"), await desk.parts("g2")
    assert (expired.expired_mc, expired.available_mc) == (100, 0)
    assert (other.expired_mc, other.available_mc) == (0, 100)
    (entry,) = [entry for entry in await desk.journal() if entry.slices]
    assert entry.effective_at_ms == desk.now_ms
    assert entry.postings == (
        Posting("g1", Part.RESERVED, Part.EXPIRED, 100),
        Posting("g2", Part.RESERVED, Part.AVAILABLE, 50),
    )


@pytest.mark.parametrize("end", ENDS)
async def test_law_9a_what_comes_back_before_the_expiry_stays_usable_until_then(
    desk: Desk, end: End
) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=70_000)
    attempt, reserved = await desk.reserve(80)

    await end(desk, attempt, reserved)
    assert (await desk.parts()).available_mc == 100

    await desk.set_clock(reserved.reserved_at_ms + 70_000)
    await desk.write_what_is_due()
    assert (await desk.parts()).expired_mc == 100
    (entry,) = [entry for entry in await desk.journal() if entry.kind is Kind.GRANT_EXPIRED]
    assert entry.effective_at_ms == desk.now_ms


@SHARES_A_DESK
@given(
    amounts_mc=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    lifetimes_ms=st.lists(st.sampled_from([1_000, 3_000, 9_000, None]), min_size=5, max_size=5),
    shares=st.tuples(st.integers(1, 100), st.integers(0, 100)),
)
async def test_law_9a_a_settlement_is_paid_was_reserved_and_gives_to_no_other_grant(
    desk: Desk,
    amounts_mc: list[int],
    lifetimes_ms: list[int | None],
    shares: tuple[int, int],
) -> None:
    account_id = f"acme-{next(desk.numbers)}"
    await desk.open(account_id=account_id)
    for amount_mc, lifetime_ms in zip(amounts_mc, lifetimes_ms, strict=False):
        await desk.grant(amount_mc, account_id=account_id, expires_in_ms=lifetime_ms)
    reserve_mc = sum(amounts_mc) * shares[0] // 100
    cost_mc = reserve_mc * shares[1] // 100
    attempt, reserved = await desk.reserve(reserve_mc, desk.attempt(account_id=account_id))
    held = {grant.grant_id: grant.reserved_mc for grant in (await desk.balance(account_id)).grants}
    await desk.pass_time(3_000)

    settled = await desk.settle(attempt, reserved, cost_mc)

    assert (settled.charged_mc, settled.overage_mc) == (cost_mc, 0)
    for grant in (await desk.balance(account_id)).grants:
        back_mc = held[grant.grant_id] - grant.charged_mc
        assert back_mc >= 0, "it paid more than was reserved of it"
        is_over = grant.expires_at_ms is not None and grant.expires_at_ms <= desk.now_ms
        left_mc = grant.amount_mc - grant.charged_mc
        assert (grant.available_mc, grant.expired_mc) == ((0, left_mc) if is_over else (left_mc, 0))


async def test_law_9a_a_bill_above_the_quote_takes_nothing_more_of_the_expired_grant(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.grant(100, priority=1, expires_in_ms=5_000)
    await desk.grant(30, priority=2)
    attempt, reserved = await desk.reserve(60)
    await desk.pass_time(5_000)

    settled = await desk.settle(attempt, reserved, 95)

    assert settled == Settled(90, 5, 0, ("quote_exceeded",))
    expired, other = await desk.parts("g1"), await desk.parts("g2")
    assert (expired.charged_mc, expired.expired_mc, other.charged_mc) == (60, 40, 30)
