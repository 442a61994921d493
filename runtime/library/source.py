"""The published actions of accounts, as executions find them."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from time import monotonic

from runtime.actions.source import ActionSource, ActionSourceUnavailable, UnknownAction
from runtime.actions.spec import ActionSpec
from runtime.library.records import RecordDamaged, Records, spec_of
from runtime.redis.errors import RedisUnavailable

FRESH_S = 0.5
"""The time for which a process runs a version without asking whether it is still current."""
MOST_KNOWN = 10_000
"""The most actions of which a process remembers the version that is current."""
MOST_SPECS = 1_000
MOST_SPEC_BYTES = 33_554_432
"""The most versions that a process remembers, and the most bytes of their contents together."""

_WAIT_S = 0.25
"""The time that an execution waits for Redis while memory has a version of the action."""
_AWAY_S = 1.0
_MOST_TOLD = 1_000

_log = logging.getLogger("creditgate.library")

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Known:
    """The current version of an action; ``None`` if the account has none of its own."""

    version: str | None
    checked_s: float


class LibraryActions:
    """An account's own published actions; ``above`` puts them before those of the configuration.

    An execution reads this process's memory. Twice a second, the next one of an action asks Redis
    for the version that is current now. SQL is never asked. While Redis is away, or what it holds
    is damaged, the versions in memory go on.

    Args:
        on_gap: called where Redis lacks what it should have, so that it is written again.
    """

    def __init__(self, records: Records, on_gap: Callable[[str, str], object]) -> None:
        self._records = records
        self._on_gap = on_gap
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._specs = _Specs()
        self._asking: dict[_Key, asyncio.Task[_Known]] = {}
        self._away_until_s = 0.0
        self._told: dict[_Key | None, str] = {}

    def above(self, configured: ActionSource) -> ActionSource:
        """Return a source that asks this one first, and then the configuration's."""
        return _Above(self, configured)

    async def get(self, account_id: str, action_id: str, version: str | None = None) -> ActionSpec:
        """Return one of the account's own actions.

        A version that is no longer current is found for 30 days.

        Raises:
            UnknownAction: the account has published none with this id, or no such version.
            ActionSourceUnavailable: nobody can tell now.
        """
        spec = await self.find(account_id, action_id, version)
        if spec is None:
            raise UnknownAction(action_id, version)
        return spec

    async def find(
        self, account_id: str, action_id: str, version: str | None = None
    ) -> ActionSpec | None:
        """Return one of the account's own actions, ``None`` where ``get`` finds it unknown.

        Raises:
            ActionSourceUnavailable: nobody can tell now.
        """
        key = (account_id, action_id)
        known = self._known.get(key)
        if version is None:
            if known is None or monotonic() - known.checked_s > FRESH_S:
                known = await self._checked(key, known)
            version = known.version
            if version is None:
                return None
            self._known.move_to_end(key)
        spec = self._specs.get((*key, version))
        if spec is None:
            spec = await self._load(key, version)
        if spec is None and (await self._ask(key)).version == version:
            raise self._gap(key, "Redis has lost its content")
        return spec

    def look_again(self, account_id: str, action_id: str) -> None:
        """Let the next execution of an action ask Redis: this process published it."""
        key = (account_id, action_id)
        if key in self._known:
            self._known[key] = replace(self._known[key], checked_s=-inf)

    async def aclose(self) -> None:
        """Ask Redis nothing more."""
        for asking in list(self._asking.values()):
            asking.cancel()

    # The current version

    async def _checked(self, key: _Key, known: _Known | None) -> _Known:
        """Return the version that is current by Redis, or by memory while Redis can't tell."""
        if monotonic() < self._away_until_s:
            if known is None:
                raise ActionSourceUnavailable(_away_text(key[1]))
            return known
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key))
            asking.add_done_callback(lambda done: self._asked(key, done))
        # Not cancelled with one of the executions that wait for it.
        done, _ = await asyncio.wait([asking], timeout=None if known is None else _WAIT_S)
        if known is not None and (not done or asking.exception() is not None):
            return known
        return asking.result()

    def _asked(self, key: _Key, done: asyncio.Task[_Known]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # nobody may be left who waits for it

    async def _ask(self, key: _Key) -> _Known:
        """Ask Redis for the current version, and for its content where memory lacks it."""
        asked_s = monotonic()
        try:
            found = await self._records.pointer(*key)
        except RedisUnavailable as error:
            raise self._away(key, error) from error
        except RecordDamaged as error:
            raise self._gap(key, str(error)) from error
        if found.pointer is None:
            if not found.is_complete:
                raise self._gap(key, "Redis has lost published actions")
            return self._remember(key, _Known(None, asked_s))
        version = found.pointer.version
        if (*key, version) not in self._specs and await self._load(key, version) is None:
            raise self._gap(key, "Redis has lost its content")
        return self._remember(key, _Known(version, asked_s))

    def _remember(self, key: _Key, known: _Known) -> _Known:
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        self._told.pop(key, None)
        self._told.pop(None, None)
        return known

    # Contents

    async def _load(self, key: _Key, version: str) -> ActionSpec | None:
        """Return a version's spec from Redis, ``None`` if it has none."""
        try:
            content = await self._records.content(*key, version)
        except RedisUnavailable as error:
            raise self._away(key, error) from error
        except RecordDamaged as error:
            raise self._gap(key, str(error)) from error
        if content is None:
            return None
        try:
            spec = await asyncio.to_thread(spec_of, content)
        except ValueError as error:
            raise self._gap(key, f"its content in Redis {error}") from error
        if (spec.id, spec.version) != (key[1], version):
            raise self._gap(key, "its content in Redis is that of another version")
        self._specs.put((*key, version), spec, len(content))
        return spec

    # Faults

    def _away(self, key: _Key, error: RedisUnavailable) -> ActionSourceUnavailable:
        self._away_until_s = monotonic() + _AWAY_S
        self._tell(None, f"published actions are run as this process knows them: {error}")
        return ActionSourceUnavailable(_away_text(key[1]))

    def _gap(self, key: _Key, what: str) -> ActionSourceUnavailable:
        """Let the record be written again from SQL."""
        self._on_gap(*key)
        account_id, action_id = key
        self._tell(key, f"action {action_id!r} of account {account_id!r}: {what}")
        return ActionSourceUnavailable(
            f"action {action_id!r} can't be run now: {what}; it is written again as soon as the "
            "database can be reached"
        )

    def _tell(self, key: _Key | None, text: str) -> None:
        if key not in self._told:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            self._told[key] = text
            _log.error("%s", text)


class _Above:
    """An account's own actions, then the configuration's."""

    def __init__(self, library: LibraryActions, configured: ActionSource) -> None:
        self._library = library
        self._configured = configured

    async def get(self, account_id: str, action_id: str, version: str | None = None) -> ActionSpec:
        """Return the action, as ``ActionSource`` says."""
        spec = await self._library.find(account_id, action_id, version)
        if spec is not None:
            return spec
        return await self._configured.get(account_id, action_id, version)


class _Specs:
    """The versions that were used last, within a bound of their number and of their bytes."""

    def __init__(self) -> None:
        self._specs: OrderedDict[tuple[str, str, str], tuple[ActionSpec, int]] = OrderedDict()
        self._size = 0

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        return key in self._specs

    def get(self, key: tuple[str, str, str]) -> ActionSpec | None:
        found = self._specs.get(key)
        if found is None:
            return None
        self._specs.move_to_end(key)
        return found[0]

    def put(self, key: tuple[str, str, str], spec: ActionSpec, size: int) -> None:
        _, before = self._specs.pop(key, (None, 0))
        self._specs[key] = (spec, size)
        self._size += size - before
        while len(self._specs) > MOST_SPECS or (
            self._size > MOST_SPEC_BYTES and len(self._specs) > 1
        ):
            _, (_, dropped) = self._specs.popitem(last=False)
            self._size -= dropped


def _away_text(action_id: str) -> str:
    return f"action {action_id!r} is not in this process's memory, and Redis can't be asked for it"
