"""Writes to Redis the published actions that it lacks, after a crash or a loss."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from sqlalchemy import select, tuple_

from runtime.background import Periodic
from runtime.library.records import Pointer, Records
from runtime.library.rows import written
from runtime.redis.errors import RedisUnavailable
from runtime.redis.keys import bucket_of
from runtime.store.database import StoreError
from runtime.store.reopening import Store
from runtime.store.schema import action_versions, actions

REPUBLISH_EVERY_S = 5.0
LOOK_EVERY_S = 60.0
"""The time after which Redis is asked for all markers, even if no execution missed one."""

_FIRST_ROUND_S = 5.0
_PAUSE_S = 1.0
_PAGE = 100
_MOST_DAMAGED = 1_000

_log = logging.getLogger("creditgate.library")


class Republishing:
    """Rounds that write publications which SQL has and Redis lacks.

    Each round writes those of which no process noted that Redis has them. The first round, and
    each that was asked for, looks for buckets without a marker too: Redis is new, or lost them.
    Of these, all published actions are written.
    """

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records
        self._wanted = asyncio.Event()
        self._first = asyncio.Event()
        self._damaged: set[tuple[str, str]] = set()
        self._look_at_s = 0.0
        self._fault = ""
        self._rounds = Periodic("publishing actions", self._when_wanted, _PAUSE_S, spread=0.2)

    async def start(self) -> None:
        """Begin the rounds; wait for the first one, but not long."""
        self._wanted.set()
        self._rounds.start()
        try:
            async with asyncio.timeout(_FIRST_ROUND_S):
                await self._first.wait()
        except TimeoutError:
            _log.warning("it takes long to see whether Redis has all published actions")

    async def aclose(self) -> None:
        """Begin no other round."""
        await self._rounds.aclose()

    def want(self, account_id: str, action_id: str) -> None:
        """Let the next round begin soon, and write this action whatever Redis has."""
        if len(self._damaged) < _MOST_DAMAGED:
            self._damaged.add((account_id, action_id))
        self._look_at_s = 0.0
        self._wanted.set()

    async def run_once(self) -> bool:
        """Run a round; return whether Redis then had all that SQL has."""
        try:
            await self._round()
        except (StoreError, RedisUnavailable) as error:
            if str(error) != self._fault:
                self._fault = str(error)
                _log.warning("published actions can't be written to Redis now: %s", error)
            return False
        if self._fault:
            self._fault = ""
            _log.warning("published actions are written to Redis again")
        return True

    async def _when_wanted(self) -> None:
        try:
            async with asyncio.timeout(REPUBLISH_EVERY_S):
                await self._wanted.wait()
        except TimeoutError:
            pass
        self._wanted.clear()
        try:
            await self.run_once()
        finally:
            self._first.set()

    async def _round(self) -> None:
        now_s = asyncio.get_running_loop().time()
        await self._write(actions.c.to_write == 1)
        if damaged := list(self._damaged):
            await self._write(tuple_(actions.c.account_id, actions.c.action_id).in_(damaged))
            self._damaged.difference_update(damaged)
        if now_s >= self._look_at_s:
            if unmarked := await self._records.unmarked():
                await self._write(actions.c.published.is_not(None), unmarked)
                await self._records.mark(unmarked)
            self._look_at_s = now_s + LOOK_EVERY_S

    async def _write(self, chosen: Any, buckets: Collection[int] | None = None) -> None:
        """Write published actions, in the order of their ids, a page at a time."""
        after = ("", "")
        ids = (actions.c.account_id, actions.c.action_id)
        columns = (*ids, actions.c.revision, actions.c.published, actions.c.to_write)
        while True:
            query = (
                select(*columns, action_versions.c.spec)
                .join_from(
                    actions,
                    action_versions,
                    (action_versions.c.account_id == actions.c.account_id)
                    & (action_versions.c.action_id == actions.c.action_id)
                    & (action_versions.c.version == actions.c.published),
                )
                .where(chosen, tuple_(*ids) > after)
                .order_by(*ids)
                .limit(_PAGE)
            )
            async with self._store.connect() as connection:
                rows = (await connection.execute(query)).all()
            for row in rows:
                if buckets is None or bucket_of(row.account_id) in buckets:
                    await self._write_one(row)
            if len(rows) < _PAGE:
                return
            after = (rows[-1].account_id, rows[-1].action_id)

    async def _write_one(self, row: Any) -> None:
        pointer = Pointer(row.revision, row.published)
        await self._records.write(row.account_id, row.action_id, pointer, row.spec)
        if row.to_write:
            await written(self._store, row.account_id, row.action_id, row.revision)
