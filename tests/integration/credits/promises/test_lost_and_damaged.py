"""Laws 7a and 11a: nothing but whole numbers goes in, and nothing lost or damaged is a zero."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.offers import MAX_MC, GrantKind
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.checks import check_whole
from runtime.credits.endings import Release
from runtime.credits.results import AccountDamaged
from tests.harness.ledger.desk import ACCOUNT, Desk

DAY = Cap(CapWindow.DAY)


async def limited(desk: Desk) -> tuple[Any, Any]:
    """An account with a cap, a switch that is off, and an open reservation."""
    await desk.open(1_000)
    await desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=500, reference="cap")
    await desk.ledger.accounts.switch_off(ACCOUNT, action="another", reference="off")
    return await desk.reserve(100)


def whatever_meets_limits(
    desk: Desk, attempt: Any, reserved: Any
) -> list[Callable[[], Awaitable[Any]]]:
    ledger = desk.ledger
    return [
        lambda: ledger.reserve(desk.attempt(), 10, 1_000),
        lambda: ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=7, reference="7"),
        lambda: ledger.accounts.remove_cap(ACCOUNT, DAY, reference="8"),
        lambda: ledger.accounts.switch_on(ACCOUNT, reference="9"),
        lambda: ledger.accounts.caps(ACCOUNT),
        lambda: ledger.accounts.balance(ACCOUNT),
    ]


@pytest.mark.parametrize("lost", ["cap", "use", "off", "all", "one more"])
async def test_law_11a_a_lost_limit_is_no_freedom(desk: Desk, lost: str) -> None:
    attempt, reserved = await limited(desk)
    key = desk.key("limits")
    fields = await desk.client.hkeys(key)
    if lost == "all":
        await desk.client.delete(key)
    elif lost == "one more":
        await desk.client.hset(key, "cap d0\tx", "1\t1\t1\t1")
    else:
        (field,) = [field for field in fields if field.startswith(lost.encode())]
        await desk.client.hdel(key, field)
    before = await desk.state()

    for verb in whatever_meets_limits(desk, attempt, reserved):
        with pytest.raises(AccountDamaged, match=key):
            await verb()

    assert await desk.state() == before


@pytest.mark.parametrize(
    "prefix, value, word",
    [
        ("cap", "garbage", "is not a record"),
        ("cap", "1\t1\t-5\t3", "is not a record"),
        ("cap", "2\tin another way", "newer release"),
        ("use", "1\t5\tmany\t", "is not a record"),
        ("use", "", "is not a record"),
        ("use", "2\tin another way", "newer release"),
    ],
)
async def test_law_11a_a_damaged_limit_is_named_and_nothing_changes(
    desk: Desk, prefix: str, value: str, word: str
) -> None:
    await limited(desk)
    key = desk.key("limits")
    (field,) = [f for f in await desk.client.hkeys(key) if f.startswith(prefix.encode())]
    await desk.client.hset(key, field, value)
    before = await desk.state()

    with pytest.raises(AccountDamaged, match=f"{key} {prefix}.*{word}"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    with pytest.raises(AccountDamaged, match=f"{key} {prefix}.*{word}"):
        await desk.ledger.accounts.caps(ACCOUNT)

    assert await desk.state() == before


async def test_law_11a_a_window_that_holds_less_than_was_noted_in_it_is_named(
    desk: Desk,
) -> None:
    attempt, reserved = await limited(desk)
    key = desk.key("limits")
    (field,) = [field for field in await desk.client.hkeys(key) if field.startswith(b"use")]
    await desk.client.hset(key, field, "1\t0\t99\t")
    before = await desk.state()

    with pytest.raises(AccountDamaged, match="less than was noted"):
        await desk.settle(attempt, reserved, 10)

    assert await desk.state() == before


@pytest.mark.parametrize("value", ["garbage", "", "1.5", "-1"])
async def test_law_11a_a_damaged_name_of_dimensions_is_named(desk: Desk, value: str) -> None:
    await desk.open(1_000)
    await desk.spend(10)
    (name,) = await desk.client.hkeys(desk.key("dims"))
    await desk.client.hset(desk.key("dims"), name, value)
    before = await desk.state()

    with pytest.raises(AccountDamaged, match=desk.key("dims")):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)

    assert await desk.state() == before


@pytest.mark.parametrize("change", ["lost", "more"])
async def test_law_11a_lost_names_of_dimensions_are_not_given_again(
    desk: Desk, change: str
) -> None:
    await desk.open(1_000)
    await desk.spend(10)
    if change == "lost":
        await desk.client.delete(desk.key("dims"))
    else:
        await desk.client.hset(desk.key("dims"), "other", "2")

    with pytest.raises(AccountDamaged, match=desk.key("dims")):
        await desk.ledger.reserve(desk.attempt(workspace_id="new"), 10, 1_000)


@pytest.mark.parametrize("value", ["garbage", "1\tpromotional", "2\tin another way", "1\t\t\t"])
async def test_law_11a_a_damaged_reference_gives_nothing_twice(desk: Desk, value: str) -> None:
    await desk.open()
    await desk.grant(100, reference="payment-1")
    await desk.client.hset(desk.key("refs"), "payment-1", value)

    with pytest.raises(AccountDamaged, match=desk.key("refs")):
        await desk.grant(100, reference="payment-1")

    assert (await desk.balance()).granted_mc == 100


@pytest.mark.parametrize(
    "field, value",
    [("profile", "1\topen\tgrowth\t1\tUTC\tab\t0\t!\t0"), ("books", "1\t1"), ("order", None)],
)
async def test_law_11a_an_account_without_one_of_its_records_is_named(
    desk: Desk, field: str, value: str | None
) -> None:
    await desk.open(1_000)
    if value is None:
        await desk.client.hdel(desk.key("account"), field)
    else:
        await desk.client.hset(desk.key("account"), field, value)

    with pytest.raises(AccountDamaged, match=desk.key("account")):
        await desk.ledger.accounts.balance(ACCOUNT)


async def test_law_11a_a_grant_that_the_order_has_not_is_named(desk: Desk) -> None:
    await desk.open(500, 500)
    await desk.client.hset(desk.key("account"), "order", "g1")

    with pytest.raises(AccountDamaged, match=desk.key("grants")):
        await desk.ledger.accounts.balance(ACCOUNT)
    with pytest.raises(AccountDamaged, match=desk.key("grants")):
        await desk.ledger.reserve(desk.attempt(), 5_000, 1_000)


# Law 7a


NOT_WHOLE = [-1, MAX_MC + 1, 1.0, 0.5, "5", None, True, float("nan")]


@pytest.mark.parametrize("amount", NOT_WHOLE)
async def test_law_7a_nothing_but_a_whole_number_reaches_redis(desk: Desk, amount: Any) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    before = await desk.state()
    settle = desk.settle
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: desk.ledger.reserve(desk.attempt(), amount, 1_000),
        lambda: desk.ledger.reserve(desk.attempt(), 10, amount),
        lambda: settle(attempt, reserved, amount),
        lambda: settle(attempt, reserved, 1, exposure_mc=amount),
        lambda: settle(attempt, reserved, 1, reserved_mc=amount),
        lambda: settle(attempt, reserved, 1, reserved_at_ms=amount),
        lambda: desk.ledger.release(Release(attempt, exposure_mc=amount)),
        lambda: desk.grant(amount),
        lambda: desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=amount, reference="1"),
        lambda: desk.ledger.accounts.set_cap(
            ACCOUNT, DAY, limit_mc=1, used_mc=amount, reference="1"
        ),
    ]

    for call in calls:
        with pytest.raises(ValueError, match=r"found .*allowed"):
            await call()

    assert await desk.state() == before


@given(st.integers())
def test_law_7a_whole_numbers_are_let_in_up_to_the_last_that_lua_holds(number: int) -> None:
    if 0 <= number <= MAX_MC:
        check_whole(number, "amount_mc")
    else:
        with pytest.raises(ValueError, match="amount_mc"):
            check_whole(number, "amount_mc")


async def test_law_7a_the_largest_amounts_are_exact_from_end_to_end(desk: Desk) -> None:
    await desk.open()
    await desk.grant(MAX_MC - 1, kind=GrantKind.PURCHASED)
    await desk.grant(1)
    await desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=MAX_MC, reference="cap")
    attempt, reserved = await desk.reserve(MAX_MC)
    assert (await desk.ledger.accounts.caps(ACCOUNT))[0].reserved_mc == MAX_MC

    settled = await desk.settle(attempt, reserved, MAX_MC - 1, exposure_mc=MAX_MC)

    assert settled.charged_mc == MAX_MC - 1
    balance = await desk.balance()
    assert (balance.available_mc, balance.exposure_mc) == (1, MAX_MC)
    assert (await desk.ledger.accounts.caps(ACCOUNT))[0].charged_mc == MAX_MC - 1
    entry = (await desk.journal())[-1]
    assert sum(posting.amount_mc for posting in entry.postings) == MAX_MC
