"""Revocations, as processes of their own see them; and what holds while a store is away."""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from runtime.api_keys.api_keys import ApiKeys
from runtime.api_keys.errors import ChangeNotTold, TooManyApiKeys
from runtime.api_keys.keys import Scope
from runtime.store.database import StoreUnavailable
from tests.harness.key_process import CutStore, open_keys
from tests.harness.paths import ROOT
from tests.harness.private_redis import PrivateRedis

NOBODY = "redis://127.0.0.1:1"
MOST_S = 1.0


class Verifying:
    """A process that verifies a key all the time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.found: list[tuple[float, str]] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *arguments: str) -> Verifying:
        command = (sys.executable, "-m", "tests.harness.key_process", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        return cls(process)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            began, found = line.decode().split()
            self.found.append((float(began), found))

    async def accepts(self) -> None:
        async with asyncio.timeout(30):
            while not self.found or self.found[-1][1] != "yes":
                assert self._process.returncode is None
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._process.kill()
        await self._process.wait()
        await self._reading


@pytest.fixture
def store(tmp_path: Path) -> CutStore:
    return CutStore(tmp_path / "keys.db")


@pytest_asyncio.fixture
async def keys(store: CutStore, redis_url: str, key_prefix: str) -> AsyncIterator[ApiKeys]:
    async with open_keys(store, redis_url, key_prefix) as opened:
        yield opened


async def make(keys: ApiKeys) -> str:
    _, text = await keys.make(
        account_id="acme", name="test", scopes=[Scope.EXECUTE], created_by="test"
    )
    return text


@pytest.mark.long
@pytest.mark.parametrize("how", ["revoked", "rotated"])
async def test_no_process_takes_a_request_a_second_after_the_answer(
    keys: ApiKeys, tmp_path: Path, redis_url: str, key_prefix: str, how: str
) -> None:
    text = await make(keys)
    database = str(tmp_path / "keys.db")
    processes = [
        await Verifying.start(database, redis_url, key_prefix, text),
        await Verifying.start(database, redis_url, key_prefix, text),
        await Verifying.start(database, NOBODY, key_prefix, text),  # Redis is away for this one
        await Verifying.start(database, redis_url, key_prefix, text, "no-sql"),
    ]
    try:
        for process in processes:
            await process.accepts()
        await asyncio.sleep(1.5)
        key_id = text.split("_")[1]
        if how == "revoked":
            await keys.revoke("acme", key_id)
        else:
            await keys.rotate("acme", key_id)
        answered_s = time.monotonic()
        await asyncio.sleep(2.5)
    finally:
        for process in processes:
            await process.stop()
    for number, process in enumerate(processes):
        before = [found for began, found in process.found if began < answered_s - 0.5]
        after = [found for began, found in process.found if began > answered_s + MOST_S]
        assert before.count("yes") > 50, number
        assert len(after) > 50, number
        assert "yes" not in after, number
    # Those that reach SQL know; the one that does not can't tell.
    assert {process.found[-1][1] for process in processes[:3]} == {"no"}
    assert processes[3].found[-1][1] == "unknown"


async def test_a_key_in_use_asks_no_database(keys: ApiKeys, store: CutStore) -> None:
    text = await make(keys)
    assert await keys.verify(text)
    await asyncio.sleep(0.6)
    assert await keys.verify(text)
    asked = store.asked
    for _ in range(200):
        assert await keys.verify(text)
        await asyncio.sleep(0.005)
    assert store.asked == asked


async def test_with_sql_away_known_keys_go_on_and_unknown_ones_cannot_be_told(
    keys: ApiKeys, store: CutStore
) -> None:
    known, unknown = await make(keys), await make(keys)
    assert await keys.verify(known)
    await asyncio.sleep(0.6)
    assert await keys.verify(known)
    store.is_away = True
    await asyncio.sleep(0.6)
    assert await keys.verify(known)
    with pytest.raises(StoreUnavailable):
        await keys.verify(unknown)
    with pytest.raises(StoreUnavailable):
        await keys.revoke("acme", known.split("_")[1])
    assert await keys.verify(known), "what was not revoked must count"
    store.is_away = False
    assert await keys.verify(unknown)


async def test_with_redis_away_a_revocation_says_that_it_is_not_told_and_a_repeat_tells(
    tmp_path: Path, private_redis: PrivateRedis
) -> None:
    store, second = CutStore(tmp_path / "keys.db"), CutStore(tmp_path / "keys.db")
    async with (
        open_keys(store, private_redis.url, "k") as keys,
        open_keys(second, private_redis.url, "k") as other,
    ):
        text = await make(keys)
        assert await keys.verify(text)
        assert await other.verify(text)
        await private_redis.stop()
        with pytest.raises(ChangeNotTold):
            await keys.revoke("acme", text.split("_")[1])
        assert await keys.verify(text) is None
        # The other one can't read changes: it reads SQL again.
        await asyncio.sleep(1)
        assert await other.verify(text) is None
        await private_redis.start()
        assert (await keys.revoke("acme", text.split("_")[1])).revoked_ms is not None


async def test_with_both_away_no_key_can_be_told(
    tmp_path: Path, private_redis: PrivateRedis
) -> None:
    store = CutStore(tmp_path / "keys.db")
    async with open_keys(store, private_redis.url, "k") as keys:
        text = await make(keys)
        assert await keys.verify(text)
        store.is_away = True
        private_redis.pause()
        await asyncio.sleep(1)
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await keys.verify(text)
        assert time.monotonic() - began_s < MOST_S
        private_redis.resume()


async def test_a_rotation_without_redis_gives_the_secret_and_says_how_long_the_old_one_may_count(
    tmp_path: Path, private_redis: PrivateRedis
) -> None:
    store = CutStore(tmp_path / "keys.db")
    async with open_keys(store, private_redis.url, "k") as keys:
        text = await make(keys)
        await private_redis.stop()
        record, new = await keys.rotate("acme", text.split("_")[1])
        until_ms = record.previous_until_ms
        assert until_ms is not None
        assert until_ms > time.time() * 1000 + 50_000
        assert await keys.verify(new)
        assert await keys.verify(text) is None


async def test_a_wrong_secret_and_an_unknown_key_take_the_same_work(
    keys: ApiKeys, store: CutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    compare = hmac.compare_digest

    def count(one: str, two: str) -> bool:
        compared.append((len(one), len(two)))
        return compare(one, two)

    text = await make(keys)
    swapped = text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB")
    unknown = f"cgk_{'0' * 16}_{text.split('_', 2)[2]}"
    monkeypatch.setattr(hmac, "compare_digest", count)
    work = []
    for wrong in (swapped, unknown):
        asked = store.asked
        compared.clear()
        assert await keys.verify(wrong) is None
        work.append((store.asked - asked, list(compared)))
    assert work[0] == work[1] == (1, [(64, 64), (64, 64)])


async def test_law_15_an_account_has_a_bounded_number_of_keys_in_force(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.api_keys import stored

    monkeypatch.setattr(stored, "MOST_KEYS", 2)
    first, _ = await make(keys), await make(keys)
    with pytest.raises(TooManyApiKeys):
        await make(keys)
    await keys.revoke("acme", first.split("_")[1])
    assert await make(keys)


async def test_the_last_use_is_written_at_the_end_in_one_statement(
    tmp_path: Path, redis_url: str, key_prefix: str
) -> None:
    store = CutStore(tmp_path / "keys.db")
    async with open_keys(store, redis_url, key_prefix) as keys:
        texts = [await make(keys) for _ in range(3)]
        for text in texts[:2]:
            for _ in range(5):
                assert await keys.verify(text)
        asked = store.asked
        before_ms = time.time() * 1000
    assert store.asked == asked + 1
    again = CutStore(tmp_path / "keys.db")
    async with open_keys(again, redis_url, key_prefix) as keys:
        used = {one.key.key_id: one.used_ms for one in await keys.page("acme")}
    assert [used[text.split("_")[1]] is not None for text in texts] == [True, True, False]
    assert all(ms is None or ms >= before_ms - 1 for ms in used.values())
