"""Law 11a: what is missing, damaged, foreign or newer is named, and never taken for a zero."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.endings import Release
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.results import AccountDamaged, Existing, Refused, Reserved
from runtime.redis.keys import bucket_of
from tests.harness.ledger.desk import ACCOUNT, Desk
from tests.harness.ledger.verbs import ASKS, CAP, CHANGES, LOOKS, lived_in

PARTS = ("account", "grants", "ended", "open", "due", "refs", "limits", "dims", "journal")
DAY = 4_000_000_000_000 // 86_400_000

Verb = Callable[[], Awaitable[Any]]


def all_verbs(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> dict[str, Verb]:
    """Every verb, bound to the account of lived_in()."""
    return {
        **{name: partial(ask, desk, attempt, reserved) for name, ask in ASKS.items()},
        **{name: partial(change, desk, f"new {name}") for name, change in CHANGES.items()},
        **{name: partial(look, desk) for name, look in LOOKS.items()},
    }


async def all_refuse(verbs: dict[str, Verb], desk: Desk, naming: str) -> None:
    """Each of them names it, and changes nothing."""
    before = await desk.state()
    for name, verb in verbs.items():
        with pytest.raises(AccountDamaged) as refused:
            await verb()
        assert naming in str(refused.value), name
        assert await desk.state() == before, name


LOOKING = set(LOOKS)
# Which verbs can't do without a key, beside those that every verb needs.
NEEDS: dict[str, set[str]] = {
    "account": {*ASKS, *CHANGES, *LOOKS},
    "grants": {*ASKS, *CHANGES, *LOOKS},
    "open": {*ASKS, *CHANGES, *LOOKS},
    "due": {*ASKS, *CHANGES, *LOOKS},
    "journal": {*ASKS, *CHANGES},
    "refs": set(CHANGES),
    "limits": {
        "reserve",
        "settle",
        "release",
        "set_cap",
        "remove_cap",
        "switch_off",
        "switch_off a campaign",
        "switch_on",
        "balance",
        "caps",
    },
    "dims": {"conclude"},
    "ended": {"balance"},
}


@pytest.mark.parametrize("part", PARTS)
async def test_law_11a_a_missing_key_is_named_by_every_verb_that_needs_it(
    desk: Desk, part: str
) -> None:
    attempt, reserved = await lived_in(desk)
    await desk.client.delete(desk.key(part))

    verbs = all_verbs(desk, attempt, reserved)
    needing = {name: verb for name, verb in verbs.items() if name in NEEDS[part]}

    await all_refuse(needing, desk, naming=desk.key(part))


@pytest.mark.parametrize("foreign", ["string", "stream"])
@pytest.mark.parametrize("part", PARTS)
async def test_law_11a_a_key_of_a_foreign_type_is_named_by_every_verb_that_writes(
    desk: Desk, part: str, foreign: str
) -> None:
    attempt, reserved = await lived_in(desk)
    await desk.client.delete(desk.key(part))
    if foreign == "string":
        await desk.client.set(desk.key(part), "something else")
    elif part == "journal":
        await desk.client.hset(desk.key(part), "something", "else")
    else:
        await desk.client.xadd(desk.key(part), {"something": "else"})
    verbs = all_verbs(desk, attempt, reserved)

    writing = {name: verb for name, verb in verbs.items() if name not in LOOKS}
    await all_refuse(writing, desk, naming=desk.key(part))
    looking = {name: verb for name, verb in verbs.items() if name in NEEDS[part] & LOOKING}
    await all_refuse(looking, desk, naming=desk.key(part))


@pytest.mark.parametrize("part", ["due", "news"])
async def test_law_11a_a_key_of_the_bucket_of_a_foreign_type_is_named(
    desk: Desk, part: str
) -> None:
    attempt, reserved = await lived_in(desk)
    key = desk.keys.bucket(bucket_of(ACCOUNT), part)
    await desk.client.set(key, "something else")
    verbs = all_verbs(desk, attempt, reserved)

    writing = {name: verb for name, verb in verbs.items() if name not in LOOKS}
    await all_refuse(writing, desk, naming=key)


async def test_law_11a_the_buckets_accounts_and_alerts_are_named_when_they_are_to_be_written(
    desk: Desk,
) -> None:
    attempt, reserved = await lived_in(desk)
    alerts = desk.keys.bucket(bucket_of(ACCOUNT), "alerts")
    accounts = desk.keys.bucket(bucket_of("other"), "accounts")
    for key in (alerts, accounts):
        await desk.client.delete(key)
        await desk.client.set(key, "something else")
    before = await desk.state()

    with pytest.raises(AccountDamaged, match=alerts):
        await desk.settle(attempt, reserved, 1_000)  # crosses every mark
    with pytest.raises(AccountDamaged, match=accounts):
        await desk.open(account_id="other")
    assert await desk.state() == before


# Records

RECORDS: list[tuple[str, str, str, set[str]]] = [
    # key, field, what it is made (or "" where it is lost), which verbs meet it
    ("limits", CAP.field, "", {"reserve", "set_cap", "switch_off", "balance", "caps"}),
    ("limits", CAP.field, "garbage", {"reserve", "set_cap", "caps"}),
    ("limits", CAP.field, f"1\t1\t9007199254740992\t{DAY}", {"reserve", "set_cap", "caps"}),
    ("limits", CAP.field, f"1\t1\t-5\t{DAY}", {"reserve", "set_cap", "caps"}),
    ("limits", f"use d1:{DAY}", "", {"reserve", "settle", "release", "caps"}),
    ("limits", f"use d1:{DAY}", "garbage", {"reserve", "settle", "release", "caps"}),
    ("limits", f"use d1:{DAY}", "1\t0\t199\t", {"settle", "release"}),
    ("limits", f"use d1:{DAY}", "1\t99999999999999999999\t200\t", {"reserve", "settle", "caps"}),
    ("limits", "off workspace\tclosed shop", "", {"reserve", "switch_on", "set_cap", "balance"}),
    ("refs", "grant-1", "", set(CHANGES)),
    ("ended", "g1", "", {"balance"}),
    ("ended", "g1", "garbage", {"balance"}),
    ("grants", "g2", "", {*ASKS, *CHANGES, *LOOKS}),
    ("open", "{attempt}", "", {*ASKS, *CHANGES, *LOOKS}),
    ("open", "{attempt}", "garbage", {"settle", "release"}),
    ("dims", "{dims}", "garbage", {"conclude"}),
    ("dims", "{dims}", "-1", {"conclude"}),
    ("dims", "{dims}", "", {"conclude"}),
    ("account", "profile", "", {*ASKS, *CHANGES, *LOOKS}),
    ("account", "profile", "1\tghost", {*ASKS, *CHANGES, *LOOKS}),
    ("account", "books", "", {*ASKS, *CHANGES, *LOOKS}),
    ("account", "order", "", {*ASKS, *CHANGES, *LOOKS}),
    ("account", "schema", "", {*ASKS, *CHANGES, *LOOKS}),
    ("account", "schema", "one", {*ASKS, *CHANGES, *LOOKS}),
]


@pytest.mark.parametrize("part, field, value, meeting", RECORDS)
async def test_law_11a_a_lost_or_damaged_record_is_named_and_never_taken_for_nothing(
    desk: Desk, part: str, field: str, value: str, meeting: set[str]
) -> None:
    attempt, reserved = await lived_in(desk)
    (dims,) = [name.decode() for name in await desk.client.hkeys(desk.key("dims"))]
    field = {"{attempt}": attempt.execution_key, "{dims}": dims}.get(field, field)
    assert await desk.client.hexists(desk.key(part), field)
    if value:
        await desk.client.hset(desk.key(part), field, value)
    else:
        await desk.client.hdel(desk.key(part), field)

    verbs = all_verbs(desk, attempt, reserved)
    meets = {name: verb for name, verb in verbs.items() if name in meeting}
    assert set(meets) == meeting
    await all_refuse(meets, desk, naming=desk.key(part))


@pytest.mark.parametrize(
    "header",
    [
        "garbage",
        "1\ts\tattempt\t{print}\t-5\t\t\t",
        "1\ts\tattempt\t{print}\t9007199254740992\t\t\t",
        "1\ts\tattempt\t{print}\t5\t99999999999999999999\t\t",
        "1\tx\tattempt\t{print}\t0\t\t\t",
    ],
)
async def test_law_11a_a_damaged_outcome_is_named_by_every_verb_that_meets_it(
    desk: Desk, header: str
) -> None:
    await lived_in(desk)
    attempt = desk.attempt("journey-8:step:1")
    key = desk.keys.outcome(ACCOUNT, attempt.execution_key)
    await desk.client.set(key, header.format(print=attempt.fingerprint) + "\nthe bytes")
    lost = Reserved(10, 0, desk.now_ms, 0)
    before = await desk.state()

    for verb in (
        lambda: desk.ledger.reserve(attempt, 10, 1_000),
        lambda: desk.ledger.conclude(attempt, FallbackReason.INSUFFICIENT_CREDITS),
        lambda: desk.ledger.release(Release(attempt, outcome=b"")),
    ):
        with pytest.raises(AccountDamaged, match=attempt.execution_key):
            await verb()
    assert await desk.state() == before
    with pytest.raises(AccountDamaged, match=attempt.execution_key):
        await desk.settle(attempt, lost, 5)
    assert (await desk.balance()).charged_mc == 100


async def test_law_15_an_outcome_with_a_reason_of_a_newer_release_counts_as_lost(
    desk: Desk,
) -> None:
    await lived_in(desk)
    attempt = desk.attempt("journey-8:step:1")
    key = desk.keys.outcome(ACCOUNT, attempt.execution_key)
    header = f"1\tn\tattempt\t{attempt.fingerprint}\t7\t\tno_such_reason\t"
    await desk.client.set(key, header + "\nthe bytes")

    for verb in (
        lambda: desk.ledger.reserve(attempt, 10, 1_000),
        lambda: desk.ledger.look_up(attempt),
    ):
        known = await verb()
        assert isinstance(known, Existing)
        assert (known.reason, known.charged_mc) == (FallbackReason.OUTCOME_LOST, 7)


# Newer records

NEWER = "2\tin another way"


@pytest.mark.parametrize(
    "part, field, meeting",
    [
        ("account", "schema", {*ASKS, *CHANGES, *LOOKS}),
        ("account", "profile", {*ASKS, *CHANGES, *LOOKS}),
        ("account", "books", {*ASKS, *CHANGES, *LOOKS}),
        ("grants", "g2", {"reserve", "settle", "release", "grant", "void", "balance"}),
        ("ended", "g1", {"balance"}),
        ("open", "{attempt}", {"settle", "release"}),
        ("limits", CAP.field, {"reserve", "set_cap", "caps"}),
        ("limits", f"use d1:{DAY}", {"reserve", "settle", "release", "caps"}),
    ],
)
async def test_law_11a_what_a_newer_release_wrote_is_refused_by_name(
    desk: Desk, part: str, field: str, meeting: set[str]
) -> None:
    attempt, reserved = await lived_in(desk)
    named = attempt.execution_key if field == "{attempt}" else field
    await desk.client.hset(desk.key(part), named, "3" if field == "schema" else NEWER)
    verbs = all_verbs(desk, attempt, reserved)
    before = await desk.state()

    for name in meeting:
        with pytest.raises(
            AccountDamaged, match=r"newer release, this one reads up to [12]: run the newer"
        ) as refused:
            await verbs[name]()
        assert desk.key(part) in str(refused.value)
        assert named in str(refused.value)

    assert await desk.state() == before


async def test_law_11a_a_reference_of_a_newer_release_is_refused_by_name(desk: Desk) -> None:
    await lived_in(desk)
    await desk.client.hset(desk.key("refs"), "a cap", NEWER)

    with pytest.raises(
        AccountDamaged,
        match=r"refs a cap.*newer release, this one reads up to 1: run",
    ):
        await desk.ledger.accounts.set_cap(ACCOUNT, CAP, limit_mc=900, reference="a cap")


# What is refused changes nothing but what time had already changed


async def test_law_11a_a_refused_operation_writes_what_was_due_and_nothing_else(
    desk: Desk,
) -> None:
    # Given two accounts alike, with a grant and a reservation that are over
    for account_id in (ACCOUNT, "alike"):
        await desk.open(100, account_id=account_id)
        await desk.grant(50, account_id=account_id, expires_in_ms=1_000, reference="short")
        attempt = desk.attempt(f"{account_id}:1", account_id=account_id)
        await desk.reserve(120, attempt, ttl_ms=1_000)
    await desk.pass_time(1_000)

    # When one is asked for too much, and the other only swept
    refused = await desk.ledger.reserve(desk.attempt(), 101, 60_000)
    await desk.write_what_is_due("alike")

    # Then they are still alike
    assert isinstance(refused, Refused)
    one, other = await desk.balance(), await desk.balance("alike")
    assert [(g.available_mc, g.expired_mc) for g in one.grants] == [(0, 50), (100, 0)]
    assert one.grants[0].expired_mc == other.grants[0].expired_mc
    assert one.journal_seq == other.journal_seq
    assert [e.kind for e in await desk.journal()] == [e.kind for e in await desk.journal("alike")]
    before = await desk.state()
    assert await desk.ledger.reserve(desk.attempt(), 101, 60_000) == refused
    assert await desk.state() == before


@pytest.mark.parametrize("how", ["voided", "closed", "reserved"])
async def test_law_11a_where_an_expiry_ends_nothing_a_refused_operation_writes_nothing(
    desk: Desk, how: str
) -> None:
    # Given a grant of which nothing is available when it expires
    await desk.open()
    await desk.grant(100, expires_in_ms=1_000)
    if how == "voided":
        await desk.ledger.accounts.void(ACCOUNT, "g1", reference="void-1", reason="paid back")
    elif how == "closed":
        await desk.ledger.accounts.close_account(ACCOUNT, reference="bye", reason="they left")
    else:
        await desk.reserve(100)
    await desk.pass_time(1_000)
    before = await desk.state()

    assert isinstance(await desk.ledger.reserve(desk.attempt(), 5, 60_000), Refused)

    assert await desk.state() == before
