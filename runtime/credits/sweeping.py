"""Sweeping: ends expired reservations and grants of accounts that are not in use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from runtime.credits.batch import Call
from runtime.credits.results import (
    AccountDamaged,
    AccountStopped,
    AccountUnknown,
    LedgerUnavailable,
)
from runtime.credits.script_client import ScriptClient, damage, plain_commands
from runtime.credits.watch import Watch
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client, Primary, shares

_log = logging.getLogger("creditgate.ledger")


class Sweeper:
    """Visits the accounts that have something due, bucket by bucket.

    Args:
        timeout_ms: of each plain command.
    """

    def __init__(
        self, client: Client, keys: Keys, script_client: ScriptClient, watch: Watch, timeout_ms: int
    ) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._script_client = script_client
        self._watch = watch
        self._timeout_s = timeout_ms / 1000
        self._told: set[str] = set()

    async def sweep(self) -> int:
        """End what is due in every bucket; return the number of accounts visited.

        A damaged account is logged and skipped, and so is a server of a cluster that can't be
        reached.

        Raises:
            LedgerUnavailable: Redis, or a server of a cluster, can't be reached, or its clock can't
                be trusted.
        """
        async with plain_commands(self._timeout_s):
            parts = await shares(self._client, range(BUCKETS))
        visited, away = 0, None
        for primary, buckets in parts:
            try:
                self._watch.check_sweep(primary)
                for account_id in await self._due_accounts(primary, buckets):
                    await self._sweep_account(account_id)
                    visited += 1
            except LedgerUnavailable as exc:
                away = exc
        if away is not None:
            raise away
        return visited

    async def _due_accounts(self, primary: Primary, buckets: Sequence[int]) -> list[str]:
        async with plain_commands(self._timeout_s):
            now_ms = await primary.time_ms()
            pipeline = self._client.pipeline(transaction=False)
            for number in buckets:
                pipeline.execute_command(
                    "ZRANGEBYSCORE", self._keys.bucket(number, "due"), "-inf", now_ms
                )
            found = await pipeline.execute()
        return [
            account.decode() if isinstance(account, bytes) else account
            for bucket in found
            for account in bucket
        ]

    async def _sweep_account(self, account_id: str) -> None:
        more_due, is_sound = 1, True
        try:
            while more_due:
                call = Call("expire", (), ends=True)
                _, more_due, stopped = await self._script_client.ask(account_id, call)
                if stopped:
                    is_sound = False
                    self._tell(account_id, f"{damage(stopped.decode())}; it can't expire")
        except (AccountDamaged, AccountStopped, AccountUnknown) as exc:
            self._tell(account_id, f"can't be swept: {exc}")
            is_sound = False
        if is_sound:
            self._told.discard(account_id)

    def _tell(self, account_id: str, why: str) -> None:
        """Log what is wrong with an account, once until a sweep finds it intact."""
        if account_id not in self._told:
            self._told.add(account_id)
            _log.error("account %s: %s", account_id, why)
