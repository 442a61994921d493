"""Law 3: what is known of an id can be asked, and asking changes nothing."""

from __future__ import annotations

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.endings import Release
from runtime.credits.results import (
    AccountDamaged,
    ExecutionConflict,
    Existing,
    InProgress,
)
from tests.harness.ledger.desk import ACCOUNT, Desk


async def test_an_id_that_was_never_seen_is_unknown_and_stays_so(desk: Desk) -> None:
    await desk.open(1_000)
    before = await desk.state()

    assert await desk.ledger.look_up(desk.attempt()) is None
    assert await desk.state() == before


async def test_an_account_that_was_never_opened_knows_no_id(desk: Desk) -> None:
    assert await desk.ledger.look_up(desk.attempt(account_id="nobody")) is None


async def test_an_id_that_runs_is_in_progress_for_as_long_as_its_reservation(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, _ = await desk.reserve(100, ttl_ms=5_000)
    await desk.pass_time(1_000)
    before = await desk.state()

    other = desk.attempt(attempt.execution_id)
    assert await desk.ledger.look_up(other) == InProgress(4_000)
    assert await desk.state() == before


async def test_law_3a_an_id_that_has_ended_is_known_by_its_outcome(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    await desk.settle(attempt, reserved, 70)
    released, _ = await desk.reserve(100)
    await desk.ledger.release(
        Release(released, FallbackReason.PROVIDER_TIMEOUT, exposure_mc=5, outcome=b"fallback")
    )
    before = await desk.state()

    known = await desk.ledger.look_up(desk.attempt(attempt.execution_id))
    assert known == Existing("settled", 70, 0, None, b"the first outcome")
    known = await desk.ledger.look_up(desk.attempt(released.execution_id))
    assert known == Existing("released", 0, 0, FallbackReason.PROVIDER_TIMEOUT, b"fallback")
    assert await desk.state() == before


async def test_what_time_has_ended_is_unknown_though_nobody_has_written_it_yet(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, _ = await desk.reserve(100, ttl_ms=5_000)
    await desk.grant(50, expires_in_ms=2_000)
    await desk.pass_time(5_000)
    before = await desk.state()

    assert await desk.ledger.look_up(desk.attempt(attempt.execution_id)) is None
    assert await desk.state() == before, "not even what is due is written"
    assert (await desk.balance()).reserved_mc == 0


async def test_law_3a_an_id_of_something_else_is_a_conflict(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    other = desk.attempt(attempt.execution_id, person_id="somebody else")

    with pytest.raises(ExecutionConflict, match="person_id"):
        await desk.ledger.look_up(other)
    await desk.settle(attempt, reserved, 70)
    with pytest.raises(ExecutionConflict, match="person_id"):
        await desk.ledger.look_up(other)


async def test_law_11a_a_damaged_record_of_the_id_is_named(desk: Desk) -> None:
    await desk.open(1_000)
    attempt, _ = await desk.reserve(100)
    key = desk.keys.outcome(ACCOUNT, attempt.execution_key)
    await desk.client.set(key, "garbage")

    with pytest.raises(AccountDamaged, match="is not a record of its kind"):
        await desk.ledger.look_up(attempt)
