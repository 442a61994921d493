"""Law 8a: expiry is exact by the server's clock, and works with no sweeper running."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime.credits.journal import Kind
from runtime.credits.results import Balance, Refused, Reserved
from tests.harness.ledger.desk import ACCOUNT, Desk, connect, make_ledger
from tests.harness.ledger.verbs import ASKS, CHANGES, Change, lived_in

LIFETIME_MS = 5_000
ENDED = (Kind.EXPIRED, Kind.GRANT_EXPIRED)

Visit = Callable[[Desk, Any, Reserved], Awaitable[Any]]


def visiting(change: Change) -> Visit:
    return lambda desk, attempt, reserved: change(desk, "a change")


VISITS: dict[str, Visit] = ASKS | {name: visiting(change) for name, change in CHANGES.items()}


def parts(balance: Balance) -> tuple[int, int, int]:
    return balance.available_mc, balance.reserved_mc, balance.expired_mc


@pytest.mark.parametrize("verb", VISITS)
@pytest.mark.parametrize("early_ms", [1, 0])
async def test_law_8a_whichever_verb_comes_first_finds_what_is_due_and_nothing_sooner(
    desk: Desk, verb: str, early_ms: int
) -> None:
    # Given an account with a grant and a reservation that end at the same moment
    attempt, reserved = await lived_in(desk)
    await desk.grant(500, priority=0, expires_in_ms=LIFETIME_MS, reference="short-lived")
    await desk.reserve(30, desk.attempt("journey-short:step:1"), ttl_ms=LIFETIME_MS)

    # When any verb comes at that moment, or a millisecond before, and nobody swept
    await desk.pass_time(LIFETIME_MS - early_ms)
    await VISITS[verb](desk, attempt, reserved)

    # Then both have ended by the journal, or neither has
    journal = await desk.journal()
    ended = [(entry.kind, entry.effective_at_ms) for entry in journal if entry.kind in ENDED]
    due = [(Kind.GRANT_EXPIRED, desk.now_ms), (Kind.EXPIRED, desk.now_ms)]
    assert ended == ([] if early_ms else due)
    assert all(entry.at_ms <= desk.now_ms for entry in journal)


async def test_law_8a_what_a_look_finds_due_is_what_a_sweep_then_writes(desk: Desk) -> None:
    await lived_in(desk)
    await desk.grant(500, expires_in_ms=LIFETIME_MS)
    await desk.reserve(400, ttl_ms=2_000)
    await desk.pass_time(LIFETIME_MS)

    seen, seen_caps = await desk.balance(), await desk.ledger.accounts.caps(ACCOUNT)
    await desk.write_what_is_due()
    written, written_caps = await desk.balance(), await desk.ledger.accounts.caps(ACCOUNT)

    assert (parts(seen), seen_caps) == (parts(written), written_caps)
    assert seen.grants == written.grants
    assert written.expired_mc == 500


@pytest.mark.parametrize("due", [1, 100, 101, 250])
@pytest.mark.parametrize("wanted_mc", [1, 300])
async def test_law_8a_an_expired_grant_pays_nothing_however_much_is_due_at_once(
    desk: Desk, due: int, wanted_mc: int
) -> None:
    # Given a grant that is reserved in more parts than one script ends, all of them over
    await desk.open()
    await desk.grant(300, expires_in_ms=LIFETIME_MS)
    for _ in range(due):
        await desk.reserve(1, ttl_ms=1_000)

    # When the grant has expired too, before anybody came
    await desk.pass_time(LIFETIME_MS)

    # Then nothing of it is paid with, now or by whoever comes next
    for _ in range(4):
        assert isinstance(await desk.ledger.reserve(desk.attempt(), wanted_mc, 1_000), Refused)
    assert parts(await desk.balance()) == (0, 0, 300)
    await desk.write_what_is_due()
    assert (await desk.parts()).expired_mc == 300


async def test_law_8a_a_settlement_of_one_not_yet_swept_leaves_nothing_of_an_expired_grant(
    desk: Desk,
) -> None:
    await desk.open()
    await desk.grant(300, expires_in_ms=LIFETIME_MS)
    running = [await desk.reserve(1, ttl_ms=1_000) for _ in range(150)]
    await desk.pass_time(LIFETIME_MS)

    last, reserved = running[-1]
    settled = await desk.settle(last, reserved, 1)

    assert (settled.charged_mc, settled.overage_mc, settled.flags) == (0, 1, ("late",))
    assert parts(await desk.balance()) == (0, 0, 300)


@pytest.mark.parametrize("every_ms", [100, 350, 1_000, 20_000])
async def test_law_8a_how_often_anybody_looks_changes_nothing(desk: Desk, every_ms: int) -> None:
    await desk.open(100)
    for priority, lifetime_ms in ((1, 900), (2, 1_500), (3, 6_000)):
        await desk.grant(100, priority=priority, expires_in_ms=lifetime_ms)
    for amount_mc, ttl_ms in ((80, 1_200), (90, 700), (90, 6_500), (40, 5_999)):
        await desk.reserve(amount_mc, ttl_ms=ttl_ms)
    end_ms = desk.now_ms + 7_000

    while desk.now_ms < end_ms:
        await desk.set_clock(min(end_ms, desk.now_ms + every_ms))
        await desk.write_what_is_due()

    found = [
        (entry.kind, entry.effective_at_ms - end_ms + 7_000, entry.slices)
        for entry in await desk.journal()
        if entry.kind in ENDED
    ]
    assert found == [
        (Kind.EXPIRED, 700, {"g2": 20, "g3": 70}),
        (Kind.GRANT_EXPIRED, 900, {}),
        (Kind.EXPIRED, 1_200, {"g2": 80}),
        (Kind.GRANT_EXPIRED, 1_500, {}),
        (Kind.EXPIRED, 5_999, {"g4": 40}),
        (Kind.GRANT_EXPIRED, 6_000, {}),
        (Kind.EXPIRED, 6_500, {"g3": 30, "g4": 60}),
    ]
    assert parts(await desk.balance()) == (100, 0, 300)


async def test_law_8a_the_clock_is_the_servers_own(redis_url: str, key_prefix: str) -> None:
    """The one test whose ledger has the shipped scripts: they can't be told the time."""
    client = connect(redis_url)
    desk = Desk(client, key_prefix, make_ledger(client, key_prefix))
    try:
        await desk.open()
        seconds, microseconds = await desk.client.time()
        now = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
        await desk.grant(100, expires_at=now - timedelta(milliseconds=1), reference="over")
        await desk.grant(10, expires_at=now + timedelta(hours=1), reference="to come")

        balance = await desk.balance()

        assert parts(balance) == (10, 0, 100)
        assert abs(balance.at_ms - now.timestamp() * 1000) < 60_000
    finally:
        await desk.ledger.drain()
        await client.aclose()


async def test_law_8a_a_deadline_is_a_deadline_where_more_are_due_than_one_script_ends(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    made = [await desk.reserve(10, ttl_ms=1_000) for _ in range(150)]
    await desk.pass_time(1_000)

    # A script ends a hundred, in the order of their keys.
    attempt, reserved = max(made, key=lambda pair: pair[0].execution_key)
    settled = await desk.settle(attempt, reserved, 10)

    assert settled.flags == ("late",)
