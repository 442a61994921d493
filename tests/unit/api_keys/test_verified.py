"""Verified keys in memory: how long they count, and what they cost, on a clock of the test's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.api_keys import verified
from runtime.api_keys.changes import Changed
from runtime.api_keys.keys import (
    ApiKey,
    Scope,
    VerifiedKey,
    new_key_id,
    new_key_text,
    parse_key,
)
from runtime.api_keys.verified import LONGEST_AGE_S, MOST_READS, VerifiedKeys
from runtime.redis.errors import RedisUnavailable
from runtime.store.database import StoreUnavailable


class Stores:
    """SQL and Redis as far as keys are concerned, with a clock, and both to be cut off."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.rows: dict[str, VerifiedKey] = {}
        self.reads = 0
        self.changes: list[str] = []
        self.sql_is_away = self.redis_is_away = False
        self.meanwhile: Any = lambda: None
        self.keys = VerifiedKeys(self.find, self, clock_s=lambda: self.now_s)  # type: ignore[arg-type]  # it reads alike

    def make(self, until_ms: int | None = None) -> str:
        text = new_key_text(new_key_id())
        key_id, secret_hash = parse_key(text) or ("", "")
        key = ApiKey(key_id, "acme", "test", frozenset([Scope.EXECUTE]))
        self.rows[secret_hash] = VerifiedKey(key, until_ms)
        return text

    def revoke(self, text: str) -> None:
        key_id, secret_hash = parse_key(text) or ("", "")
        del self.rows[secret_hash]
        self.changes.append(key_id)

    async def find(self, _: str, secret_hash: str) -> VerifiedKey | None:
        self.reads += 1
        if self.sql_is_away:
            raise StoreUnavailable("away")
        found = self.rows.get(secret_hash)
        await asyncio.sleep(0)
        self.meanwhile()
        return found

    async def read(self, place: str | None, _: float) -> Changed:
        if self.redis_is_away:
            raise RedisUnavailable("away")
        now = str(len(self.changes))
        return Changed(now, None if place is None else self.changes[int(place) :])

    async def holds(self, text: str) -> bool:
        return await self.keys.verify(text) is not None


async def test_a_key_is_read_once_for_all_of_its_requests() -> None:
    stores = Stores()
    text = stores.make()
    for _ in range(1_000):
        assert await stores.holds(text)
        stores.now_s += 0.005
    # Once more, because its first read began before the changes were watched.
    assert stores.reads <= 2


async def test_many_requests_of_a_key_at_once_read_it_once() -> None:
    stores = Stores()
    text = stores.make()
    assert all(await asyncio.gather(*(stores.holds(text) for _ in range(100))))
    assert stores.reads == 1


async def test_with_sql_away_a_key_counts_for_a_minute_and_then_cannot_be_told() -> None:
    stores = Stores()
    text = stores.make()
    assert await stores.holds(text)
    stores.now_s += 0.6
    assert await stores.holds(text)
    stores.sql_is_away = True
    for _ in range(int(LONGEST_AGE_S * 2) - 2):
        stores.now_s += 0.5
        assert await stores.holds(text)
    stores.now_s += 2
    with pytest.raises(StoreUnavailable):
        await stores.holds(text)
    with pytest.raises(StoreUnavailable):
        await stores.holds(stores.make())
    assert not await stores.holds("garbage")


async def test_with_redis_away_a_key_counts_for_half_a_second() -> None:
    stores = Stores()
    stores.redis_is_away = True
    text = stores.make()
    assert await stores.holds(text)
    stores.now_s += 0.4
    assert await stores.holds(text)
    assert stores.reads == 1
    stores.now_s += 0.2
    stores.revoke(text)
    assert not await stores.holds(text)
    assert stores.reads == 2


async def test_with_both_away_nobody_can_tell() -> None:
    stores = Stores()
    text = stores.make()
    assert await stores.holds(text)
    stores.sql_is_away = stores.redis_is_away = True
    stores.now_s += 1.0
    with pytest.raises(StoreUnavailable):
        await stores.holds(text)


async def test_a_revoked_key_is_refused_as_soon_as_the_change_is_read() -> None:
    stores = Stores()
    text = stores.make()
    for _ in range(4):
        assert await stores.holds(text)
        stores.now_s += 0.3
    stores.revoke(text)
    stores.now_s += 1.0
    assert not await stores.holds(text)


async def test_a_key_that_is_revoked_while_it_is_read_is_read_again() -> None:
    stores = Stores()
    other, text = stores.make(), stores.make()
    assert await stores.holds(other)
    stores.now_s += 0.6
    assert await stores.holds(other)

    def revoke() -> None:
        stores.meanwhile = lambda: None
        stores.revoke(text)
        stores.keys.forget([stores.changes[-1]])

    stores.meanwhile = revoke
    assert not await stores.holds(text)


async def test_where_redis_lost_the_changes_every_key_is_read_again() -> None:
    stores = Stores()
    text = stores.make()
    for _ in range(4):
        assert await stores.holds(text)
        stores.now_s += 0.6
    reads = stores.reads
    stores.revoke(text)
    stores.changes.clear()  # a failover that lost it
    stores.read = lost_once(stores.read)  # type: ignore[method-assign]
    stores.now_s += 1.0
    assert not await stores.holds(text)
    assert stores.reads == reads + 1


def lost_once(read: Any) -> Any:
    async def lost(_: str | None, within_s: float) -> Changed:
        return await read(None, within_s)  # type: ignore[no-any-return]

    return lost


async def test_a_key_ends_at_its_instant_though_it_was_verified_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores = Stores()
    text = stores.make(until_ms=5_000)
    monkeypatch.setattr(verified, "now_ms", lambda: 4_999)
    assert await stores.holds(text)
    monkeypatch.setattr(verified, "now_ms", lambda: 5_000)
    assert not await stores.holds(text)
    assert stores.reads == 1


async def test_a_refused_key_is_not_looked_for_again_at_once() -> None:
    stores = Stores()
    text = new_key_text(new_key_id())
    for _ in range(100):
        assert not await stores.holds(text)
    assert stores.reads == 1


async def test_law_15_what_is_remembered_of_keys_and_read_at_once_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores = Stores()
    monkeypatch.setattr(verified, "MOST_KNOWN", 10)
    monkeypatch.setattr(verified, "MOST_REFUSED", 10)
    texts = [stores.make() for _ in range(50)]
    for text in texts + [new_key_text(new_key_id()) for _ in range(50)]:
        await stores.holds(text)
    reads = stores.reads
    assert await stores.holds(texts[-1])
    assert stores.reads == reads
    assert await stores.holds(texts[0])
    assert stores.reads == reads + 1
    blocked, reading = asyncio.Event(), 0

    async def hang(_: str, __: str) -> None:
        nonlocal reading
        reading += 1
        await blocked.wait()

    keys = VerifiedKeys(hang, stores)  # type: ignore[arg-type]  # it reads alike
    waiting = [
        asyncio.create_task(keys.verify(new_key_text(new_key_id()))) for _ in range(MOST_READS)
    ]
    async with asyncio.timeout(10):
        while reading < MOST_READS:  # noqa: ASYNC110 - each looks at Redis before
            await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many"):
        await keys.verify(new_key_text(new_key_id()))
    blocked.set()
    assert await asyncio.gather(*waiting) == [None] * MOST_READS
