"""Sweeping: ends expired reservations and grants of accounts that are not in use."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from runtime.background import Periodic
from runtime.credits.batch import Call
from runtime.credits.results import (
    AccountDamaged,
    AccountStopped,
    AccountUnknown,
    LedgerUnavailable,
)
from runtime.credits.script_client import ScriptClient, damage, ledger_error, plain_commands
from runtime.credits.watch import Watch
from runtime.redis.errors import RedisUnavailable, ScriptRefused, described
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client, Primary, shares

_log = logging.getLogger("creditgate.ledger")

SWEEP_EVERY_S = 60.0
"""The mean pause of a process; the processes on one Redis take turns."""

_SPREAD = 0.5
_TURN_MS = 30_000


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
        self._rounds = Periodic("the sweep", self._sweep_in_turn, SWEEP_EVERY_S, spread=_SPREAD)

    def start(self) -> None:
        """Sweep about once a minute until ``aclose``, unless another process has just swept."""
        self._rounds.start(after_s=random.uniform(0, SWEEP_EVERY_S))  # noqa: S311 - jitter

    async def aclose(self) -> None:
        """Stop sweeping."""
        await self._rounds.aclose()

    async def sweep(self) -> int:
        """End what is due in every bucket; return the number of accounts visited.

        A damaged account, and a bucket whose key is of the wrong type, are logged and skipped. So
        is a server of a cluster that can't be reached.

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
            found = await pipeline.execute(raise_on_error=False)
        accounts: list[str] = []
        for number, due in zip(buckets, found, strict=True):
            key = self._keys.bucket(number, "due")
            # Any other error, such as CLUSTERDOWN, is the server's and not the key's.
            if isinstance(due, ResponseError) and "WRONGTYPE" in str(due):
                self._tell(key, f"{key} can't be read, nothing of its bucket is swept: {due}")
            elif isinstance(due, Exception):
                raise ledger_error(RedisUnavailable(described(due))) from due
            else:
                self._told.discard(key)
                accounts += (one.decode() if isinstance(one, bytes) else one for one in due)
        return accounts

    async def _sweep_in_turn(self) -> None:
        """Sweep if no process on this Redis began to within the last half minute."""
        try:
            async with plain_commands(self._timeout_s):
                is_first = await self._client.set(self._keys.sweeping(), "1", nx=True, px=_TURN_MS)
            if is_first:
                await self.sweep()
        except LedgerUnavailable as exc:
            _log.debug("the sweep: %s", exc)  # a call that needs the server will say so

    async def _sweep_account(self, account_id: str) -> None:
        more_due, is_sound = 1, True
        try:
            while more_due:
                call = Call("expire", (), ends=True)
                _, more_due, stopped = await self._script_client.ask(account_id, call)
                if stopped:
                    is_sound = False
                    self._tell_account(account_id, f"{damage(stopped.decode())}; it can't expire")
        except (AccountDamaged, AccountStopped, AccountUnknown) as exc:
            self._tell_account(account_id, f"can't be swept: {exc}")
            is_sound = False
        except LedgerUnavailable as exc:
            if not isinstance(exc.__cause__, ScriptRefused):
                raise
            # Another key of its bucket, say; the other accounts can be swept.
            self._tell_account(account_id, f"can't be swept: {exc}")
            is_sound = False
        if is_sound:
            self._told.discard(account_id)

    def _tell_account(self, account_id: str, why: str) -> None:
        self._tell(account_id, f"account {account_id}: {why}")

    def _tell(self, name: str, what: str) -> None:
        """Log what is wrong with an account or a key, once until a sweep finds it intact."""
        if name not in self._told:
            self._told.add(name)
            _log.error("%s", what)
