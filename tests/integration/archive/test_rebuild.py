"""Laws 1a, 2c and 3c: an account that Redis lost is made again from the archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.archive.audit import Auditor
from runtime.archive.rebuild import Rebuilder, Rebuilt
from runtime.credits.caps import Cap
from runtime.credits.ledger import CreditLedger
from runtime.credits.rebuilding import RebuildRefused
from runtime.credits.results import Balance, Existing, ReferenceConflict, Refused, Settled
from runtime.store.database import Database
from tests.harness.archiving import KINDS, archive, url_of
from tests.harness.ledger.desk import ACCOUNT, Desk

DAY_MS = 24 * 3_600_000


@pytest.fixture(params=KINDS)
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """The URL of an empty database; PostgreSQL's turn is in the long tests."""
    return url_of(request, tmp_path)


def fresh(desk: Desk) -> CreditLedger:
    """Another process's ledger, which was told nothing yet."""
    return desk.another_ledger(clock_ms=lambda: desk.now_ms)


async def lose(desk: Desk) -> None:
    await desk.client.delete(*await desk.names())


async def rebuild(desk: Desk, database: Database, **changes: Any) -> Rebuilt:
    rebuilder = Rebuilder(fresh(desk), database, lambda: desk.now_ms)
    return await rebuilder.rebuild(ACCOUNT, reason="Redis was lost", actor="ann", **changes)


async def is_audited(desk: Desk, database: Database) -> bool:
    found = await Auditor(fresh(desk).inspection, database).audit([ACCOUNT])
    assert found.balances, found
    return True


def comparable(balance: Balance) -> dict[str, Any]:
    """What a rebuild gives back to the millicredit."""
    fields = {name: getattr(balance, name) for name in Balance.__slots__}
    for changed in ("at_ms", "journal_seq"):
        del fields[changed]
    return fields


async def test_law_2c_an_account_that_was_lost_comes_back_to_the_millicredit(
    desk: Desk, database: Database
) -> None:
    await desk.open(500)
    await desk.grant(300, expires_in_ms=10 * DAY_MS, priority=3, kind=GrantKind.PLAN)
    await desk.grant(200)
    await desk.grant(40, expires_in_ms=100)
    await desk.spend(120)
    await desk.pass_time(200)
    await desk.spend(310)
    await desk.ledger.accounts.void(ACCOUNT, "g3", reference="void", reason="a mistake")
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="off", workspace_id="bank")
    await desk.ledger.accounts.switch_off(ACCOUNT, reference="off 2", action="route two")
    await desk.ledger.accounts.switch_on(ACCOUNT, reference="on", action="route two")
    attempt, reserved = await desk.reserve(100)
    await desk.settle(attempt, reserved, 9_000)
    await desk.grant(70)
    before, archived = await desk.balance(), await archive(desk, database)
    await lose(desk)

    would = await rebuild(desk, database, dry_run=True)
    assert await desk.names() == [], "a dry run writes nothing"
    done = await rebuild(desk, database)

    assert (done.archived_seq, done.seq, done.left_mc) == (archived, archived + 1, 70)
    assert (would.archived_seq, would.grants, would.references) == (archived, 5, done.references)
    ledger = fresh(desk)
    assert comparable(await ledger.accounts.balance(ACCOUNT)) == comparable(before)
    assert await is_audited(desk, database)
    # The process that knew the account before goes on: its new epoch is accepted.
    await desk.spend(20)
    await archive(desk, database)
    assert await is_audited(desk, database)


async def test_law_3c_an_id_that_was_charged_is_not_charged_again_and_its_values_are_lost(
    desk: Desk, database: Database
) -> None:
    await desk.open(100)
    attempt, reserved = await desk.reserve(30, desk.attempt("paid:1:1"))
    await desk.settle(attempt, reserved, 20)
    await desk.pass_time(1_000)
    refused = desk.attempt("refused:1:1")
    answer = await desk.ledger.reserve(refused, 5_000, 1_000, final=True, outcome=b"fallback")
    assert isinstance(answer, Refused)
    open_attempt, open_reserved = await desk.reserve(40, desk.attempt("open:1:1"))
    await archive(desk, database)
    await lose(desk)
    assert (await rebuild(desk, database)).outcomes == 2

    ledger = fresh(desk)
    again = await ledger.reserve(desk.attempt("paid:1:1", person_id="anybody"), 30, 1_000)
    assert again == Existing("settled", 20, 0, None, b"")
    again = await ledger.reserve(desk.attempt("refused:1:1"), 30, 1_000)
    assert again == Existing("refused", 0, 0, FallbackReason.EXECUTION_TOO_LARGE, b"")
    # Its settlement was spooled as Redis went: it was booked, and is neither booked again nor
    # counted as the call of a loser.
    settled_again = await desk.settle(attempt, reserved, 20)
    assert settled_again == Existing("settled", 20, 0, None, b"")
    assert isinstance(await desk.settle(open_attempt, open_reserved, 10), Settled)
    balance = await desk.balance()
    assert (balance.charged_mc, balance.exposure_mc, balance.available_mc) == (30, 0, 70)
    ttl_ms = await desk.client.pttl(desk.outcome_key("paid:1:1"))
    assert ttl_ms > 0


