"""Copies the journals into the archive, and trims them behind what is committed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.archive import writing
from runtime.archive.batches import Batch, Position
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
_BATCH_BYTES = 8_000_000
_READ_ACCOUNTS = 500
_READ_ENTRIES = 2_000
_MOST_MEANWHILE = 10

Stop = Callable[[str, str], Awaitable[Any]]
"""Stops an account in the ledger: account, and why."""


@dataclass(slots=True)
class Archived:
    """What a round has copied, and what it had to leave."""

    accounts: int = 0
    entries: int = 0
    left: dict[str, str] = field(default_factory=dict)
    """Accounts, buckets' keys and servers that stay behind, each with the reason."""


class Copier:
    """Copies journals.

    Any number of copiers may run at a time: an account is moved on by the one that commits first,
    and the others look again.

    Args:
        timeout_ms: of each round trip to Redis.
        stop: stops an account whose ledger has forked from its archive.
    """

    def __init__(
        self,
        database: Database,
        client: Client,
        keys: Keys,
        *,
        timeout_ms: int,
        stop: Stop | None = None,
    ) -> None:
        self._database = database
        self._client = client
        self._streams = Streams(client, keys, timeout_ms)
        self._timeout_s = timeout_ms / 1000
        self._stop = stop
        self._told: set[str] = set()

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
        for primary, buckets in parts:
            try:
                names, faults = await self._streams.news(buckets)
                for key, fault in faults.items():
                    self._leave(archived, key, f"{key} can't be read: {fault}")
                for at in range(0, len(names), _READ_ACCOUNTS):
                    await self._copy(names[at : at + _READ_ACCOUNTS], archived, on_progress)
            except LedgerUnavailable as exc:
                if len(parts) == 1:
                    raise
                archived.left[str(primary)] = str(exc)
        return archived

    async def archive_account(self, account_id: str) -> Archived:
        """Copy what is new in one account.

        Raises:
            LedgerUnavailable: Redis can't be reached.
            StoreUnavailable: the database can't be reached.
        """
        archived = Archived()
        await self._copy([account_id], archived, lambda archived: None)
        return archived

    async def _copy(
        self,
        account_ids: Sequence[str],
        archived: Archived,
        on_progress: Callable[[Archived], object],
    ) -> None:
        for _ in range(_MOST_MEANWHILE):
            try:
                await self._copy_accounts(account_ids, archived, on_progress)
            except ArchivedMeanwhile:
                continue
            return

    async def _copy_accounts(
        self,
        account_ids: Sequence[str],
        archived: Archived,
        on_progress: Callable[[Archived], object],
    ) -> None:
        found = await writing.positions(self._database, account_ids)
        waiting = []
        for position in found.values():
            if position.state == writing.OPEN:
                waiting.append(position)
            else:
                self._leave(archived, position.account_id, f"it is {position.state}")
        async for batch in self._batches(waiting, archived):
            if batch.rows:
                await writing.write(self._database, batch)
            faults = await self._streams.trim(batch.reached)
            for account_id, fault in faults.items():
                self._leave(archived, account_id, f"can't be trimmed: {fault}")
            archived.entries += len(batch.rows)
            archived.accounts += len(batch.steps)
            on_progress(archived)

    async def _batches(self, waiting: list[Position], archived: Archived) -> AsyncIterator[Batch]:
        """Yield batches until nothing of these accounts is new."""
        batch = Batch()
        while waiting:
            share = max(1, _READ_ENTRIES // len(waiting))
            read = await self._streams.read([(one.account_id, one.seq, share) for one in waiting])
            again = []
            for position, entries in zip(waiting, read, strict=True):
                if isinstance(entries, Unreadable):
                    self._leave(archived, position.account_id, str(entries))
                    continue
                try:
                    batch.add(position, entries)
                except JournalError as exc:
                    await self._examine(position, exc, archived)
                    continue
                if len(entries) == share:
                    again.append(position)
            waiting = again
            if len(batch.rows) >= BATCH_ENTRIES or batch.bytes >= _BATCH_BYTES:
                batch.close()
                yield batch
                batch = Batch()
        if batch:
            batch.close()
            yield batch

    async def _examine(self, position: Position, error: JournalError, archived: Archived) -> None:
        self._leave(archived, position.account_id, str(error))

    def _leave(self, archived: Archived, name: str, why: str) -> None:
        archived.left[name] = why
        if name not in self._told:
            self._told.add(name)
            _log.error("%s stays behind in the archive: %s", name, why)
