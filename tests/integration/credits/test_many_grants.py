"""Accounts with more grants, open or used up, than one command of Redis or one script can take."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from runtime.credits import scripts
from runtime.credits.journal import Part, replay
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Reserved, TooManyGrants
from runtime.redis.script import Script
from tests.harness.ledger import desk as desks
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk
from tests.harness.servers import OLDEST, LedgerServers

MOST_OPEN_GRANTS = 1_000


async def give(desk: Desk, grants: int, expires_in_ms: int | None = None) -> None:
    """So many grants of one millicredit each."""
    for start in range(0, grants, 100):
        size = min(100, grants - start)
        await asyncio.gather(*(desk.grant(1, expires_in_ms=expires_in_ms) for _ in range(size)))


async def replayed(desk: Desk) -> bool:
    """Whether the journal tells of every grant what the balance does."""
    books, balance = replay(await desk.journal()), await desk.balance()
    return all(
        books.grants[grant.grant_id].parts_mc
        == {
            Part.AVAILABLE: grant.available_mc + grant.reserved_mc,
            Part.RESERVED: 0,
            Part.CHARGED: grant.charged_mc,
            Part.EXPIRED: grant.expired_mc,
            Part.VOIDED: grant.voided_mc,
        }
        for grant in balance.grants
    )


@pytest_asyncio.fixture
async def full(desk: Desk) -> AsyncIterator[Desk]:
    """An account with as many open grants as it may have."""
    await desk.open()
    await give(desk, MOST_OPEN_GRANTS)
    yield desk


async def test_law_15_and_11a_a_grant_beyond_the_most_open_ones_is_refused_and_changes_nothing(
    full: Desk,
) -> None:
    before = await full.contents(full.keys.of_account(ACCOUNT))

    with pytest.raises(TooManyGrants, match="has 1000 grants that are not used up") as raised:
        await full.grant(1, reference="one too many")

    assert raised.value.most == MOST_OPEN_GRANTS
    assert await full.contents(full.keys.of_account(ACCOUNT)) == before
    await full.spend(1)
    assert (await full.grant(7, reference="one too many")).new
    assert (await full.balance()).granted_mc == 1_007


async def test_law_2a_a_reservation_over_a_thousand_grants_ends_in_each_of_them(
    full: Desk,
) -> None:
    attempt, reserved = await full.reserve(1_000)
    await full.settle(attempt, reserved, 400)

    balance = await full.balance()
    assert (balance.charged_mc, balance.available_mc) == (400, 600)
    assert [grant.charged_mc for grant in balance.grants] == [1] * 400 + [0] * 600
    assert await replayed(full)


@pytest.mark.long
async def test_law_13a_closing_voids_a_thousand_grants(full: Desk) -> None:
    await full.reserve(300)

    await full.ledger.accounts.close_account(ACCOUNT, reference="close", reason="they left")

    balance = await full.balance()
    assert (balance.voided_mc, balance.reserved_mc) == (700, 300)
    assert await replayed(full)


async def test_law_8a_a_thousand_grants_expire_at_once(desk: Desk) -> None:
    await desk.open()
    await give(desk, MOST_OPEN_GRANTS, expires_in_ms=5_000)
    await desk.reserve(10)
    await desk.pass_time(5_000)

    seen = await desk.balance()
    await desk.write_what_is_due()

    balance = await desk.balance()
    assert (seen.expired_mc, seen.reserved_mc) == (990, 10)
    assert (balance.expired_mc, balance.reserved_mc) == (990, 10)
    assert await replayed(desk)


@pytest.mark.long
async def test_law_11a_void_and_spend_reach_each_of_many_grants(full: Desk) -> None:
    for number in (1, 500, 1_000):
        voided = await full.ledger.accounts.void(
            ACCOUNT, f"g{number}", reference=f"void-{number}", reason="paid back"
        )
        assert voided.amount_mc == 1
    await full.spend(997)

    balance = await full.balance()
    assert (balance.available_mc, balance.charged_mc, balance.voided_mc) == (0, 997, 3)
    assert len(balance.grants) == MOST_OPEN_GRANTS


# Grants that were given by a release without the limit


def without_limit() -> scripts.Scripts:
    """The tests' scripts, but for the limit."""
    assembled = desks.SCRIPTS_WITH_CLOCK
    limit = f"MOST_OPEN_GRANTS = {MOST_OPEN_GRANTS}\n"
    assert limit in assembled.accounts.source
    lifted = assembled.accounts.source.replace(limit, "MOST_OPEN_GRANTS = 1e9\n")
    return scripts.Scripts(assembled.executions, Script.of(lifted), assembled.erasure)


def unlimited(desk: Desk) -> CreditLedger:
    return desks.make_ledger(
        desk.client, desk.prefix, scripts=without_limit(), transport=desk.transport
    )


MANY = (4_000, 10_000)
Made = dict[int, dict[str, bytes]]


@pytest.fixture(scope="module")
def made() -> Made:
    """What an account with so many grants is in Redis: to give them takes a minute."""
    return {}


async def make(made: Made, url: str, prefix: str) -> None:
    """Make the accounts, by the oldest server: each of the others can read what it wrote."""
    async with desks.open_desk(url, prefix) as desk:
        await desk.open()
        limited, desk.ledger = desk.ledger, unlimited(desk)
        given = 0
        for grants in MANY:
            await give(desk, grants - given, expires_in_ms=3_600_000)
            given = grants
            found = await desk.dump()
            made[grants] = {
                name.decode().removeprefix(prefix): value
                for name, value in found.items()
                if value is not None
            }
        desk.ledger = limited


async def restore(desk: Desk, account: dict[str, bytes], grants: int) -> None:
    """Put an account that was made into the desk's server."""
    for name, value in account.items():
        await desk.client.restore(desk.prefix + name, 0, value)
    desk.numbers = itertools.count(grants + 1)


@pytest.mark.beside
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("grants", MANY)
@pytest.mark.parametrize("end", ["settle", "expire", "close"])
async def test_law_15_and_2a_no_number_of_grants_leaves_an_account_half_written(
    open_desk: OpenDesk,
    ledger_servers: LedgerServers,
    key_prefix: str,
    made: Made,
    grants: int,
    end: str,
) -> None:
    if not made:
        await make(made, ledger_servers.url(OLDEST), f"{key_prefix}-made")
    async with open_desk() as desk:
        await restore(desk, made[grants], grants)

        with pytest.raises(TooManyGrants):
            await desk.grant(1)
        attempt, reserved = await desk.reserve(grants, ttl_ms=3_700_000)
        assert isinstance(reserved, Reserved)
        if end == "settle":
            await desk.settle(attempt, reserved, grants)
        elif end == "expire":
            await desk.pass_time(3_700_000)
            await desk.write_what_is_due()
        else:
            await desk.ledger.accounts.close_account(ACCOUNT, reference="c", reason="they left")
            await desk.settle(attempt, reserved, 1)

        balance = await desk.balance()
        ended = (balance.charged_mc, balance.expired_mc, balance.voided_mc)
        assert (
            ended
            == {
                "settle": (grants, 0, 0),
                "expire": (0, grants, 0),
                "close": (1, 0, grants - 1),
            }[end]
        )
        assert len(balance.grants) == grants
        assert await replayed(desk)