async def test_law_3d_a_payment_that_was_booked_before_the_loss_is_not_booked_again(
    desk: Desk, database: Database
) -> None:
    accounts = desk.ledger.accounts
    await desk.open()
    await accounts.purchase(ACCOUNT, credits=100_000, payment_reference="invoice 1")
    await accounts.void(ACCOUNT, "g1", reference="void 1", reason="chargeback")
    await accounts.change_plan(ACCOUNT, plan="trial", reference="plan 1")
    await accounts.change_plan(ACCOUNT, plan="growth", reference="plan 2")
    await accounts.change_timezone(ACCOUNT, timezone="Europe/Paris", reference="zone 1")
    cap = Cap("day", workspace_id="re;tail=x")
    await accounts.set_cap(ACCOUNT, cap, limit_mc=50, reference="cap 1")
    await accounts.set_cap(ACCOUNT, cap, limit_mc=60, reference="cap 2")
    await accounts.set_cap(ACCOUNT, Cap("total"), limit_mc=60, reference="cap 3")
    await accounts.remove_cap(ACCOUNT, Cap("total"), reference="cap 4")
    await accounts.switch_off(ACCOUNT, reference="switch 1")
    await desk.ledger.repairs.accept_loss(ACCOUNT, reason="a failover", actor="ann")
    begun = await desk.ledger.erasure.begin(ACCOUNT, "ada", "request 1")
    await desk.ledger.erasure.finish(begun, reason="a request", actor="ann")
    await archive(desk, database)
    refs = await desk.client.hgetall(desk.key("refs"))
    dims = await desk.client.hgetall(desk.key("dims"))
    await lose(desk)
    await rebuild(desk, database)

    accounts = fresh(desk).accounts
    rebuilt = await desk.client.hgetall(desk.key("refs"))
    assert {name: rebuilt[name] for name in refs} == refs, "byte for byte"
    assert len(rebuilt) == len(refs) + 1, "and the new epoch"
    assert await desk.client.hgetall(desk.key("dims")) == dims
    again = await accounts.purchase(ACCOUNT, credits=100_000, payment_reference="invoice 1")
    assert not again.new
    with pytest.raises(ReferenceConflict):
        await accounts.purchase(ACCOUNT, credits=200_000, payment_reference="invoice 1")
    assert not await accounts.set_cap(ACCOUNT, cap, limit_mc=60, reference="cap 2")
    [status] = await accounts.caps(ACCOUNT)
    assert (status.cap, status.limit_mc) == (cap, 60)
    assert (await accounts.balance(ACCOUNT)).switched_off == ("account",)
    assert (await accounts.balance(ACCOUNT)).timezone == "Europe/Paris"


async def test_law_1b_caps_come_back_with_what_their_windows_have_used(
    desk: Desk, database: Database
) -> None:
    accounts = desk.ledger.accounts
    await desk.open(10_000)
    day, month, total = Cap("day"), Cap("month", source="live"), Cap("total", workspace_id="retail")
    await desk.spend(1)
    for number, cap in enumerate((day, month, total)):
        await accounts.set_cap(ACCOUNT, cap, limit_mc=1_000, used_mc=5, reference=f"cap {number}")
    other = Cap("total", workspace_id="bank")
    await accounts.set_cap(ACCOUNT, other, limit_mc=9, reference="other")
    await desk.spend(100)
    free, reserved = await desk.reserve(0)
    await desk.settle(free, reserved, 0, free_mc=7)
    late, late_reserved = await desk.reserve(50, ttl_ms=DAY_MS * 5)
    await desk.pass_time(DAY_MS)
    await desk.spend(30)
    await desk.settle(late, late_reserved, 50)
    expected = {one.cap: one.charged_mc for one in await accounts.caps(ACCOUNT)}
    await archive(desk, database)
    await lose(desk)
    await rebuild(desk, database)

    found = {one.cap: one.charged_mc for one in await fresh(desk).accounts.caps(ACCOUNT)}
    assert found == expected
    assert expected == {day: 30, month: 192, total: 192, other: 0}


