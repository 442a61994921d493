"""Values in a spool folder are removed for a person who was forgotten, and once they are old."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from runtime.credits.endings import Settlement, to_json
from runtime.executions import outbox as outboxes
from runtime.executions import spool_erasure
from runtime.executions.forgetting import forget
from runtime.executions.outbox import Outbox
from runtime.executions.spool import Spool
from runtime.executions.spool_erasure import SpooledValues, SpoolErasure
from tests.harness.executions.spooled import spooled_outcomes, until
from tests.harness.ledger.desk import ACCOUNT, Desk

PERSON = "ada@example.com"
SECRET = b"Dear Ada, about your loan"


async def settlement(desk: Desk, person_id: str = PERSON, **changes: object) -> Settlement:
    """A settlement that waits for its ledger."""
    attempt, reserved = await desk.reserve(100, desk.attempt(person_id=person_id))
    fields = {"outcome": SECRET} | changes
    at_ms = reserved.reserved_at_ms
    return Settlement(attempt, 70, 100, at_ms, "1", "v1", **fields)  # type: ignore[arg-type]


async def test_law_3f_the_spool_of_this_folder_is_erased_at_once_and_still_charges(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.open(10_000)
    folder = tmp_path / "spool"
    waiting, dead = Spool(folder), Spool(folder, max_age_ms=0)
    await dead.put(await settlement(desk))
    assert (await dead.replay(desk.ledger)).dead == 1
    await waiting.put(await settlement(desk))
    await waiting.put(await settlement(desk, "bob"))
    plain = to_json(await settlement(desk))  # as release 0.1 wrote it
    del plain["attempt"]["person_key"]
    old = folder / f"{time.time_ns():020d}-01.json"
    old.write_text(json.dumps(plain))
    old.chmod(0o644)
    (folder / f"{time.time_ns():020d}-02.json").write_text("no ending")
    unfinished = folder / "01799-ab.part"
    unfinished.write_bytes(SECRET)

    done = await forget(
        desk.ledger.erasure,
        [SpooledValues(folder)],
        account_id=ACCOUNT,
        person_id=PERSON,
        reference="r-1",
        reason="a request",
        actor="ann",
    )

    assert done.removed == {"outcomes": 0, "spool": 3}
    (folder / f"{old.name[:20]}-02.json").unlink(missing_ok=True)
    for path in folder.glob("*-02.json"):
        path.unlink()
    assert sorted(spooled_outcomes(folder)) == [b"", b"", b"", SECRET]
    assert old.stat().st_mode & 0o777 == 0o600
    assert unfinished.exists()  # a process may be writing it just now
    replay = await waiting.replay(desk.ledger)
    assert (replay.done, replay.left) == (3, 0)
    assert (await desk.balance()).charged_mc == 3 * 70


async def test_law_15_and_3f_a_process_erases_its_own_spool_in_rounds_and_forgets_nobody_else(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_erasure, "MOST_FILES", 2)
    await desk.open(10_000)
    spool = Spool(tmp_path / "spool", max_age_ms=0)
    for person_id in (PERSON, "bob", PERSON, PERSON, "bob"):
        await spool.put(await settlement(desk, person_id))
    await spool.replay(desk.ledger)
    await desk.ledger.erasure.begin(ACCOUNT, PERSON, "r-1")
    await desk.pass_time(1)
    await spool.put(await settlement(desk))  # begun after
    erasure = SpoolErasure(spool.folder, desk.ledger)

    assert [await erasure.round() for _ in range(4)] == [1, 2, 0, 0]
    assert spooled_outcomes(spool.folder) == [SECRET, b"", SECRET, b"", b"", SECRET]


async def test_law_3f_values_older_than_any_outcome_are_removed_whoever_they_are_of(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.open(10_000)
    spool = Spool(tmp_path / "spool")
    await spool.put(await settlement(desk))
    await spool.put(await settlement(desk))
    first, _ = sorted(spool.folder.glob("*.json"))
    weeks_ago_ns = time.time_ns() - (desk.ledger.settings.outcome_ttl_ms + 1_000) * 1_000_000
    first.rename(spool.folder / f"{weeks_ago_ns:020d}-{first.name.partition('-')[2]}")

    assert await SpoolErasure(spool.folder, desk.ledger).round() == 1
    assert spooled_outcomes(spool.folder) == [b"", SECRET]


async def test_law_3f_what_waits_in_memory_is_erased_too(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "ERASE_EVERY_S", 0.05)
    await desk.open(10_000)
    ending = await settlement(desk)
    books = await desk.client.hget(desk.key("account"), "books")
    await desk.grant(10)
    await desk.client.hset(desk.key("account"), "books", books)  # lost: the account is stopped
    folder = tmp_path / "spool"
    folder.write_text("not a folder")
    outbox = Outbox(desk.ledger, Spool(folder), replay_every_ms=50)
    outbox.close_soon(ending)
    await outbox.drain()
    await desk.ledger.erasure.begin(ACCOUNT, PERSON, "r-1")
    outbox.start()
    await asyncio.sleep(0.3)
    folder.unlink()
    await until(lambda: len(list(folder.glob("*.json"))) == 1)

    assert spooled_outcomes(folder) == [b""]
    await outbox.aclose()
