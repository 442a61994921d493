"""Copies the journals into the archive, and trims them behind what is committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from runtime.archive import writing
from runtime.archive.batches import Batch, Position, StreamEntry
from runtime.archive.forks import Forks, Stop
from runtime.archive.lag import Lag, lag_of
from runtime.archive.replicated import Replicated
from runtime.archive.streams import Streams, Unreadable
from runtime.archive.writing import ArchivedMeanwhile
from runtime.credits.journal import JournalError
from runtime.credits.results import LedgerUnavailable
from runtime.credits.script_client import plain_commands
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.primaries import Client, shares
from runtime.store.database import Database

_log = logging.getLogger("creditgate.archive")

BATCH_ENTRIES = 10_000
BATCH_BYTES = 8_000_000
"""The most that one transaction adds, but for what the last read brings more."""

_READ_ACCOUNTS = 100
_FIRST_READ = 200
_MOST_READ = 1_000
# Reports say up to when they are complete; for that alone a quiet archive is written now and then.
_MARK_EVERY_MS = 10_000
_READ_BYTES = 1_000_000
_SLICE_BYTES = 60_000
_MOST_LOOKS = 20


@dataclass(slots=True)
class Archived:
    """A round's result: what it has copied, and what it had to leave."""

    entries: int = 0
    transactions: int = 0
    account_ids: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    """Accounts, buckets' keys and servers that stay behind, each with the reason."""

    @property
    def accounts(self) -> int:
        """The number of accounts with new entries."""
        return len(self.account_ids)


