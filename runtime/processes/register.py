"""Tells other processes which configuration this one runs, and the log if theirs differ."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time

from runtime.background import Periodic, TaskSet
from runtime.processes.running import (
    MOST_PROCESSES,
    Running,
    exchange,
    exchange_schemas,
    other_versions,
)
from runtime.redis.errors import RedisUnavailable, described
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client, bounded

_log = logging.getLogger("creditgate.processes")

BEAT_EVERY_S = 30.0
LASTING_S = 120.0
"""A difference that is shorter is a rollout."""

_SPREAD = 0.3


class Register:
    """Writes this process to Redis about twice a minute, and reads which others run.

    Nothing depends on it: while Redis is away it does nothing.

    Args:
        client: owned by the caller.
        timeout_ms: of each exchange with Redis.
        version: of the configuration in force.
        schema: the highest that this process reads.
    """

    def __init__(
        self, client: Client, keys: Keys, timeout_ms: int, version: str, schema: int
    ) -> None:
        self._client = client
        self._keys = keys
        self._timeout_s = timeout_ms / 1000
        self._process = secrets.token_hex(8)
        self._reads = f"{self._process} {schema}"
        self._host = socket.gethostname()
        self._own = self._running(version)
        self._written = ""
        self._is_reached = False
        self._writing = asyncio.Lock()
        # By version of others: when it was first seen beside our own, by our own clock.
        self._seen_s: dict[str, float] = {}
        self._told: set[tuple[str, str]] = set()
        self._tasks = TaskSet()
        self._rounds = Periodic(
            "telling the configuration", self.beat, BEAT_EVERY_S, spread=_SPREAD
        )

    def start(self) -> None:
        """Write this process now, and about twice a minute until ``aclose``."""
        self._rounds.start()

    async def aclose(self) -> None:
        """Stop, and take this process out."""
        await self._rounds.aclose()
        await self._tasks.cancel()
        if self._is_reached:
            try:
                async with bounded(self._timeout_s):
                    await self._client.zrem(self._keys.processes(), self._written)
                    await self._client.zrem(self._keys.schemas(), self._reads)
            except RedisUnavailable as error:
                _log.debug("this process stays listed until it counts as silent: %s", error)

    def change(self, version: str) -> None:
        """Tell others that this process runs another version from now on."""
        if version != self._own.version:
            self._own = self._running(version)
            self._seen_s.clear()
        self._tasks.start(self.beat())

    async def beat(self) -> None:
        """Write this process, read which others run, and log a difference that lasts."""
        async with self._writing:
            own = self._own
            try:
                # First, so that it is never taken for a process of release 0.1.
                await exchange_schemas(self._client, self._keys, self._timeout_s, self._reads)
                running = await exchange(
                    self._client, self._keys, self._timeout_s, own.member, self._replaced(own)
                )
            except Exception as error:  # noqa: BLE001 - redis-py raises more than its own errors
                self._is_reached = False
                _log.debug("which configuration runs is not told this time: %s", described(error))
                return
            self._written, self._is_reached = own.member, True
        if own is self._own:
            self._compare(running)

    def _replaced(self, own: Running) -> str:
        return self._written if self._written != own.member else ""

    def _running(self, version: str) -> Running:
        return Running(self._process, version, int(time.time() * 1000), self._host)

    def _compare(self, running: list[Running]) -> None:
        now_s = time.monotonic()
        version = self._own.version
        others = other_versions(running, version)
        self._seen_s = {one.version: self._seen_s.get(one.version, now_s) for one in others}
        for one in others:
            pair = (version, one.version)
            lasts_s = now_s - self._seen_s[one.version]
            if lasts_s < LASTING_S or pair in self._told:
                continue
            if len(self._told) >= MOST_PROCESSES:
                self._told.clear()
            self._told.add(pair)
            _log.warning(
                "%s, and this process %s, for %.0f minutes now: reload or restart those with the "
                "old one",
                one.text,
                version,
                lasts_s / 60,
            )
