"""Keys that were verified lately, so that a request needs neither SQL nor Redis.

A key that was read in SQL counts for a minute at most, and only while this process knows that
nobody changed it since: it reads the changes in Redis more than twice a second. Where it can't, a
key counts for half a second. So a request that begins a second after a revocation was answered is
refused by every process, whichever store is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar

from runtime.api_keys.changes import KeyChanges
from runtime.api_keys.keys import ApiKey, VerifiedKey, now_ms, parse_key
from runtime.background import Periodic
from runtime.redis.errors import RedisUnavailable
from runtime.store.database import StoreError, StoreUnavailable

_log = logging.getLogger("creditgate.api_keys")

LONGEST_AGE_S = 60.0
"""The longest that a key counts after it was read in SQL."""

MOST_KNOWN = 10_000
MOST_REFUSED = 10_000
MOST_READS = 100
"""The most reads of keys in SQL at once; what is more is told to come again."""

_UNWATCHED_AGE_S = 0.5
_WATCH_EVERY_S = 0.4
_WATCH_WITHIN_S = 0.4
_WATCHED_FOR_S = 0.9
_IDLE_AFTER_S = 2.0
_AGAIN_AFTER_S = 10.0
_REFUSED_FOR_S = 10.0
_READ_WITHIN_S = 2.0
_TRIES = 3

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Known:
    verified: VerifiedKey
    read_s: float


@dataclass(slots=True)
class _Reading:
    key_id: str
    task: asyncio.Task[_Known | None] = field(init=False)
    is_stale: bool = False


class VerifiedKeys:
    """Verifies keys, from memory where it can.

    Args:
        find: reads a key in SQL, by its id and hash.
    """

    def __init__(
        self,
        find: Callable[[str, str], Awaitable[VerifiedKey | None]],
        changes: KeyChanges,
        *,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        self._find = find
        self._clock_s = clock_s
        self._changes = changes
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._refused: OrderedDict[str, float] = OrderedDict()
        self._reading: dict[str, _Reading] = {}
        self._used: set[str] = set()
        self._place: str | None = None
        self._watched_s = self._failed_s = self._asked_s = float("-inf")
        self._whole_since_s = float("inf")
        self._looking: asyncio.Task[None] | None = None
        self._watch = Periodic("reading which keys changed", self._look_if_used, _WATCH_EVERY_S)

    def start(self) -> None:
        """Watch for changes until ``aclose``."""
        self._watch.start()

    async def aclose(self) -> None:
        """Stop."""
        await self._watch.aclose()
        tasks = [one.task for one in self._reading.values()]
        tasks += [] if self._looking is None else [self._looking]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)

    async def verify(self, text: str) -> ApiKey | None:
        """Return the key of this text; ``None`` if there is none, or no longer.

        Raises:
            StoreUnavailable: the database can't be reached, and the key is not known well enough.
        """
        parsed = parse_key(text)
        if parsed is None:
            return None
        key_id, secret_hash = parsed
        self._asked_s = self._clock_s()
        if self._refused.get(secret_hash, 0.0) > self._asked_s:
            return None
        verified = await self._verified(key_id, secret_hash)
        if verified is None or verified.is_over(now_ms()):
            return None
        if len(self._used) < MOST_KNOWN:
            self._used.add(key_id)
        return verified.key

    def forget(self, key_ids: Collection[str]) -> None:
        """Read these keys in SQL again before they count."""
        for secret_hash in [
            name for name, one in self._known.items() if one.verified.key.key_id in key_ids
        ]:
            del self._known[secret_hash]
        for reading in self._reading.values():
            reading.is_stale |= reading.key_id in key_ids

    def take_used(self) -> set[str]:
        """Return the ids of the keys that were used since the last call."""
        used, self._used = self._used, set()
        return used

    async def _verified(self, key_id: str, secret_hash: str) -> VerifiedKey | None:
        known = self._known.get(secret_hash)
        for _ in range(_TRIES):
            if known is not None:
                if not self._counts(known) and self._may_look():
                    await self._look()
                    known = self._known.get(secret_hash)
                if known is not None and self._counts(known):
                    self._keep_fresh(key_id, secret_hash, known)
                    return known.verified
            # Before the key is read, or it would not count once the watch has begun.
            if self._clock_s() - self._watched_s > _WATCHED_FOR_S and self._may_look():
                await self._look()
            known = await self._read(key_id, secret_hash)
            if known is None:
                return None
        raise StoreUnavailable("the database answers too late to tell whether the key is in force")

    def _counts(self, known: _Known) -> bool:
        now_s = self._clock_s()
        age_s = now_s - known.read_s
        if age_s <= _UNWATCHED_AGE_S:
            return True
        return (
            age_s <= LONGEST_AGE_S
            and known.read_s >= self._whole_since_s
            and now_s - self._watched_s <= _WATCHED_FOR_S
        )

    def _keep_fresh(self, key_id: str, secret_hash: str, known: _Known) -> None:
        if secret_hash in self._known:
            self._known.move_to_end(secret_hash)
        is_old = self._clock_s() - known.read_s > _AGAIN_AFTER_S
        if is_old and secret_hash not in self._reading and len(self._reading) < MOST_READS:
            self._begin_read(key_id, secret_hash)

    async def _read(self, key_id: str, secret_hash: str) -> _Known | None:
        reading = self._reading.get(secret_hash)
        if reading is None:
            if len(self._reading) >= MOST_READS:
                raise StoreUnavailable("too many keys are being verified")
            reading = self._begin_read(key_id, secret_hash)
        try:
            async with asyncio.timeout(_READ_WITHIN_S):
                # A caller who goes away does not end it for the others.
                return await asyncio.shield(reading.task)
        except TimeoutError:
            raise StoreUnavailable("the database did not answer in time") from None

    def _begin_read(self, key_id: str, secret_hash: str) -> _Reading:
        reading = self._reading[secret_hash] = _Reading(key_id)
        reading.task = asyncio.create_task(self._fetch(reading, secret_hash))
        reading.task.add_done_callback(lambda task: self._end_read(secret_hash, task))
        return reading

    def _end_read(self, secret_hash: str, task: asyncio.Task[_Known | None]) -> None:
        del self._reading[secret_hash]
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.DEBUG if isinstance(error, StoreError) else logging.ERROR
            _log.log(level, "a key could not be verified: %s", type(error).__name__)

    async def _fetch(self, reading: _Reading, secret_hash: str) -> _Known | None:
        for _ in range(_TRIES):
            reading.is_stale = False
            began_s = self._clock_s()
            verified = await self._find(reading.key_id, secret_hash)
            if verified is None:
                _put(self._refused, secret_hash, self._clock_s() + _REFUSED_FOR_S, MOST_REFUSED)
                self._known.pop(secret_hash, None)
                return None
            if not reading.is_stale:
                known = _Known(verified, began_s)
                _put(self._known, secret_hash, known, MOST_KNOWN)
                return known
        raise StoreUnavailable("the key changes too often to be verified")

    def _may_look(self) -> bool:
        # Where Redis did not answer just now, requests don't wait for it: the watch tries again.
        return self._failed_s < self._watched_s or self._clock_s() - self._failed_s > _IDLE_AFTER_S

    async def _look_if_used(self) -> None:
        if self._clock_s() - self._asked_s < _IDLE_AFTER_S:
            await self._look()

    async def _look(self) -> None:
        if self._looking is None:
            self._looking = asyncio.create_task(self._read_changes())
            self._looking.add_done_callback(self._end_look)
        await asyncio.shield(self._looking)

    def _end_look(self, _: asyncio.Task[None]) -> None:
        self._looking = None

    async def _read_changes(self) -> None:
        began_s = self._clock_s()
        try:
            changed = await self._changes.read(self._place, _WATCH_WITHIN_S)
        except RedisUnavailable as error:
            self._failed_s = self._clock_s()
            _log.debug("which keys changed can't be read: %s", error)
            return
        self._place = changed.place
        if changed.key_ids is None:
            self._whole_since_s = began_s
            for reading in self._reading.values():
                reading.is_stale = True
        elif changed.key_ids:
            self.forget(frozenset(changed.key_ids))
        self._watched_s = began_s


def _put(kept: OrderedDict[str, _T], name: str, value: _T, most: int) -> None:
    kept[name] = value
    kept.move_to_end(name)
    while len(kept) > most:
        kept.popitem(last=False)