class Copier:
    """Copies journals.

    Any number of copiers may run at a time: an account is moved on by the one that commits first,
    and the others look again.

    Args:
        timeout_ms: of each round trip to Redis.
        stop: stops an account whose ledger has forked from its archive.
        replicas: how many replicas must have an entry before it is archived, as
            ``redis.durability: replicated`` has it.

    Example::

        copier = Copier(database, client, Keys("cg1"), timeout_ms=1_000)
        archived = await copier.run_once()
    """

    def __init__(
        self,
        database: Database,
        client: Client,
        keys: Keys,
        *,
        timeout_ms: int,
        stop: Stop | None = None,
        replicas: int = 0,
    ) -> None:
        self._database = database
        self._replicated = Replicated(client, replicas, timeout_ms)
        self._client = client
        self._streams = Streams(client, keys, timeout_ms)
        self._forks = Forks(database, self._streams, stop)
        self._timeout_s = timeout_ms / 1000
        self._told: dict[str, str] = {}
        self._mark_from_ms = 0
        self._largest_bytes = _READ_BYTES // _FIRST_READ

    async def run_once(
        self, on_progress: Callable[[Archived], object] = lambda archived: None
    ) -> Archived:
        """Copy what is new in all accounts.

        A damaged account stays behind alone; so does a server of a cluster that can't be reached.

        Args:
            on_progress: called after each transaction.

        Raises:
            LedgerUnavailable: Redis can't be reached.
            StoreUnavailable: the database can't be reached.
        """
        archived = Archived()
        async with plain_commands(self._timeout_s):
            parts = await shares(self._client, range(BUCKETS))
        clocks_ms = []
        for primary, buckets in parts:
            try:
                async with plain_commands(self._timeout_s):
                    clocks_ms.append(await primary.time_ms())
                await self._archive_buckets(buckets, archived, on_progress)
            except LedgerUnavailable as exc:
                if len(parts) == 1:
                    raise
                self._leave(archived, str(primary), str(exc))
        for name in self._told.keys() - archived.left.keys():
            del self._told[name]
        if not archived.left and (archived.entries or min(clocks_ms) >= self._mark_from_ms):
            await writing.mark_complete(self._database, min(clocks_ms))
            self._mark_from_ms = min(clocks_ms) + _MARK_EVERY_MS
        return archived

    async def archive_account(self, account_id: str) -> Archived:
        """Copy what is new in one account.

        Raises:
            LedgerUnavailable: Redis can't be reached.
            StoreUnavailable: the database can't be reached.
        """
        archived = Archived()
        for _ in range(_MOST_LOOKS):
            if await self._archive([account_id], archived, lambda archived: None):
                break
        return archived

    async def lag(self) -> Lag:
        """Return how far the archive is behind the ledger.

        Raises:
            LedgerUnavailable: Redis, or a server of a cluster, can't be reached.
        """
        return await lag_of(self._client, self._streams)

    async def _archive_buckets(
        self,
        buckets: Sequence[int],
        archived: Archived,
        on_progress: Callable[[Archived], object],
    ) -> None:
        for _ in range(_MOST_LOOKS):
            names, faults = await self._streams.news(buckets)
            for key, fault in faults.items():
                self._leave(archived, key, f"can't be read: {fault}")
            if await self._archive(names, archived, on_progress):
                return

    async def _archive(
        self,
        account_ids: Sequence[str],
        archived: Archived,
        on_progress: Callable[[Archived], object],
    ) -> bool:
        """Copy accounts; return whether all is done, or some must be looked at again.

        While one batch is written, the next one is read.
        """
        await self._replicated.begin(account_ids)
        async with _Behind() as behind:
            async for batch in self._batches(account_ids, archived):
                await behind.finish()
                behind.start(self._commit(batch, archived, on_progress))
            await behind.finish()
        return behind.all_done

    async def _batches(
        self, account_ids: Sequence[str], archived: Archived
    ) -> AsyncIterator[Batch]:
        batch = Batch()
        for at in range(0, len(account_ids), _READ_ACCOUNTS):
            waiting = await self._waiting(account_ids[at : at + _READ_ACCOUNTS], archived)
            queue = _Queue(waiting)
            while group := queue.take():
                queue.put_back(await self._read(group, batch, archived))
                if len(batch.rows) >= BATCH_ENTRIES or batch.bytes >= BATCH_BYTES:
                    batch.close()
                    yield batch
                    batch = Batch()
        if batch:
            batch.close()
            yield batch

    async def _waiting(self, account_ids: Sequence[str], archived: Archived) -> list[Position]:
        found = await writing.positions(self._database, account_ids)
        waiting = []
        for position in found.values():
            if position.state == writing.OPEN:
                waiting.append(position)
            else:
                self._leave(archived, position.account_id, f"its ledger and archive {_FORKED}")
        return waiting

    async def _read(
        self, waiting: Sequence[Position], batch: Batch, archived: Archived
    ) -> list[Position]:
        """Add what these accounts have next, and return those that have more."""
        most = min(_MOST_READ, max(1, _READ_BYTES // self._largest_bytes))
        count = max(1, most // len(waiting))
        wanted = [(one.account_id, one.seq, count) for one in waiting]
        read = await self._streams.read(wanted)
        largest, more = 1, []
        for position, entries in zip(waiting, read, strict=True):
            if isinstance(entries, Unreadable):
                self._leave(archived, position.account_id, str(entries))
                continue
            largest = max([largest, *(len(body) for _, body, _ in entries)])
            if not await self._add(batch, position, entries, archived):
                continue
            if len(entries) == count:
                more.append(position)
        # Slowly back to more at a time, at once to fewer.
        self._largest_bytes = max(largest, self._largest_bytes // 2)
        return more

    async def _add(
        self,
        batch: Batch,
        position: Position,
        entries: Sequence[StreamEntry],
        archived: Archived,
    ) -> bool:
        """Add entries of an account; return whether that went well."""
        had_moved = position.has_moved
        try:
            if entries or had_moved:
                for some in _slices(entries):
                    batch.add(position, some)
                    await asyncio.sleep(0)
                return True
            why = "no entry follows what is archived"
        except JournalError as exc:
            why = str(exc)
        # Where entries of this round were sound, the account has not forked before them.
        found = why if position.has_moved else await self._forks.examine(position, why)
        if found is None:
            batch.add(position, ())
        else:
            self._leave(archived, position.account_id, found)
        return False

    async def _commit(
        self, batch: Batch, archived: Archived, on_progress: Callable[[Archived], object]
    ) -> bool:
        """Write a batch and trim behind it; return whether no other archiver was quicker."""
        if batch.steps:
            await self._replicated.wait(batch.moved)
            try:
                await writing.write(self._database, batch)
            except ArchivedMeanwhile:
                return False
            archived.transactions += 1
            archived.entries += len(batch.rows)
            archived.account_ids |= batch.moved
        faults = await self._streams.trim(batch.reached)
        for account_id, fault in faults.items():
            self._leave(archived, account_id, f"can't be trimmed: {fault}")
        on_progress(archived)
        return True

    def _leave(self, archived: Archived, name: str, why: str) -> None:
        """Note that something stays behind; log it once, until a round finds it well."""
        archived.left[name] = why
        if self._told.get(name) != why:
            self._told[name] = why
            _log.error("%s stays behind in the archive: %s", name, why)


_FORKED = "have forked: nothing is archived until `creditgate repair fork`"


def _slices(entries: Sequence[StreamEntry]) -> Iterator[Sequence[StreamEntry]]:
    """Yield entries by as many as don't hold up the event loop; none as one slice of none."""
    begin, size = 0, 0
    for at, (_, body, _) in enumerate(entries):
        size += len(body)
        if size >= _SLICE_BYTES:
            yield entries[begin : at + 1]
            begin, size = at + 1, 0
    if begin < len(entries) or not entries:
        yield entries[begin:]


class _Queue:
    """Accounts that are read: of all of them a little, then of those with more, one by one.

    Each round trip is worth its while that way, and a batch has few accounts, whose sums are many.
    """

    _WIDTHS = (_READ_ACCOUNTS, 10, 1)

    def __init__(self, waiting: list[Position]) -> None:
        self._levels: list[list[Position]] = [waiting, [], []]
        self._level = 0

    def take(self) -> list[Position]:
        """Return the accounts to read next; none if there are no more."""
        for level in (2, 1, 0):
            if accounts := self._levels[level]:
                self._level = level
                width = self._WIDTHS[level]
                group, accounts[:width] = accounts[:width], []
                return group
        return []

    def put_back(self, more: list[Position]) -> None:
        """Take back those of the last group that have more."""
        self._levels[min(self._level + 1, 2)][:0] = more


class _Behind:
    """One piece of work that runs beside its caller. Leaving early cancels it."""

    def __init__(self) -> None:
        self.all_done = True
        self._task: asyncio.Task[bool] | None = None

    def start(self, work: Any) -> None:
        self._task = asyncio.create_task(work)

    async def finish(self) -> None:
        if self._task is not None:
            self.all_done &= await self._task
            self._task = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
