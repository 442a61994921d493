"""What the ledger asks Redis beside its script: whose data this is, and who is due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from runtime.credits.answers import (
    AccountDamaged,
    AccountUnknown,
    LedgerError,
    LedgerUnavailable,
)
from runtime.credits.asking import Asker
from runtime.credits.batch import Call
from runtime.credits.keys import BUCKETS, Keys

_log = logging.getLogger("creditgate.ledger")
_OLDEST = (6, 2)
_OLDEST_WORDS = "Redis or Valkey 6.2 or newer"


class Upkeep:
    """Plain commands, each bounded by the ledger's time-out."""

    def __init__(self, client: Redis, keys: Keys, timeout_ms: int) -> None:
        self._client = client
        self._keys = keys
        self._timeout_s = timeout_ms / 1000

    async def check_installation(self, key_check: str) -> None:
        """Check the server's version, and store or compare bucket count and key check.

        Raises:
            LedgerError: the server is too old, or the data under this prefix belongs to another
                installation key.
            LedgerUnavailable: Redis can't be asked.
        """
        name = self._keys.installation
        expected = {"buckets": str(BUCKETS), "key_check": key_check}
        await self._check_version()
        async with self._asking():
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

    async def _check_version(self) -> None:
        """The script would stop half-way on a server that does not know all of its commands."""
        async with self._asking():
            try:
                found = str((await self._client.info("server"))["redis_version"])
            except (ResponseError, KeyError):
                _log.warning("the server does not tell its version; %s is needed", _OLDEST_WORDS)
                return
        if tuple(map(int, found.split(".")[:2])) < _OLDEST:
            raise LedgerError(f"the server is Redis {found}, {_OLDEST_WORDS} is needed")

    async def sweep(self, asker: Asker) -> int:
        """End what is due in every bucket; return how many accounts were visited.

        A damaged account is logged, and does not keep the sweep from the others.

        Raises:
            LedgerUnavailable: Redis can't be asked.
        """
        accounts = await self._due_accounts()
        for account_id in accounts:
            try:
                await _sweep_account(asker, account_id)
            except (AccountDamaged, AccountUnknown) as exc:
                _log.error("account %s can't be swept: %s", account_id, exc)
        return len(accounts)

    async def _due_accounts(self) -> list[str]:
        async with self._asking():
            seconds, microseconds = await self._client.time()
            now_ms = seconds * 1000 + microseconds // 1000
            pipeline = self._client.pipeline(transaction=False)
            for number in range(BUCKETS):
                pipeline.execute_command(
                    "ZRANGEBYSCORE", self._keys.bucket(number, "due"), "-inf", now_ms
                )
            buckets = await pipeline.execute()
        return [_text(account) for bucket in buckets for account in bucket]

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (RedisError, OSError, TimeoutError) as exc:
            raise LedgerUnavailable(f"{type(exc).__name__}: {exc}") from exc


async def _sweep_account(asker: Asker, account_id: str) -> None:
    more_due = 1
    while more_due:
        _, more_due, damage = await asker.ask(account_id, Call("expire", (), ends=True))
        if damage:
            _log.error("account %s holds what can't expire: %s", account_id, damage.decode())


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
