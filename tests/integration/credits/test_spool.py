"""Settlements that wait on disk while Redis is away: none is lost, none is charged twice."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import signal
import stat
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from fallback.reasons import FallbackReason
from runtime.credits.endings import Ending, Release, Settlement, from_json, to_json
from runtime.credits.identity import Dimensions, ExecutionAttempt
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import LedgerUnavailable, Reserved
from runtime.executions.spool import MOST_FILE_BYTES, Replay, Spool
from tests.harness.bounds import mostly_long
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk, connect, make_ledger
from tests.harness.private_redis import PrivateRedis

ANSWER = b'{"reply": "Dear Ms Example, your card is on its way"}'


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def settlement(attempt: ExecutionAttempt, reserved: Reserved, **changes: Any) -> Settlement:
    fields: dict[str, Any] = {
        "attempt": attempt,
        "cost_mc": 70,
        "reserved_mc": reserved.amount_mc,
        "reserved_at_ms": reserved.reserved_at_ms,
        "tokens": "120,20,0,30,10",
        "rate_card_version": "2026-01",
        "flags": ("usage_estimated",),
        "exposure_mc": 3,
        "outcome": ANSWER,
    }
    return Settlement(**(fields | changes))


PLAIN = to_json(
    settlement(
        ExecutionAttempt("acme", "e1", "k", "a", "f", Dimensions("w", "c", "a", "v", "m", "live")),
        Reserved(100, 0, 1, 0),
    )
)


def damaged_name() -> str:
    """The name of a file that was put a moment before the others."""
    return f"{time.time_ns() - 60_000_000_000:020d}-damaged.json"


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").glob("*.json"))


async def test_what_is_put_while_redis_is_away_is_charged_when_it_is_back(
    private_redis: PrivateRedis, spool: Spool, tmp_path: Path
) -> None:
    client = connect(private_redis.url)
    ledger = make_ledger(client, "t", timeout_ms=300)
    desk = Desk(client, "t", ledger)
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    cancelled, _ = await desk.reserve(100)
    await private_redis.stop(signal.SIGKILL)
    ending = settlement(attempt, reserved)
    with pytest.raises(LedgerUnavailable):
        await ledger.end(ending)
    await spool.put(ending)
    await spool.put(Release(cancelled, None, 5, None))

    assert await spool.replay(ledger) == Replay(done=0, dead=0, left=2)
    await private_redis.start()
    assert await spool.replay(ledger) == Replay(done=2, dead=0, left=0)

    balance = await desk.balance()
    assert (balance.charged_mc, balance.reserved_mc, balance.exposure_mc) == (70, 0, 8)
    assert files(tmp_path) == []
    again = await ledger.reserve(desk.attempt(attempt.execution_id), 100, 1_000)
    assert again.outcome == ANSWER  # type: ignore[union-attr]  # an Existing
    await ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


async def test_an_ending_that_was_sent_before_is_charged_no_more_when_replayed(
    desk: Desk, spool: Spool
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    ending = settlement(attempt, reserved)
    await desk.ledger.end(ending)
    before = await desk.state()
    await spool.put(ending)

    assert await spool.replay(desk.ledger) == Replay(1, 0, 0)
    assert await desk.state() == before


async def test_two_processes_may_replay_one_folder_at_once(
    open_desk: OpenDesk, spool: Spool, tmp_path: Path
) -> None:
    async with open_desk() as desk, open_desk() as other:
        await desk.open(100_000)
        for number in range(60):
            attempt, reserved = await desk.reserve(100)
            ending: Ending = settlement(attempt, reserved)
            if number % 3 == 0:
                ending = Release(attempt, FallbackReason.PROVIDER_TIMEOUT, 5, b"fallback")
            await spool.put(ending)

        replays = await asyncio.gather(
            spool.replay(desk.ledger), Spool(tmp_path / "spool").replay(other.ledger)
        )

        assert sum(replay.done for replay in replays) >= 60
        assert {(replay.dead, replay.left) for replay in replays} == {(0, 0)}
        assert files(tmp_path) == []
        balance = await desk.balance()
        assert (balance.charged_mc, balance.reserved_mc) == (40 * 70, 0)
        assert balance.exposure_mc == 40 * 3 + 20 * 5


async def test_files_and_folder_are_their_owners_alone(
    desk: Desk, spool: Spool, tmp_path: Path
) -> None:
    await desk.open(1_000)
    await spool.put(settlement(*await desk.reserve(100)))

    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe not text",
        b"[]",
        b'{"format": 1}',
        b'{"format": "1"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format": 1, "kind": ' + b"9" * 5_000 + b"}",
        b" " * (MOST_FILE_BYTES + 1),
    ],
    ids=lambda content: repr(content[:20]),
)
async def test_law_15_a_file_that_is_no_ending_is_set_aside_and_stops_no_other(
    desk: Desk, spool: Spool, tmp_path: Path, content: bytes
) -> None:
    await desk.open(1_000)
    await spool.put(settlement(*await desk.reserve(100)))
    name = damaged_name()
    (tmp_path / "spool" / name).write_bytes(content)

    assert await spool.replay(desk.ledger) == Replay(done=1, dead=1, left=0)
    assert (tmp_path / "spool" / "dead" / name).read_bytes() == content
    assert (await desk.balance()).charged_mc == 70


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Refund"},
        {"cost_mc": "70"},
        {"cost_mc": -1},
        {"cost_mc": None},
        {"outcome": None},
        {"outcome": "no base64!"},
        {"flags": [1]},
        {"tokens": None},
        {"tokens": "1\t2"},
        {"attempt": "e1"},
    ],
)
async def test_an_ending_with_a_damaged_field_is_set_aside_and_charges_nothing(
    desk: Desk, spool: Spool, tmp_path: Path, change: dict[str, Any]
) -> None:
    await desk.open(1_000)
    plain = to_json(settlement(*await desk.reserve(100))) | change
    await spool.put(settlement(*await desk.reserve(100)))
    (tmp_path / "spool" / damaged_name()).write_text(json.dumps(plain))

    assert await spool.replay(desk.ledger) == Replay(done=1, dead=1, left=0)
    assert (await desk.balance()).charged_mc == 70


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(ExecutionAttempt)])
async def test_an_ending_with_a_damaged_attempt_is_set_aside(
    desk: Desk, spool: Spool, tmp_path: Path, field: str
) -> None:
    await desk.open(1_000)
    plain = to_json(settlement(*await desk.reserve(100)))
    plain["attempt"][field] = 7
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "1.json").write_text(json.dumps(plain))

    assert await spool.replay(desk.ledger) == Replay(done=0, dead=1, left=0)


async def test_a_settlement_beyond_the_horizon_is_dead_not_charged(
    open_desk: OpenDesk, spool: Spool, tmp_path: Path
) -> None:
    async with open_desk(outcome_ttl_ms=100_000) as desk:
        await desk.open(1_000)
        await spool.put(settlement(*await desk.reserve(100)))
        await desk.pass_time(100_000)

        assert await spool.replay(desk.ledger) == Replay(done=0, dead=1, left=0)
        assert (await desk.balance()).charged_mc == 0
        assert len(list((tmp_path / "spool" / "dead").glob("*.json"))) == 1


@pytest.mark.parametrize("max_age_ms, charged_mc", [(0, 0), (60_000, 70)])
async def test_an_ending_older_than_configured_is_dead_not_charged(
    desk: Desk, tmp_path: Path, max_age_ms: int, charged_mc: int
) -> None:
    spool = Spool(tmp_path / "spool", max_age_ms)
    await desk.open(1_000)
    await spool.put(settlement(*await desk.reserve(100)))
    await asyncio.sleep(0.001)

    replay = await spool.replay(desk.ledger)

    assert (replay.dead, replay.left) == (int(charged_mc == 0), 0)
    assert (await desk.balance()).charged_mc == charged_mc


async def test_an_ending_in_conflict_is_dead(desk: Desk, spool: Spool) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    await spool.put(settlement(desk.attempt(attempt.execution_id, person_id="other"), reserved))

    assert await spool.replay(desk.ledger) == Replay(done=0, dead=1, left=0)


async def test_law_15_a_damaged_account_keeps_only_its_own_endings_waiting(
    desk: Desk, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.open(1_000, account_id="damaged")
    await desk.open(1_000)
    await spool.put(settlement(*await desk.reserve(100, desk.attempt(account_id="damaged"))))
    await spool.put(settlement(*await desk.reserve(100)))
    await desk.client.hset(desk.key("account", "damaged"), "books", "garbage")

    with caplog.at_level(logging.ERROR, "creditgate.spool"):
        assert await spool.replay(desk.ledger) == Replay(done=1, dead=0, left=1)

    assert (await desk.balance(ACCOUNT)).charged_mc == 70
    assert "damaged:account" in caplog.text
    assert spool.waiting() == 1


async def test_law_15_what_has_to_wait_is_logged_once(
    desk: Desk, spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.open(1_000, account_id="damaged")
    await spool.put(settlement(*await desk.reserve(100, desk.attempt(account_id="damaged"))))
    await desk.client.hset(desk.key("account", "damaged"), "books", "garbage")
    os.mkfifo(tmp_path / "spool" / damaged_name())

    with caplog.at_level(logging.ERROR, "creditgate.spool"):
        for _ in range(3):
            assert await spool.replay(desk.ledger) == Replay(done=0, dead=0, left=2)

    assert len(caplog.records) == 1
    assert "2 more spooled endings have to wait" in caplog.text


async def test_law_15_a_file_that_can_not_be_set_aside_stops_no_other(
    desk: Desk, spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.open(1_000)
    await spool.put(settlement(*await desk.reserve(100)))
    (tmp_path / "spool" / damaged_name()).write_bytes(b"damaged")
    (tmp_path / "spool" / "dead").write_text("a file where the folder should be")

    with caplog.at_level(logging.ERROR, "creditgate.spool"):
        assert await spool.replay(desk.ledger) == Replay(done=1, dead=0, left=1)
        logged = len(caplog.records)
        assert await spool.replay(desk.ledger) == Replay(done=0, dead=0, left=1)

    assert len(caplog.records) == logged
    assert (await desk.balance()).charged_mc == 70


async def test_law_15_an_ending_with_a_huge_outcome_is_charged_without_its_values(
    desk: Desk, spool: Spool, tmp_path: Path
) -> None:
    await desk.open(1_000)
    attempt, reserved = await desk.reserve(100)
    await spool.put(settlement(attempt, reserved, outcome=b"x" * MOST_FILE_BYTES))

    assert files(tmp_path)[0].stat().st_size < 10_000
    assert await spool.replay(desk.ledger) == Replay(done=1, dead=0, left=0)
    assert (await desk.balance()).charged_mc == 70


@pytest.mark.parametrize("unit", mostly_long([b'"x",', b"1,", b"[],"], short=1))
async def test_law_15_reading_a_spooled_file_at_its_bound_takes_50_ms_of_the_loops_cpu_at_most(
    desk: Desk, spool: Spool, tmp_path: Path, unit: bytes
) -> None:
    content = b'{"flags": [' + unit * ((MOST_FILE_BYTES - 100) // len(unit)) + b"0]}"
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "1.json").write_bytes(content)

    before_s = time.thread_time()
    replay = await spool.replay(desk.ledger)

    assert replay.dead == 1
    assert time.thread_time() - before_s < 0.050

    (tmp_path / "spool" / "1.json").write_bytes(content)
    tracemalloc.start()
    try:
        await spool.replay(desk.ledger)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 160_000_000


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["format", "kind", "attempt", "outcome", "reason", "cost_mc"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(["kind", "attempt", "outcome", "cost_mc", "flags", "tokens", "format"]),
        st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.floats(),
        min_size=1,
    ).map(lambda change: json.dumps(PLAIN | change).encode())
)
@settings(max_examples=100)
def test_law_15_any_spooled_file_is_settled_set_aside_or_left(content: bytes) -> None:
    class Ledger:
        async def end(self, ending: Ending) -> object:
            ending.arguments()
            return object()

    async def replay(folder: Path) -> Replay:
        ledger = cast("CreditLedger", Ledger())
        return await Spool(folder).replay(ledger)

    with TemporaryDirectory() as name:
        (Path(name) / f"{time.time_ns():020d}-1.json").write_bytes(content)
        (Path(name) / f"{time.time_ns():020d}-2.json").write_text(json.dumps(PLAIN))
        done = asyncio.run(replay(Path(name)))

    assert done.done >= 1, "the second one is an ending"
    assert done.done + done.dead + done.left == 2


async def test_an_ending_of_a_newer_release_waits_for_it(
    desk: Desk, spool: Spool, tmp_path: Path
) -> None:
    (tmp_path / "spool").mkdir()
    newer = tmp_path / "spool" / "1.json"
    newer.write_text('{"format": 2, "in": "another way"}')

    assert await spool.replay(desk.ledger) == Replay(done=0, dead=0, left=1)
    assert newer.exists()


async def test_what_a_process_was_writing_when_it_died_is_removed_in_the_end(
    desk: Desk, spool: Spool, tmp_path: Path
) -> None:
    (tmp_path / "spool").mkdir()
    old, new = tmp_path / "spool" / "1.part", tmp_path / "spool" / "2.part"
    for path in (old, new):
        path.write_text('{"outcome": "personal da')
    hour_ago = time.time() - 3_600
    os.utime(old, (hour_ago, hour_ago))

    assert await spool.replay(desk.ledger) == Replay(0, 0, 0)
    assert not old.exists()
    assert new.exists(), "a process may still be writing it"


async def test_a_spool_that_was_never_used_is_empty(desk: Desk, spool: Spool) -> None:
    assert spool.waiting() == 0
    assert await spool.replay(desk.ledger) == Replay(0, 0, 0)


@pytest_asyncio.fixture
async def endings(desk: Desk) -> AsyncIterator[list[Ending]]:
    attempt = desk.attempt("id ☹ with ünïcode", model="", person_id="")
    yield [
        settlement(attempt, Reserved(1, 2, 3, 4), outcome=bytes(range(256)), flags=()),
        Release(attempt, FallbackReason.PROVIDER_ERROR, 5, b""),
        Release(attempt, None, 0, None),
    ]


async def test_an_ending_reads_back_as_it_was_written(endings: list[Ending]) -> None:
    for ending in endings:
        assert from_json(json.loads(json.dumps(to_json(ending)))) == ending
