"""Keys that were revoked or rotated, told to every process through Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runtime.redis.keys import Keys
from runtime.redis.primaries import Client, bounded

_KEPT = 1_000
_MOST_AT_ONCE = 100
_EMPTY = "0-0"


@dataclass(frozen=True, slots=True)
class Changed:
    """The changes up to a place in the stream.

    ``key_ids`` is ``None`` where changes may be missing: too many at once, or Redis lost some.
    """

    place: str
    key_ids: Sequence[str] | None


class KeyChanges:
    """A short stream of the ids of keys that changed.

    Args:
        client: owned by the caller.
        tell_within_s: the bound of telling a change.
    """

    def __init__(self, client: Client, keys: Keys, tell_within_s: float) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._key = keys.key_changes()
        self._tell_within_s = tell_within_s

    async def tell(self, key_id: str) -> None:
        """Tell every process that a key changed in SQL.

        Raises:
            RedisUnavailable: they may not have been told; they read SQL again within a minute.
        """
        async with bounded(self._tell_within_s):
            await self._client.xadd(self._key, {"key": key_id}, maxlen=_KEPT)

    async def read(self, place: str | None, within_s: float) -> Changed:
        """Return what changed since a place that an earlier answer named; ``None`` is before all.

        Raises:
            RedisUnavailable: it can't be reached, or did not answer in time.
        """
        async with bounded(within_s):
            if place is not None:
                # Its first entry is the place itself, unless the stream lost it.
                found = await self._client.xrange(self._key, min=place, count=_MOST_AT_ONCE + 2)
                ids = [_text(entry_id) for entry_id, _ in found]
                start = [_EMPTY, *ids] if place == _EMPTY else ids
                if start and start[0] == place and len(start) <= _MOST_AT_ONCE + 1:
                    names = [_text(fields.get(b"key", b"")) for _, fields in found]
                    return Changed(start[-1], names if place == _EMPTY else names[1:])
            newest = await self._client.xrevrange(self._key, count=1)
        return Changed(_text(newest[0][0]) if newest else _EMPTY, None)


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
