"""Sharing of histories between processes, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from runtime.background import Periodic
from runtime.learning.history import ENOUGH_TO_RESERVE, History, is_field
from runtime.redis.errors import RedisUnavailable
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client, bounded
from runtime.redis.script import Script, read_lua

_log = logging.getLogger("creditgate.learning")

SHARE_EVERY_S = 1.0
MOST_ANSWERS = 4_096
"""The most answers in a history; beyond it, all counts are halved."""

_DAY_S = 86_400
_LIFE_S = 30 * _DAY_S
_THIN_LIFE_S = _DAY_S
_MOST_TOPICS = 1_000


class LearningUnavailable(Exception):
    """Redis cannot be reached, or the history in it is damaged."""


class _Damaged(LearningUnavailable):
    """A damaged record of one topic; the others can be shared."""


@cache
def _script() -> Script:
    return Script.of(read_lua(__package__, "learn.lua"))


class Topic(NamedTuple):
    """The key of a history: a version of an action, named by its content, and a model."""

    action_id: str
    version: str
    model_id: str


@dataclass(slots=True)
class _Known:
    """One topic in this process: the last answer of Redis, and the counts not sent to it yet."""

    shared: History = field(default_factory=History)
    unshared: Counter[str] = field(default_factory=Counter)
    to_reserve: int | None = None
    used: bool = True

    @property
    def history(self) -> History:
        return self.shared.plus(self.unshared)

    def look_again(self) -> None:
        self.to_reserve = self.history.output_tokens_to_reserve()


class Learning:
    """Histories of the answers of actions, shared by all processes on the same Redis.

    Executions read and write the memory of this process only. Once a second, new counts are added
    to Redis and those of the other processes are read. While Redis is away, the last known
    histories stay in use.

    Args:
        timeout_ms: for each exchange with Redis.
    """

    def __init__(self, client: Client, keys: Keys, timeout_ms: int) -> None:
        self._client = client
        self._keys = keys
        self._timeout_s = timeout_ms / 1000
        self._known: dict[Topic, _Known] = {}
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._rounds = Periodic("sharing what was learned", self._share_when_wanted, SHARE_EVERY_S)
        self._away = False
        self._told: set[Topic] = set()

    def output_tokens_to_reserve(self, topic: Topic) -> int | None:
        """Return the output tokens to reserve, or ``None`` for the worst case."""
        return self._use(topic).to_reserve

    def note(self, topic: Topic, added: Mapping[str, int]) -> None:
        """Add an answer, as described by ``history.observed``."""
        known = self._use(topic)
        unshared = known.unshared
        for name, count in added.items():  # takes half the time of update()
            unshared[name] = unshared.get(name, 0) + count
        if "cut" in added:
            # At once: until the next round, others could be cut off for the same reason.
            known.look_again()

    async def history(self, topic: Topic) -> History:
        """Return the history of all processes, including what this one has not shared yet.

        Raises:
            LearningUnavailable: Redis cannot be reached, or the history in it is damaged.
        """
        known = self._use(topic)
        async with self._turn:
            await self._share(topic, known)
        return known.history

    def start(self) -> None:
        """Share every second until ``aclose``."""
        self._rounds.start()

    async def aclose(self) -> None:
        """Stop, and share what is left."""
        await self._rounds.aclose()
        await self.share()

    async def share(self) -> None:
        """Share what is new, after any sharing under way. While Redis is away, it is kept."""
        async with self._turn:
            await self._share_each()

    def _use(self, topic: Topic) -> _Known:
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= _MOST_TOPICS:
                # Actions that a host creates for each execution must not fill the memory.
                del self._known[next(iter(self._known))]
            known = self._known[topic] = _Known()
        known.used = True
        self._wanted.set()
        return known

    async def _share_when_wanted(self) -> None:
        await self._wanted.wait()
        self._wanted.clear()
        await self.share()

    async def _share_each(self) -> None:
        for topic, known in list(self._known.items()):
            if not known.used:
                continue
            try:
                await self._share(topic, known)
            except _Damaged as error:
                # Try again when it is used: until then, there is nothing new to share.
                known.used = False
                if topic not in self._told:
                    self._told.add(topic)
                    _log.warning("what was learned of answers is damaged: %s", error)
                continue
            except LearningUnavailable as error:
                self._wanted.set()
                if not self._away:
                    self._away = True
                    _log.warning("the lengths of answers cannot be shared now: %s", error)
                return
            self._told.discard(topic)
        self._away = False

    async def _share(self, topic: Topic, known: _Known) -> None:
        sent, known.unshared, known.used = known.unshared, Counter(), False
        key = self._keys.learned(*topic)
        added = [part for item in sent.items() for part in item]
        limits = (MOST_ANSWERS, ENOUGH_TO_RESERVE, _THIN_LIFE_S, _LIFE_S)
        try:
            async with bounded(self._timeout_s):
                told = await _script().run(self._client, [key], [*limits, *added])
        except BaseException as exc:
            # Redis may have added it anyway; counting an answer twice does no harm.
            known.unshared.update(sent)
            known.used = True
            if isinstance(exc, RedisUnavailable):
                raise LearningUnavailable(str(exc)) from exc
            raise
        kind, found = _text(told[0]), told[1]
        if kind == "too_much":
            # Kept, it would grow still more. Histories are only hints: no charge depends on them.
            raise _Damaged(
                f"{key}: the sum {_text(found)} grows too large; what was new is dropped"
            )
        if kind == "damaged":
            known.unshared.update(sent)
            raise _Damaged(f"{key} holds a field that is not a count ({_text(found)}): delete it")
        words = list(map(_text, found))
        pairs = zip(words[::2], words[1::2], strict=True)
        known.shared = History({name: int(count) for name, count in pairs if is_field(name)})
        known.look_again()


def _text(part: object) -> str:
    return part.decode(errors="replace") if isinstance(part, bytes) else str(part)
