"""The marks of accounts that have requests waiting: one sorted set for all accounts.

It is in another slot of a cluster than the accounts, so no script can keep both. A mark is
therefore set before anything is added, and removed only once it is old and the account has
nothing: an account with work always has its mark, and a mark without work does no harm.

A second set says when each account is to be looked at for what is older than its retention.
Accounts stay in it.
"""

from __future__ import annotations

import time

from runtime.queue.access import QueueAccess, text_of
from runtime.redis.script import Script, read_lua, shipped_clock

SAFE_S = 30.0
"""The longest between setting a mark and adding, without setting it again."""

_OLD_MS = 60_000
_MOST_DUE = 100
_LEAST_PAUSE_MS = 60_000
_MOST_KNOWN = 100_000
_REMOVE = Script.of(f"{shipped_clock()}\n{read_lua(__package__, 'lua/unmark.lua')}")
_SET = Script.of(f"{shipped_clock()}\n{read_lua(__package__, 'lua/mark.lua')}")


class WorkMarks:
    """Sets, lists and removes marks.

    Every method may raise ``QueueUnavailable``.
    """

    def __init__(self, access: QueueAccess) -> None:
        self._access = access
        self._name = access.keys.queued()
        self._retained = access.keys.retained()
        self._known: set[str] = set()

    async def set(self, account_id: str) -> float:
        """Mark an account now; return when that was, by this process's monotonic clock."""
        since_s = time.monotonic()
        if account_id not in self._known:
            await self._access.plain(
                self._retained,
                self._access.client.zadd(self._retained, {account_id: 0}, nx=True),
            )
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known.add(account_id)
        await self._access.plain(
            self._name, _SET.run(self._access.client, [self._name], [account_id])
        )
        return since_s

    async def accounts(self) -> list[str]:
        """Return the accounts that may have work, first those that had something added last."""
        found = await self._access.plain(
            self._name, self._access.client.zrevrange(self._name, 0, -1)
        )
        return [text_of(name) for name in found]

    async def due(self) -> list[str]:
        """Return accounts that may have something older than its retention, a bounded number."""
        now_ms = int(time.time() * 1000)
        found = await self._access.plain(
            self._retained,
            self._access.client.zrangebyscore(self._retained, 0, now_ms, 0, _MOST_DUE),
        )
        return [text_of(name) for name in found]

    async def known(self, cursor: int) -> tuple[int, list[str]]:
        """Return some of the accounts that ever had something added, and the next cursor."""
        scan = self._access.client.zscan(self._retained, cursor, count=_MOST_DUE)
        following, found = await self._access.plain(self._retained, scan)
        return int(following), [text_of(name) for name, _ in found]

    async def look_again(self, account_id: str, due_ms: int, least_ms: int) -> None:
        """Note when an account is due again.

        Args:
            due_ms: when the oldest of what it has is to go; 0 if it has nothing.
            least_ms: the shortest retention: nothing that is added from now on is due sooner.
        """
        now_ms = int(time.time() * 1000)
        latest_ms = now_ms + least_ms
        at_ms = min(due_ms or latest_ms, latest_ms)
        at_ms = max(at_ms, now_ms + min(_LEAST_PAUSE_MS, least_ms))
        await self._access.plain(
            self._retained, self._access.client.zadd(self._retained, {account_id: at_ms})
        )

    async def remove_if_empty(self, account_id: str) -> bool:
        """Remove the mark of an account that has no work, if it is old; return whether it was."""
        access = self._access
        score = await access.plain(self._name, access.client.zscore(self._name, account_id))
        [queues] = access.of_account(account_id, "queues")
        if score is None or await access.plain(queues, access.client.exists(queues)):
            return False
        answer = await access.plain(
            self._name,
            _REMOVE.run(access.client, [self._name], [account_id, f"{score:.0f}", _OLD_MS]),
        )
        return bool(answer)
