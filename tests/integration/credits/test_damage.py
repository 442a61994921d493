"""Law 5: what can't be trusted is named, and nothing is changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.batch import Call
from runtime.credits.endings import Release
from runtime.credits.results import AccountDamaged, Existing, LedgerUnavailable, Reserved, Settled
from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import ACCOUNT, Desk

PARTS = ("account", "grants", "ended", "open", "due", "refs", "limits", "dims", "journal")


async def lived_in(desk: Desk) -> tuple[Any, Reserved]:
    """An account with something under every key, and an open reservation."""
    await desk.open(100, 1_000)
    await desk.spend(100)
    return await desk.reserve(200, desk.attempt("journey-open:step:1"))


def every_verb(desk: Desk, attempt: Any, reserved: Reserved) -> list[Callable[[], Awaitable[Any]]]:
    return [
        lambda: desk.ledger.reserve(desk.attempt(), 10, 1_000),
        lambda: desk.settle(attempt, reserved, 10),
        lambda: desk.ledger.release(Release(attempt, outcome=b"")),
        lambda: desk.ledger.conclude(desk.attempt(), FallbackReason.INSUFFICIENT_CREDITS),
        lambda: desk.grant(10),
    ]


@pytest.mark.parametrize("part", PARTS)
async def test_law_11a_a_key_of_a_foreign_type_is_named_and_nothing_changes(
    desk: Desk, part: str
) -> None:
    attempt, reserved = await lived_in(desk)
    key = desk.key(part)
    await desk.client.delete(key)
    await desk.client.set(key, "something else")
    before = await desk.state()

    for verb in every_verb(desk, attempt, reserved):
        with pytest.raises(AccountDamaged, match=key):
            await verb()

    assert await desk.state() == before


@pytest.mark.parametrize("part", ["account", "grants", "open", "due", "journal"])
async def test_law_11a_a_missing_key_is_named_and_nothing_is_made_up(desk: Desk, part: str) -> None:
    attempt, reserved = await lived_in(desk)
    key = desk.key(part)
    await desk.client.delete(key)
    before = await desk.state()

    for verb in every_verb(desk, attempt, reserved):
        with pytest.raises(AccountDamaged, match=key):
            await verb()
    if part == "account":
        with pytest.raises(AccountDamaged, match=key):
            await desk.ledger.accounts.balance(ACCOUNT)
        with pytest.raises(AccountDamaged, match=key):
            await desk.open()

    assert await desk.state() == before


async def test_law_11a_without_its_references_no_grant_can_be_given_twice(desk: Desk) -> None:
    await desk.open()
    await desk.grant(100, reference="payment-1")
    await desk.client.delete(desk.key("refs"))

    with pytest.raises(AccountDamaged, match=desk.key("refs")):
        await desk.grant(100, reference="payment-1")

    assert (await desk.balance()).granted_mc == 100


async def test_law_11a_without_its_ended_grants_a_balance_is_not_shown(desk: Desk) -> None:
    await lived_in(desk)
    await desk.client.delete(desk.key("ended"))

    with pytest.raises(AccountDamaged, match=desk.key("ended")):
        await desk.ledger.accounts.balance(ACCOUNT)


@pytest.mark.parametrize(
    "part, field, value",
    [
        ("account", "books", "1\t1\t2"),
        ("account", "books", "garbage"),
        ("account", "profile", ""),
        ("account", "schema", "one"),
        ("grants", "g2", "1\tpromotional\t20\t0\t4000000000000\t1000\t-5\t200\t0\t0\t0\t0\tx"),
        ("grants", "g2", "1\tpromotional\t20\t0\t4000000000000\t1000\t999\t200\t0\t0\t0\t0\tx"),
        ("grants", "g9", "1\tpromotional\t20\t0\t4000000000000\t5\t5\t0\t0\t0\t0\t0\tx"),
        ("grants", "g2", ""),
    ],
)
async def test_law_11a_a_damaged_record_is_named_and_nothing_changes(
    desk: Desk, part: str, field: str, value: str
) -> None:
    attempt, reserved = await lived_in(desk)
    await desk.client.hset(desk.key(part), field, value)
    before = await desk.state()

    for verb in every_verb(desk, attempt, reserved):
        with pytest.raises(AccountDamaged, match=desk.key(part)):
            await verb()

    assert await desk.state() == before


async def test_law_11a_books_that_do_not_add_up_are_refused(desk: Desk) -> None:
    await desk.open(1_000)
    books = (await desk.client.hget(desk.key("account"), "books")).decode().split("\t")
    books[4] = "1001"  # granted
    await desk.client.hset(desk.key("account"), "books", "\t".join(books))

    with pytest.raises(AccountDamaged, match="do not add up"):
        await desk.reserve(10)


@pytest.mark.parametrize(
    "part, field, value, word",
    [
        ("account", "schema", "3", "schema 3"),
        ("account", "books", "2\tin another way", "record version 2"),
        ("grants", "g2", "2\tin another way", "record version 2"),
    ],
)
async def test_law_11a_what_a_newer_release_wrote_is_refused_by_name(
    desk: Desk, part: str, field: str, value: str, word: str
) -> None:
    attempt, reserved = await lived_in(desk)
    await desk.client.hset(desk.key(part), field, value)
    before = await desk.state()

    for verb in every_verb(desk, attempt, reserved):
        with pytest.raises(AccountDamaged, match=f"{word}.*newer release.*key_prefix"):
            await verb()

    assert await desk.state() == before


async def test_fields_that_this_release_does_not_know_are_kept(desk: Desk) -> None:
    await desk.open(1_000)
    await desk.client.hset(desk.key("account"), "caps", "from a newer release")

    await desk.spend(10)

    assert await desk.client.hget(desk.key("account"), "caps") == b"from a newer release"


async def test_law_11a_a_journal_ahead_of_its_account_is_a_fork_and_nothing_is_written(
    desk: Desk,
) -> None:
    attempt, reserved = await lived_in(desk)
    await desk.client.xadd(desk.key("journal"), {"e": "x", "c": "y"}, id="0-99")
    before = await desk.state()

    with pytest.raises(AccountDamaged, match=r"journal 0-\d+: ahead of its account"):
        await desk.settle(attempt, reserved, 10)

    assert await desk.state() == before


# One execution's damage is its own


@pytest.mark.parametrize(
    "value, word",
    [
        ("garbage", "damaged"),
        ("2\tin another way\nx", "newer release"),
        ("1\ts\tonly three", "damaged"),
    ],
)
async def test_law_11a_a_damaged_outcome_fails_its_own_call_alone_in_a_batch(
    desk: Desk, value: str, word: str
) -> None:
    await desk.open(10_000)
    attempts = [desk.attempt() for _ in range(20)]
    bad = attempts[7]
    await desk.client.set(desk.keys.outcome(ACCOUNT, bad.execution_key), value)

    answers = await asyncio.gather(
        *(desk.ledger.reserve(attempt, 10, 1_000) for attempt in attempts), return_exceptions=True
    )

    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [type(failure) for failure in failed] == [AccountDamaged]
    assert desk.keys.outcome(ACCOUNT, bad.execution_key) in str(failed[0])
    assert word in str(failed[0])
    assert (await desk.balance()).reserved_mc == 190


@pytest.mark.parametrize(
    "damage",
    [
        "garbage",
        "1\to\tattempt\t200\t4000000000000\t4000000060000\tg2:150\tffffffffffffffffffff\t\t1\t",
        "1\to\tattempt\t200\t4000000000000\t4000000060000\tg7:200\tffffffffffffffffffff\t\t1\t",
        "1\to\tattempt\t2000\t4000000000000\t4000000060000\tg2:2000\tffffffffffffffffffff\t\t1\t",
    ],
)
async def test_law_11a_a_damaged_reservation_fails_its_own_execution_alone(
    desk: Desk, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    attempt, reserved = await lived_in(desk)
    await desk.client.hset(desk.key("open"), attempt.execution_key, damage)

    with pytest.raises(AccountDamaged, match=attempt.execution_key):
        await desk.settle(attempt, reserved, 10)
    other, other_reserved = await desk.reserve(100)
    assert isinstance(await desk.settle(other, other_reserved, 50), Settled)

    # It does not expire either, and whoever sweeps hears of it.
    await desk.pass_time(100_000)
    await desk.spend(10)
    with caplog.at_level(logging.ERROR, "creditgate.ledger"):
        now_ms = await desk.server_ms()
        due = desk.keys.bucket(bucket_of(ACCOUNT), "due")
        await desk.client.zadd(due, {ACCOUNT: now_ms // 1000})
        await desk.ledger.sweep()
    assert attempt.execution_key in caplog.text
    assert (await desk.balance()).reserved_mc == 200


async def test_law_11a_a_damaged_account_keeps_the_sweep_from_no_other(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.set_clock(await desk.server_ms() - 10_000)
    names = [f"acme-{number}" for number in range(8)]
    for account_id in names:
        await desk.open(100, account_id=account_id)
        await desk.ledger.reserve(desk.attempt(account_id=account_id), 50, 1_000)
    await desk.client.hset(desk.key("account", "acme-3"), "books", "garbage")
    await desk.client.delete(
        *[name for name in desk.keys.of_account("acme-5") if ":acme-5:" in name]
    )
    await desk.pass_time(5_000)

    with caplog.at_level(logging.ERROR, "creditgate.ledger"):
        await desk.ledger.sweep()

    assert "acme-3" in caplog.text
    assert "acme-5" in caplog.text
    for account_id in names:
        if account_id not in ("acme-3", "acme-5"):
            raw = await desk.client.hget(desk.key("account", account_id), "books")
            assert raw.decode().split("\t")[6] == "0", "still reserved"


async def test_law_15_a_damaged_account_is_logged_once_until_a_sweep_finds_it_sound(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.set_clock(await desk.server_ms() - 10_000)
    await desk.open(100)
    attempt, _ = await desk.reserve(50, ttl_ms=1_000)
    open_, key = desk.key("open"), attempt.execution_key
    sound = await desk.client.hget(open_, key)
    await desk.pass_time(5_000)

    async def lines(sweeps: int) -> int:
        caplog.clear()
        for _ in range(sweeps):
            await desk.ledger.sweep()
        return caplog.text.count(f"account {ACCOUNT}: ")

    with caplog.at_level(logging.ERROR, "creditgate.ledger"):
        await desk.client.hset(open_, key, "garbage")
        assert await lines(5) == 1
        await desk.client.hset(open_, key, sound)
        assert await lines(2) == 0
        assert (await desk.balance()).reserved_mc == 0


async def test_law_15_an_account_that_can_not_be_read_is_logged_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.set_clock(await desk.server_ms() - 10_000)
    await desk.open(100)
    await desk.reserve(50, ttl_ms=1_000)
    await desk.client.hset(desk.key("account"), "books", "garbage")
    await desk.pass_time(5_000)

    with caplog.at_level(logging.ERROR, "creditgate.ledger"):
        for _ in range(5):
            await desk.ledger.sweep()

    assert caplog.text.count(f"account {ACCOUNT}: ") == 1


async def test_an_error_in_the_script_itself_is_ledger_unavailable_and_changes_nothing(
    desk: Desk,
) -> None:
    await desk.open(100)
    before = await desk.state()

    with pytest.raises(LedgerUnavailable, match="failed"):
        await desk.script_client.ask(ACCOUNT, Call("no_such_verb", ()))

    assert await desk.state() == before


async def test_a_damaged_outcome_header_never_hides_the_bytes_of_a_sound_one(desk: Desk) -> None:
    await desk.open(10_000)
    attempt, reserved = await desk.reserve(10)
    tricky = b"1\ts\tx\ty\t5\t\t\t\n second header"
    await desk.settle(attempt, reserved, 5, outcome=tricky)

    again = await desk.ledger.reserve(desk.attempt(attempt.execution_id), 10, 1_000)

    assert isinstance(again, Existing)
    assert again.outcome == tricky
