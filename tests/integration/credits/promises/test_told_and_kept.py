"""Laws 1b, 2c, 3c, 5a and 12a: what is told, what is told again, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind, Offer
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Release
from runtime.credits.journal import Kind, verify
from runtime.credits.results import Existing, Refused, Settled
from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

DAY = Cap(CapWindow.DAY)
DAY_MS = 86_400_000


async def test_law_3c_who_asks_again_hears_what_was_charged_and_what_was_not(
    desk: Desk,
) -> None:
    await desk.open(50)
    attempt, reserved = await desk.reserve(40)
    first = await desk.settle(attempt, reserved, 90, outcome=b"answer")

    settled_again = await desk.settle(attempt, reserved, 90, outcome=b"answer")
    reserved_again = await desk.ledger.reserve(desk.attempt(attempt.execution_id), 40, 1_000)

    assert first == settled_again == Settled(50, 40, 0, ("quote_exceeded",))
    assert reserved_again == Existing("settled", 50, 40, None, b"answer")


async def test_law_1b_the_last_reservation_of_a_window_that_is_over_takes_it_away(
    desk: Desk,
) -> None:
    await desk.open(1_000)
    await desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=500, reference="cap")
    held = [await desk.reserve(10, ttl_ms=2 * DAY_MS) for _ in range(2)]
    await desk.pass_time(DAY_MS)
    await desk.spend(10)

    async def windows() -> int:
        fields = await desk.client.hkeys(desk.key("limits"))
        return sum(field.startswith(b"use ") for field in fields)

    await desk.settle(*held[0], 10)
    assert await windows() == 2
    await desk.settle(*held[1], 10)
    assert await windows() == 1


async def test_law_12a_a_closed_account_is_told_so_first_and_a_cap_comes_last(
    desk: Desk,
) -> None:
    async def reason() -> FallbackReason:
        answer = await desk.ledger.reserve(desk.attempt(), 200, 1_000)
        assert isinstance(answer, Refused)
        return answer.reason

    await desk.open(100)
    await desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=0, reference="cap")
    assert await reason() is FallbackReason.CAP_REACHED
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="off")
    assert await reason() is FallbackReason.SWITCHED_OFF
    await desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="down")
    assert await reason() is FallbackReason.PLAN_NOT_ELIGIBLE
    await desk.ledger.accounts.close_account(ACCOUNT, reference="bye", reason="they left")
    assert await reason() is FallbackReason.ACCOUNT_CLOSED


async def test_law_12a_what_would_just_fit_under_a_cap_may_wait_for_it(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.ledger.accounts.set_cap(ACCOUNT, DAY, limit_mc=100, reference="cap")
    await desk.spend(30)
    await desk.reserve(50)

    answers = [await desk.ledger.reserve(desk.attempt(), mc, 1_000) for mc in (70, 71)]

    assert [answer.may_clear for answer in answers if isinstance(answer, Refused)] == [True, False]


async def test_law_5a_switching_on_what_is_on_changes_nothing_for_whoever_asks(
    desk: Desk,
) -> None:
    await desk.open(100)
    await desk.ledger.accounts.switch_on(ACCOUNT, action="route", reference="on-1")
    await desk.ledger.accounts.switch_on(ACCOUNT, action="route", reference="on-2")
    await desk.reserve(10)

    await desk.ledger.accounts.switch_off(ACCOUNT, action="route", reference="off")

    assert isinstance(await desk.ledger.reserve(desk.attempt(), 10, 1_000), Refused)


async def test_law_5a_an_offer_that_was_had_keeps_no_other_back(open_desk: OpenDesk) -> None:
    def offers(welcome_mc: int) -> list[Offer]:
        amounts = {"welcome": welcome_mc, "summer": 70}
        return [Offer(name, GrantKind.PROMOTIONAL, amount) for name, amount in amounts.items()]

    since = date(2096, 5, 1)
    async with open_desk(offers=offers(500)[:1]) as desk:
        await desk.ledger.accounts.open_account(ACCOUNT, plan="growth", paying_since=since)
        later = desk.another_ledger(offers=offers(900))

        await later.accounts.open_account(ACCOUNT, plan="growth", paying_since=since)
        await later.drain()

        given = {grant.reference: grant.amount_mc for grant in (await desk.balance()).grants}
        assert given == {"offer:welcome": 500, "offer:summer": 70}


async def test_law_2c_whatever_is_journaled_is_news_of_its_account(desk: Desk) -> None:
    news = desk.keys.bucket(bucket_of(ACCOUNT), "news")
    await desk.open()
    assert await desk.client.srem(news, ACCOUNT) == 1
    await desk.grant(1_000)
    await desk.grant(100, expires_in_ms=5_000)
    await desk.reserve(1)  # names its dimensions, once
    held = [await desk.reserve(10) for _ in range(2)]
    await desk.reserve(10, ttl_ms=1_000)
    steps: dict[str, Callable[[], Awaitable[Any]]] = {
        "grant": lambda: desk.grant(10),
        "settle": lambda: desk.settle(*held[0], 5),
        "release": lambda: desk.ledger.release(Release(held[1][0])),
        "void": lambda: desk.ledger.accounts.void(ACCOUNT, "g3", reference="v", reason="r"),
        "plan": lambda: desk.ledger.accounts.change_plan(ACCOUNT, plan="growth", reference="p"),
        "deadline": desk.write_what_is_due,
        "expiry": desk.write_what_is_due,
        "close": lambda: desk.ledger.accounts.close_account(ACCOUNT, reference="c", reason="r"),
    }

    for name, step in steps.items():
        await desk.client.srem(news, ACCOUNT)
        if name in ("deadline", "expiry"):
            await desk.pass_time(4_000)
        seq = (await desk.balance()).journal_seq
        await step()
        assert (await desk.balance()).journal_seq == seq + 1, name
        assert await desk.client.smembers(news) == {ACCOUNT.encode()}, name

    verify(await desk.journal())
    await desk.client.srem(news, ACCOUNT)
    await desk.balance()
    await desk.ledger.reserve(desk.attempt(), 1, 1_000)
    assert await desk.client.exists(news) == 0, "nothing was journaled"


async def test_law_2c_dimensions_that_many_bring_at_once_are_named_once(desk: Desk) -> None:
    await desk.open(1_000)
    campaigns = ["first", *("new", "newer") * 20]

    await asyncio.gather(*(desk.reserve(1, desk.attempt(campaign_id=name)) for name in campaigns))
    await desk.reserve(1, desk.attempt(campaign_id="newest"))

    named = [entry.dimensions for entry in await desk.journal() if entry.kind is Kind.NAMED]
    assert [found.campaign for found in named if found] == ["first", "new", "newer", "newest"]
