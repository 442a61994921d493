"""Published actions in Redis: a pointer to each current version, and contents.

Records are not trusted: they are bounded when they are read, and a content must have the version
that names it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from runtime.actions.spec import ActionSpec
from runtime.redis.errors import RedisUnavailable
from runtime.redis.keys import BUCKETS, Keys, bucket_of
from runtime.redis.primaries import Client, bounded
from runtime.redis.script import Script, read_lua

MOST_CONTENT_BYTES = 524_288
"""The most bytes of a version's content in Redis: a draft's bound, and room for its defaults."""
KEEP_BEFORE_S = 30 * 86_400
"""The time for which Redis keeps a version that is no longer current."""

_MOST_POINTER_BYTES = 100
_POINTER = re.compile(r"([0-9]{1,16});([0-9a-f]{12})")
_TRIES = 5


class RecordDamaged(Exception):
    """A record in Redis is not what was written. The message names its key."""


class Pointer(NamedTuple):
    """The current version of an action; a later publication has a higher revision."""

    revision: int
    version: str

    @property
    def text(self) -> str:
        """The pointer as Redis holds it."""
        return f"{self.revision};{self.version}"


@dataclass(frozen=True, slots=True)
class Found:
    """A pointer, and whether Redis has those of the account's other published actions too."""

    pointer: Pointer | None
    is_complete: bool


@cache
def _read() -> Script:
    return Script.of(read_lua(__package__, "read.lua"))


@cache
def _write() -> Script:
    return Script.of(read_lua(__package__, "write.lua"))


def spec_of(text: str | bytes) -> ActionSpec:
    """Return the spec of a stored content.

    Raises:
        ValueError: it is not the content of an action.
    """
    try:
        return ActionSpec.model_validate(json.loads(text))
    except (ValidationError, RecursionError) as error:
        raise ValueError("is not the content of an action") from error


def content_of(spec: ActionSpec) -> str:
    """Return the content of a version, as it is stored. The order of its outputs is kept."""
    return json.dumps(spec.to_json(), separators=(",", ":"))


class Records:
    """The published actions in Redis.

    Args:
        timeout_ms: of each exchange.

    Raises (all methods):
        RedisUnavailable: Redis can't be reached.
    """

    def __init__(self, client: Client, keys: Keys, timeout_ms: int) -> None:
        self._client = client
        self._keys = keys
        self._timeout_s = timeout_ms / 1000

    async def pointer(self, account_id: str, action_id: str) -> Found:
        """Return the pointer of an action.

        Raises:
            RecordDamaged: the record is none.
        """
        is_marked, text = await self._read_pointer(account_id, action_id)
        if not text:
            return Found(None, is_marked)
        found = _POINTER.fullmatch(text)
        if found is None:
            raise RecordDamaged(f"{self._keys.action(account_id, action_id)} is damaged")
        return Found(Pointer(int(found[1]), found[2]), is_marked)

    async def content(self, account_id: str, action_id: str, version: str) -> bytes | None:
        """Return the content of a version, ``None`` if Redis has none.

        Raises:
            RecordDamaged: the record is none, or too long.
        """
        key = self._keys.action_version(account_id, action_id, version)
        asked: Any = self._client
        try:
            async with bounded(self._timeout_s):
                text: bytes | str = await asked.getrange(key, 0, MOST_CONTENT_BYTES)
        except RedisUnavailable as error:
            if str(error.__cause__).startswith("WRONGTYPE"):
                raise RecordDamaged(f"{key} is no text") from error
            raise
        content = text.encode() if isinstance(text, str) else text
        if len(content) > MOST_CONTENT_BYTES:
            raise RecordDamaged(f"{key} has more than {MOST_CONTENT_BYTES:,} bytes")
        return content or None

    async def write(self, account_id: str, action_id: str, pointer: Pointer, content: str) -> None:
        """Make a version the current one, unless a later publication is there."""
        for _ in range(_TRIES):
            _, text = await self._read_pointer(account_id, action_id)
            found = _POINTER.fullmatch(text)
            if found is not None and int(found[1]) > pointer.revision:
                return
            version = self._keys.action_version(account_id, action_id, pointer.version)
            before = found[2] if found is not None else pointer.version
            keys = [
                self._keys.action(account_id, action_id),
                version,
                self._keys.action_version(account_id, action_id, before),
            ]
            expected = text if found is not None or not text else "!"
            arguments: list[str | int] = [expected, pointer.text, content, KEEP_BEFORE_S * 1000]
            async with bounded(self._timeout_s):
                if int(await _write().run(self._client, keys, arguments)):
                    return
        raise RedisUnavailable("the action's record is changed by others all the time")

    async def unmarked(self) -> set[int]:
        """Return the buckets of which Redis may lack published actions."""
        numbers = range(BUCKETS)
        found = await self._each(("EXISTS", self._keys.library(n)) for n in numbers)
        return {n for n, there in zip(numbers, found, strict=True) if not int(there)}

    async def mark(self, numbers: Collection[int]) -> None:
        """Note that Redis has all published actions of these buckets."""
        await self._each(("SET", self._keys.library(n), "1") for n in sorted(numbers))

    async def _read_pointer(self, account_id: str, action_id: str) -> tuple[bool, str]:
        keys = [
            self._keys.library(bucket_of(account_id)),
            self._keys.action(account_id, action_id),
        ]
        async with bounded(self._timeout_s):
            is_marked, text = await _read().run(self._client, keys, [_MOST_POINTER_BYTES])
        shown = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        return bool(int(is_marked)), shown

    async def _each(self, commands: Iterable[tuple[str, ...]]) -> list[Any]:
        async with bounded(max(self._timeout_s, _BATCH_S)):
            pipeline: Any = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            found: list[Any] = await pipeline.execute()
            return found


_BATCH_S = 5.0
