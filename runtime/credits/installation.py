"""What the ledger asks Redis beside its script: whose data this is, and who is due."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from runtime.credits import durability
from runtime.credits.batch import Call
from runtime.credits.results import AccountDamaged, AccountUnknown, LedgerError, LedgerUnavailable
from runtime.credits.script_client import ScriptClient
from runtime.credits.settings import LedgerSettings
from runtime.credits.watch import Watch
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client, Primary, asking, primaries, shares

_log = logging.getLogger("creditgate.ledger")
_OLDEST = (6, 2)
_OLDEST_WORDS = "Redis or Valkey 6.2 or newer"


class Installation:
    """Plain commands, each bounded by the ledger's time-out."""

    def __init__(self, client: Client, keys: Keys, settings: LedgerSettings, watch: Watch) -> None:
        self._watch = watch
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._settings = settings
        self._timeout_s = settings.timeout_ms / 1000

    async def check_installation(self, key_check: str) -> None:
        """Check the servers and their clocks, and store or compare bucket count and key check.

        Raises:
            LedgerError: a server is too old, not of the configured kind or not as durable as it is
                to be, or the data under this prefix belongs to another installation key.
            LedgerUnavailable: Redis can't be asked.
        """
        name = self._keys.installation
        expected = {"buckets": str(BUCKETS), "key_check": key_check}
        await self._check_servers()
        try:
            await self._watch.look()
        except LedgerUnavailable:
            if not isinstance(self._client, RedisCluster):
                raise
        async with asking(self._timeout_s):
            for item, value in expected.items():
                await self._client.hsetnx(name, item, value)
            stored = [await self._client.hget(name, item) for item in expected]
        buckets, stored_check = (_text(value or "") for value in stored)
        if buckets != str(BUCKETS):
            raise LedgerError(f"{name}: {buckets} buckets, this release uses {BUCKETS}")
        if stored_check != key_check:
            raise LedgerError(
                f"{name}: the data was written with another installation key; "
                "configure the key it was written with, or another redis.key_prefix"
            )

    async def _check_servers(self) -> None:
        async with asking(self._timeout_s):
            found = await primaries(self._client)
        for primary in found:
            try:
                async with asking(self._timeout_s):
                    self._check_server(primary, await _told_by(primary))
                    await durability.check(
                        primary, self._settings.durability, self._settings.wait_replicas
                    )
            except LedgerUnavailable as exc:
                if not isinstance(self._client, RedisCluster):
                    raise
                # Its accounts are not available now, which is no reason to keep others waiting.
                _log.warning("%s can't be asked: %s", primary, exc)

    def _check_server(self, primary: Primary, told: Mapping[str, Any]) -> None:
        """The script would stop half-way on a server that does not know all of its commands."""
        if "redis_version" not in told:
            _log.warning("%s does not tell its version; %s is needed", primary, _OLDEST_WORDS)
            return
        found = str(told["redis_version"])
        if tuple(map(int, found.split(".")[:2])) < _OLDEST:
            raise LedgerError(f"{primary} is Redis {found}, {_OLDEST_WORDS} is needed")
        if told.get("redis_mode") == "cluster" and not isinstance(self._client, RedisCluster):
            raise LedgerError(f"{primary} is a node of a cluster: set redis.cluster to true")

    async def sweep(self, script_client: ScriptClient) -> int:
        """End what is due in every bucket; return how many accounts were visited.

        A damaged account is logged, and does not keep the sweep from the others; no more does a
        server of a cluster that can't be asked.

        Raises:
            LedgerUnavailable: Redis, or one server of a cluster, can't be asked, or its clock can't
                be trusted.
        """
        async with asking(self._timeout_s):
            parts = await shares(self._client, range(BUCKETS))
        visited, away = 0, None
        for primary, buckets in parts:
            try:
                self._watch.check_sweep(primary)
                for account_id in await self._due_accounts(primary, buckets):
                    await _sweep_account(script_client, account_id)
                    visited += 1
            except LedgerUnavailable as exc:
                away = exc
        if away is not None:
            raise away
        return visited

    async def _due_accounts(self, primary: Primary, buckets: Sequence[int]) -> list[str]:
        async with asking(self._timeout_s):
            now_ms = await primary.time_ms()
            pipeline = self._client.pipeline(transaction=False)
            for number in buckets:
                pipeline.execute_command(
                    "ZRANGEBYSCORE", self._keys.bucket(number, "due"), "-inf", now_ms
                )
            found = await pipeline.execute()
        return [_text(account) for bucket in found for account in bucket]


async def _told_by(primary: Primary) -> Mapping[str, Any]:
    try:
        return await primary.info("server")
    except ResponseError:  # managed services may forbid it
        return {}


async def _sweep_account(script_client: ScriptClient, account_id: str) -> None:
    more_due = 1
    try:
        while more_due:
            _, more_due, damage = await script_client.ask(account_id, Call("expire", (), ends=True))
            if damage:
                _log.error("account %s holds what can't expire: %s", account_id, damage.decode())
    except (AccountDamaged, AccountUnknown) as exc:
        _log.error("account %s can't be swept: %s", account_id, exc)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
