"""Checks at start: the servers, their clocks, and the installation that the data belongs to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from runtime.credits import durability
from runtime.credits.results import LedgerError, LedgerUnavailable
from runtime.credits.schema import NEWEST, schema_of
from runtime.credits.script_client import plain_commands
from runtime.credits.settings import LedgerSettings
from runtime.credits.watch import Watch
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client, Primary, primaries

_log = logging.getLogger("creditgate.ledger")
_OLDEST = (6, 2)
_OLDEST_WORDS = "Redis or Valkey 6.2 or newer"

OnFirst = Callable[[], Awaitable[bool]]


async def begin() -> bool:
    """Take a Redis without data for one that nothing was ever stored in."""
    return True


class Installation:
    """The servers and the data that this process finds under its prefix."""

    def __init__(self, client: Client, keys: Keys, settings: LedgerSettings, watch: Watch) -> None:
        self._watch = watch
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._settings = settings
        self._timeout_s = settings.timeout_ms / 1000

    async def check(self, key_check: str, on_first: OnFirst) -> None:
        """Check the servers and their clocks, and store or compare bucket count and key check.

        A new installation begins with the newest schema.

        Args:
            on_first: awaited where Redis has no key check: nothing was ever stored, or all was
                lost. Returns whether to store it; what it raises ends the start.

        Raises:
            LedgerError: a server is too old, not of the configured kind or not as durable as it is
                to be, or the data under this prefix belongs to another installation key or is of
                a newer schema.
            LedgerUnavailable: Redis can't be reached.
        """
        name = self._keys.installation
        await self._check_servers()
        try:
            await self._watch.look()
        except LedgerUnavailable:
            if not isinstance(self._client, RedisCluster):
                raise
        async with plain_commands(self._timeout_s):
            is_first = not await self._client.hexists(name, "key_check")
        if is_first:
            if not await on_first():
                return
            await self.store(key_check)
        async with plain_commands(self._timeout_s):
            items = ("buckets", "key_check", "schema")
            *stored, stored_schema = await self._client.hmget(name, items)
        buckets, stored_check = (_text(value or "") for value in stored)
        schema = _schema(name, stored_schema)
        if buckets != str(BUCKETS):
            raise LedgerError(
                f"{name}: the data has {buckets} buckets, this release reads {BUCKETS}: run the "
                "release that wrote it, or point redis.key_prefix elsewhere"
            )
        if stored_check != key_check:
            raise LedgerError(
                f"{name}: the data was written with another installation key: "
                "configure that key, or point redis.key_prefix elsewhere"
            )
        self._watch.schema = schema
        self._watch.expect_installation(name, key_check)

    async def store(self, key_check: str, schema: int = NEWEST) -> None:
        """Store bucket count, key check and schema where there are none.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        name = self._keys.installation
        async with plain_commands(self._timeout_s):
            # First of all: a process that dies here has not made an installation of schema 1.
            if schema > 1 and not await self._client.exists(name):
                await self._client.hsetnx(name, "schema", str(schema))
            for item, value in (("buckets", str(BUCKETS)), ("key_check", key_check)):
                await self._client.hsetnx(name, item, value)

    async def _check_servers(self) -> None:
        async with plain_commands(self._timeout_s):
            found = await primaries(self._client)
        for primary in found:
            try:
                async with plain_commands(self._timeout_s):
                    self._check_server(primary, await _told_by(primary))
                    await durability.check(
                        primary,
                        self._settings.durability,
                        self._settings.wait_replicas,
                        self._settings.assume,
                    )
            except LedgerUnavailable as exc:
                if not isinstance(self._client, RedisCluster):
                    raise
                # Its accounts are not available now; the others are.
                _log.warning("%s can't be reached: %s", primary, exc)

    def _check_server(self, primary: Primary, told: Mapping[str, Any]) -> None:
        """Check that the server has every command of the scripts; else they could stop midway."""
        if "redis_version" not in told:
            needed = f"{_OLDEST_WORDS} is needed"
            durability.tell_hidden(primary, "its version", needed, "version", self._settings.assume)
            return
        found = str(told["redis_version"])
        if tuple(map(int, found.split(".")[:2])) < _OLDEST:
            raise LedgerError(f"{primary} is Redis {found}, {_OLDEST_WORDS} is needed")
        mode = told.get("redis_mode", told.get("server_mode"))  # the second name is Valkey's
        if mode == "sentinel":
            raise LedgerError(f"{primary} is a sentinel: name it under redis.sentinel")
        if mode == "cluster" and not isinstance(self._client, RedisCluster):
            raise LedgerError(f"{primary} is a node of a cluster: set redis.cluster to true")


async def _told_by(primary: Primary) -> Mapping[str, Any]:
    try:
        return await primary.info("server")
    except ResponseError:  # managed services may forbid it
        return {}


def _schema(name: str, stored: bytes | str | None) -> int:
    try:
        schema = schema_of(stored)
    except ValueError as error:
        raise LedgerError(f"{name}: {error}") from None
    if schema > NEWEST:
        raise LedgerError(
            f"{name}: the data is of schema {schema}, this release reads up to {NEWEST}: run the "
            "release that wrote it, or point redis.key_prefix elsewhere"
        )
    return schema


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
