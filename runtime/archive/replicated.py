"""Makes sure that replicas have what was read, before it is archived.

With ``redis.durability: replicated`` a write is done once replicas have it. A primary also shows
entries that none of them has yet. An archive with such an entry would be ahead of the replica that
a failover elects: the account would have forked, though nothing that was done is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from redis.exceptions import ResponseError, SlotNotCoveredError

from runtime.credits.results import LedgerUnavailable
from runtime.credits.script_client import plain_commands
from runtime.redis.primaries import Client, Primary, primaries, primary_of

_log = logging.getLogger("creditgate.archive")
_POLL_S = 0.05
_LEAST_S = 3.0  # replicas tell about once a second what they have


class Replicated:
    """Waits for replicas.

    Args:
        replicas: how many must have an entry; 0 for none, and then nothing is asked.
        timeout_ms: of each round trip, and of the wait if that is longer than three seconds.
    """

    def __init__(self, client: Client, replicas: int, timeout_ms: int) -> None:
        self._client = client
        self._replicas = replicas
        self._timeout_s = timeout_ms / 1000
        self._read_from: dict[str, str] = {}
        self._is_silent = False

    async def begin(self, account_ids: Collection[str]) -> None:
        """Note which servers hold these accounts, which are read from now on.

        Raises:
            LedgerUnavailable: one of the servers can't be reached.
        """
        if self._replicas and account_ids:
            self._read_from = {
                str(primary): told.get("master_replid", "")
                for primary, told in await self._told(account_ids)
            }

    async def wait(self, account_ids: Collection[str]) -> None:
        """Wait until enough replicas have all that was read of these accounts since ``begin``.

        Raises:
            LedgerUnavailable: too few have it in time, the server is another one by now, or Redis
                can't be reached.
        """
        if not self._replicas:
            return
        wanted: dict[str, int] = {}
        give_up_at_s = time.monotonic() + max(self._timeout_s, _LEAST_S)
        while late := await self._late(account_ids, wanted):
            if time.monotonic() > give_up_at_s:
                raise LedgerUnavailable(
                    f"fewer than {self._replicas} replicas of {', '.join(sorted(late))} have what "
                    "is to be archived"
                )
            await asyncio.sleep(_POLL_S)

    async def _late(self, account_ids: Collection[str], wanted: dict[str, int]) -> set[str]:
        """Return the servers of which too few replicas have what is wanted."""
        late = set()
        for primary, told in await self._told(account_ids):
            name = str(primary)
            if told.get("master_replid", "") != self._read_from.get(name):
                raise LedgerUnavailable(f"{name} is not the one any more that was read from")
            offset = wanted.setdefault(name, int(told.get("master_repl_offset", 0)))
            if told and _replicas_at(told, offset) < self._replicas:
                late.add(name)
        return late

    async def _told(self, account_ids: Collection[str]) -> list[tuple[Primary, Mapping[str, Any]]]:
        """Return what the servers of these accounts tell about replication."""
        async with plain_commands(self._timeout_s):
            found = await primaries(self._client)
            names = {primary_of(self._client, account_id) for account_id in account_ids}
            chosen = [one for one in found if str(one) in names]
            if len(chosen) < len(names):
                raise SlotNotCoveredError("no server has some of the accounts")
            return [(one, await self._told_by(one)) for one in chosen]

    async def _told_by(self, primary: Primary) -> Mapping[str, Any]:
        try:
            return await primary.info("replication")
        except ResponseError:  # managed services may forbid it
            if not self._is_silent:
                self._is_silent = True
                _log.warning(
                    "%s does not tell what its replicas have: after a failover the archive may "
                    "be ahead",
                    primary,
                )
            return {}


def _replicas_at(told: Mapping[str, Any], offset: int) -> int:
    """Return the number of replicas that have the stream of writes up to an offset."""
    replicas = [
        one for name, one in told.items() if name.startswith("slave") and isinstance(one, dict)
    ]
    return sum(
        one.get("state") == "online" and int(one.get("offset", 0)) >= offset for one in replicas
    )