async def test_law_9a_what_open_reservations_held_of_a_voided_grant_is_voided(
    desk: Desk, database: Database
) -> None:
    await desk.open(100, 50)
    await desk.reserve(60)
    await desk.ledger.accounts.void(ACCOUNT, "g1", reference="void", reason="a mistake")
    await archive(desk, database)
    await lose(desk)
    await rebuild(desk, database)
    balance = await fresh(desk).accounts.balance(ACCOUNT)
    assert (balance.voided_mc, balance.available_mc, balance.reserved_mc) == (100, 50, 0)
    assert await is_audited(desk, database)


async def test_law_8a_a_grant_that_expired_since_is_expired(desk: Desk, database: Database) -> None:
    await desk.open()
    await desk.grant(100, expires_in_ms=1_000)
    await archive(desk, database)
    await lose(desk)
    await desk.pass_time(2_000)
    await rebuild(desk, database)
    balance = await fresh(desk).accounts.balance(ACCOUNT)
    assert (balance.expired_mc, balance.available_mc) == (100, 0)
    assert await is_audited(desk, database)


async def test_a_closed_account_comes_back_closed(desk: Desk, database: Database) -> None:
    await desk.open(100)
    await desk.reserve(30)
    await desk.ledger.accounts.close_account(ACCOUNT, reference="close", reason="left")
    await archive(desk, database)
    await lose(desk)
    await rebuild(desk, database)
    balance = await fresh(desk).accounts.balance(ACCOUNT)
    assert (balance.state, balance.voided_mc, balance.available_mc) == ("closed", 100, 0)
    assert await is_audited(desk, database)


async def test_law_1a_an_account_that_is_there_is_not_touched(
    desk: Desk, database: Database
) -> None:
    await desk.open(100)
    await archive(desk, database)
    whole, names = await desk.dump(), [name.decode() for name in await desk.names()]
    contents = await desk.contents(names)
    with pytest.raises(RebuildRefused, match="sound"):
        await rebuild(desk, database)
    with pytest.raises(RebuildRefused, match="sound"):
        await rebuild(desk, database, dry_run=True)
    await desk.grant(1)
    await archive(desk, database)
    await lose(desk)
    for name, value in whole.items():
        await desk.client.restore(name, 0, value)
    with pytest.raises(RebuildRefused, match="repair fork"):
        await rebuild(desk, database)
    assert await desk.contents(names) == contents


@pytest.mark.parametrize("lost", ["account", "books", "refs"])
async def test_law_1a_a_damaged_account_that_is_ahead_of_the_archive_is_not_touched(
    desk: Desk, database: Database, lost: str
) -> None:
    await desk.open(100)
    await archive(desk, database)
    await desk.grant(7)
    if lost == "books":
        await desk.client.hdel(desk.key("account"), "books")
    else:
        await desk.client.delete(desk.key("account"))
    if lost == "refs":
        await desk.client.delete(desk.key("refs"))
    before = await desk.state()
    with pytest.raises(RebuildRefused, match="creditgate archive first"):
        await rebuild(desk, database)
    assert await desk.state() == before
    await archive(desk, database)
    await rebuild(desk, database)
    assert (await fresh(desk).accounts.balance(ACCOUNT)).available_mc == 107


async def test_an_account_that_the_archive_does_not_know_is_refused(
    desk: Desk, database: Database
) -> None:
    with pytest.raises(RebuildRefused, match="not in the archive"):
        await rebuild(desk, database)


async def test_law_15_a_large_account_is_made_in_many_scripts(
    desk: Desk, database: Database
) -> None:
    await desk.open()
    for number in range(300):
        await desk.grant(10, reference=f"r{number}")
        if number % 2:
            await desk.spend(10)
    before = await desk.balance()
    await archive(desk, database)
    await lose(desk)
    await rebuild(desk, database)
    assert comparable(await fresh(desk).accounts.balance(ACCOUNT)) == comparable(before)
    assert await is_audited(desk, database)
