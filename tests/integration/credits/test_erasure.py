"""A person's values are removed from outcomes, and are not stored by what began before."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fallback.reasons import FallbackReason
from runtime.credits import erasure as erasures
from runtime.credits.endings import Release, from_json, to_json
from runtime.credits.erasure import OUTCOMES, Forgetting
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import Kind
from runtime.credits.results import (
    AccountUnknown,
    Existing,
    LedgerError,
    LedgerUnavailable,
    ReferenceConflict,
    Reserved,
)
from tests.harness.ledger.desk import (
    ACCOUNT,
    SCRIPTS_WITH_CLOCK,
    Desk,
    OpenDesk,
    connect,
    make_ledger,
)
from tests.harness.servers import CLUSTER_SCHEME

ADA, BOB = "ada@example.com", "bob@example.com"
SECRET = b"Dear Ada, about your loan"
WHY = {"reason": "a request", "actor": "ann"}


def values(attempt: ExecutionAttempt, waited_ms: int = 1, text: bytes = SECRET) -> bytes:
    """An outcome as the executor writes it."""
    return b'{"p":"%b.%d","v":{"reply":"%b"}}' % (str(attempt.person_key).encode(), waited_ms, text)


async def reserve(desk: Desk, person_id: str) -> tuple[ExecutionAttempt, Reserved]:
    return await desk.reserve(10, desk.attempt(person_id=person_id))


async def settle(desk: Desk, person_id: str, waited_ms: int = 1) -> ExecutionAttempt:
    attempt, reserved = await reserve(desk, person_id)
    await desk.settle(attempt, reserved, 5, outcome=values(attempt, waited_ms))
    return attempt


async def forget(desk: Desk, person_id: str = ADA, reference: str = "r-1") -> Forgetting:
    erasure = desk.ledger.erasure
    forgetting = await erasure.begin(ACCOUNT, person_id, reference)
    await erasure.erase_outcomes(forgetting)
    return await erasure.finish(forgetting, **WHY)


async def stored(desk: Desk, attempt: ExecutionAttempt) -> bytes:
    """The values that are kept of an execution."""
    found = await desk.ledger.look_up(attempt)
    assert isinstance(found, Existing), found
    return found.outcome


async def test_law_3f_a_forgotten_persons_outcome_stays_charged_and_has_no_values(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    hers, his = await settle(desk, ADA), await settle(desk, BOB)
    key = desk.keys.outcome(ACCOUNT, hers.execution_key)
    header, ttl_ms = (await desk.client.get(key)).partition(b"\n")[0], await desk.client.pttl(key)
    before = await desk.balance()

    done = await forget(desk)

    assert done.removed == {OUTCOMES: 1}
    assert await desk.client.get(key) == header + b"\n"
    assert 0 < await desk.client.pttl(key) <= ttl_ms
    found = await desk.ledger.look_up(hers)
    assert isinstance(found, Existing)
    assert (found.charged_mc, found.outcome) == (5, b"")
    assert isinstance(await desk.ledger.reserve(hers, 10, 1_000), Existing)
    assert SECRET in await stored(desk, his)
    after = await desk.balance()
    assert (after.charged_mc, after.available_mc) == (before.charged_mc, before.available_mc)


async def test_law_3f_an_erasure_is_recorded_once_for_its_reference_and_names_nobody(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempts = [await settle(desk, ADA) for _ in range(3)]
    await forget(desk)
    await desk.pass_time(10)
    later = await settle(desk, ADA)
    assert SECRET in await stored(desk, later)

    assert (await forget(desk)).removed == {OUTCOMES: 3}
    assert SECRET in await stored(desk, later)

    [entry] = [one for one in await desk.journal() if one.kind is Kind.REPAIRED]
    assert entry.body.endswith("\tann\tforget:r-1\tforgotten;3;a request")
    assert not entry.postings
    assert str(attempts[0].person_key) not in entry.body
    with pytest.raises(ReferenceConflict):
        await desk.ledger.erasure.begin(ACCOUNT, BOB, "r-1")
    await desk.client.delete(desk.keys.forgetting(ACCOUNT, "r-1"))
    with pytest.raises(ReferenceConflict):
        await desk.ledger.erasure.begin(ACCOUNT, ADA, "r-1")
    assert len([one for one in await desk.journal() if one.kind is Kind.REPAIRED]) == 1


@pytest.mark.parametrize(
    "reserved_after_ms, waited_ms, is_stored",
    [
        pytest.param(-5, 0, False, id="reserved before"),
        pytest.param(0, 0, False, id="in the same millisecond"),
        pytest.param(5, 5, False, id="begun before and reserved after"),
        pytest.param(5, 4, True, id="begun after"),
    ],
)
async def test_law_3f_what_began_before_the_erasure_stores_no_values_and_is_charged(
    desk: Desk, reserved_after_ms: int, waited_ms: int, is_stored: bool
) -> None:
    await desk.open(10_000)
    await desk.pass_time(100)
    if reserved_after_ms < 0:
        attempt, reserved = await reserve(desk, ADA)
        await desk.pass_time(-reserved_after_ms)
        await forget(desk)
    else:
        await forget(desk)
        await desk.pass_time(reserved_after_ms)
        attempt, reserved = await reserve(desk, ADA)
    other, others = await reserve(desk, BOB)
    await desk.pass_time(1_000)

    settled = await desk.settle(attempt, reserved, 5, outcome=values(attempt, waited_ms))
    await desk.settle(other, others, 5, outcome=values(other, waited_ms))

    assert settled.charged_mc == 5
    assert (SECRET in await stored(desk, attempt)) is is_stored
    assert SECRET in await stored(desk, other)
    again = await desk.settle(attempt, reserved, 5, outcome=values(attempt, waited_ms))
    assert again.charged_mc == settled.charged_mc
    assert (SECRET in await stored(desk, attempt)) is is_stored


async def test_law_3f_a_late_settlement_and_an_orphan_store_no_values_of_a_forgotten_person(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    late, reserved = await desk.reserve(10, desk.attempt(person_id=ADA), ttl_ms=1_000)
    orphan = desk.attempt(person_id=ADA)
    await forget(desk)
    await desk.pass_time(2_000)

    assert "late" in (await desk.settle(late, reserved, 5, outcome=values(late))).flags
    assert "orphan" in (await desk.settle(orphan, reserved, 5, outcome=values(orphan))).flags

    assert await stored(desk, late) == await stored(desk, orphan) == b""
    assert (await desk.balance()).charged_mc == 10


async def test_law_3f_values_of_release_0_1_are_known_by_the_persons_part_of_the_fingerprint(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    old, reserved = await reserve(desk, ADA)
    await desk.settle(old, reserved, 5, outcome=b'{"f":1,"v":{"reply":"%b"}}' % SECRET)
    his, his_reserved = await reserve(desk, BOB)
    await desk.settle(his, his_reserved, 5, outcome=b'{"f":1,"v":{"reply":"%b"}}' % SECRET)
    refused = desk.attempt(person_id=ADA)
    await desk.ledger.conclude(refused, FallbackReason.INSUFFICIENT_CREDITS, SECRET)
    spooled, spooled_reserved = await reserve(desk, ADA)
    released, _ = await reserve(desk, ADA)

    assert (await forget(desk)).removed == {OUTCOMES: 2}
    await desk.settle(spooled, spooled_reserved, 5, outcome=SECRET)
    reason = FallbackReason.PROVIDER_REJECTED
    await desk.ledger.release(Release(released, reason, outcome=SECRET))

    for attempt in (old, refused, spooled, released):
        assert await stored(desk, attempt) == b""
    assert await stored(desk, his) != b""
    found = await desk.ledger.look_up(refused)
    assert isinstance(found, Existing)
    assert found.reason is FallbackReason.INSUFFICIENT_CREDITS


async def test_values_of_somebody_with_the_same_part_of_the_fingerprint_stay(desk: Desk) -> None:
    await desk.open(10_000)
    hers, his = desk.attempt(person_id=ADA), desk.attempt(person_id=BOB)
    alike = replace(his, fingerprint=hers.fingerprint)
    _, reserved = await desk.reserve(10, alike)
    await desk.settle(alike, reserved, 5, outcome=values(his))
    alike_later = replace(desk.attempt(person_id=BOB), fingerprint=hers.fingerprint)
    _, reserved = await desk.reserve(10, alike_later)

    assert (await forget(desk)).removed == {OUTCOMES: 0}
    await desk.settle(alike_later, reserved, 5, outcome=values(alike_later))

    assert SECRET in await stored(desk, alike)
    assert SECRET in await stored(desk, alike_later)


async def test_a_person_of_another_account_is_not_forgotten(desk: Desk) -> None:
    await desk.open(10_000)
    await desk.open(10_000, account_id="acme-2")
    hers = await settle(desk, ADA)
    there = desk.attempt(person_id=ADA, account_id="acme-2")
    _, reserved = await desk.reserve(10, there)
    await desk.settle(there, reserved, 5, outcome=values(there))

    await forget(desk)

    assert await stored(desk, hers) == b""
    assert SECRET in await stored(desk, there)


async def test_law_3f_what_tells_of_a_forgotten_person_ends_with_the_horizon(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(outcome_ttl_ms=3_600_000) as desk:
        desk.now_ms = await desk.server_ms()
        await desk.open(10_000)
        await forget(desk)
        for name in (desk.keys.forgotten(ACCOUNT), desk.keys.forgetting(ACCOUNT, "r-1")):
            assert 3_500_000 < await desk.client.pttl(name) <= 3_600_000
        await desk.pass_time(3_600_001)
        await forget(desk, BOB, "r-2")
        assert await desk.client.zcard(desk.keys.forgotten(ACCOUNT)) == 2  # Bob's key and part


async def test_law_15_and_3f_outcomes_are_looked_through_page_by_page_and_on_from_where_it_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "_SCAN_COUNT", 10)
    await desk.open(10_000)
    attempts = [await settle(desk, ADA) for _ in range(60)]
    erasure = desk.ledger.erasure
    began = await erasure.begin(ACCOUNT, ADA, "r-1")
    looks: list[int] = []

    def stop(looked_at: int, total: int | None) -> None:
        looks.append(looked_at)
        if len(looks) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await erasure.erase_outcomes(began, stop)
    half = await erasure.begin(ACCOUNT, ADA, "r-1")
    assert not half.done
    assert half.at_ms == began.at_ms

    await erasure.erase_outcomes(half, stop)
    assert (await erasure.finish(half, **WHY)).removed == {OUTCOMES: 60}

    assert [await stored(desk, attempt) for attempt in attempts] == [b""] * 60
    steps = len(looks)
    await erasure.erase_outcomes(half, stop)
    assert len(looks) == steps  # nothing is left to look at
    await erasure.erase_outcomes(await erasure.begin(ACCOUNT, BOB, "r-2"), stop)
    assert len(looks) - steps > steps - 2  # a whole way is longer than what was left of it


async def test_a_server_that_started_again_is_looked_through_from_the_beginning(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.open(10_000)
    attempt = await settle(desk, ADA)
    erasure = desk.ledger.erasure
    began = await erasure.begin(ACCOUNT, ADA, "r-1")
    name = desk.keys.forgetting(ACCOUNT, "r-1")
    await desk.client.hset(name, mapping={"run": "another run", "cursor": "end"})

    await erasure.erase_outcomes(began)

    assert await stored(desk, attempt) == b""


async def test_an_account_that_was_stopped_is_erased_and_recorded_once_it_goes_on(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    attempt = await settle(desk, ADA)
    lost = await desk.client.hget(desk.key("account"), "books")
    await desk.grant(10)
    await desk.client.hset(desk.key("account"), "books", lost)
    erasure = desk.ledger.erasure

    began = await erasure.begin(ACCOUNT, ADA, "r-1")
    await erasure.erase_outcomes(began)
    assert (await desk.client.get(desk.keys.outcome(ACCOUNT, attempt.execution_key))).endswith(
        b"\n"
    )
    with pytest.raises(LedgerUnavailable):
        await erasure.finish(began, **WHY)
    assert not (await erasure.begin(ACCOUNT, ADA, "r-1")).done


async def test_law_15_a_damaged_outcome_and_one_of_a_newer_release_are_not_taken_for_hers(
    desk: Desk,
) -> None:
    await desk.open(10_000)
    hers = await settle(desk, ADA)
    damaged = desk.keys.outcome(ACCOUNT, "d" * 22)
    await desk.client.set(damaged, b"1\tno outcome", px=60_000)
    listed = desk.keys.outcome(ACCOUNT, "l" * 22)
    await desk.client.rpush(listed, "no outcome")
    assert (await forget(desk)).removed == {OUTCOMES: 1}
    assert await stored(desk, hers) == b""
    assert await desk.client.get(damaged) == b"1\tno outcome"

    newer = desk.keys.outcome(ACCOUNT, "n" * 22)
    await desk.client.set(newer, b"2\ts\tattempt\tfingerprint\t5\n" + SECRET, px=60_000)
    began = await desk.ledger.erasure.begin(ACCOUNT, ADA, "r-2")
    with pytest.raises(LedgerError, match="newer release"):
        await desk.ledger.erasure.erase_outcomes(began)


async def test_nobody_is_forgotten_in_an_unknown_account(desk: Desk) -> None:
    with pytest.raises(AccountUnknown):
        await desk.ledger.erasure.begin("nobody", ADA, "r-1")
    assert await desk.names("*nobody*") == []


async def test_law_1_executions_run_on_while_a_person_is_forgotten(desk: Desk) -> None:
    await desk.open(1_000_000)
    ended, enough = asyncio.Event(), asyncio.Event()
    attempts: list[ExecutionAttempt] = []

    async def run() -> None:
        while not ended.is_set():
            attempts.append(await settle(desk, ADA))
            if len(attempts) == 50:
                enough.set()

    running = [asyncio.create_task(run()) for _ in range(4)]
    await enough.wait()
    await forget(desk)
    ended.set()
    await asyncio.gather(*running)

    # The desk's clock stands still, so all of them began before.
    assert {await stored(desk, attempt) for attempt in attempts} == {b""}
    assert (await desk.balance()).charged_mc == 5 * len(attempts)


async def test_law_3f_no_key_holds_the_values_or_the_id_of_a_forgotten_person(desk: Desk) -> None:
    await desk.open(10_000)
    for _ in range(5):
        await settle(desk, ADA)
    open_one, reserved = await reserve(desk, ADA)
    await forget(desk)
    await desk.settle(open_one, reserved, 5, outcome=values(open_one))
    names = [name.decode() for name in await desk.names()]
    everything = str(await desk.contents(names)).encode()
    assert str(ADA.partition("@")[2]).encode() not in everything
    assert SECRET not in everything
    assert b"forgotten;5;" in everything


async def test_a_spooled_ending_carries_the_persons_key_and_one_without_is_read(
    desk: Desk,
) -> None:
    release = Release(desk.attempt(person_id=ADA), outcome=b"")
    plain = to_json(release)
    assert from_json(plain) == release
    assert ADA not in str(plain)
    del plain["attempt"]["person_key"]
    assert from_json(plain).attempt.person_key is None


async def test_a_user_who_may_not_ask_for_info_looks_through_all_keys_again(
    open_desk: OpenDesk, redis_url: str
) -> None:
    if redis_url.startswith(CLUSTER_SCHEME):
        pytest.skip("users of a cluster are made on each of its servers")
    async with open_desk() as desk:
        await desk.open(10_000)
        attempts = [await settle(desk, ADA) for _ in range(3)]
        rights = "~* -@all +@read +@write +eval +evalsha +time -@dangerous"
        user = f"u-{desk.prefix}"
        await desk.client.execute_command("ACL", "SETUSER", user, "on", ">word", *rights.split())
        client = connect(redis_url, username=user, password="word")
        ledger = make_ledger(
            client, desk.prefix, scripts=SCRIPTS_WITH_CLOCK, transport=desk.transport
        )
        try:
            begun = await ledger.erasure.begin(ACCOUNT, ADA, "r-1")
            looks: list[int] = []
            for _ in range(2):
                await ledger.erasure.erase_outcomes(
                    begun, lambda looked_at, _: looks.append(looked_at)
                )
            done = await ledger.erasure.finish(begun, **WHY)
        finally:
            await client.aclose()
            await desk.client.execute_command("ACL", "DELUSER", user)
        assert done.removed == {OUTCOMES: 3}
        assert [await stored(desk, attempt) for attempt in attempts] == [b""] * 3
        assert len(looks) >= 2
