"""Tells why an account does not continue its archive, and stops one that has forked."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from runtime.archive import writing
from runtime.archive.batches import Position, StreamEntry
from runtime.archive.streams import Streams, Unreadable
from runtime.credits.results import AccountDamaged, AccountUnknown
from runtime.store.database import Database

_log = logging.getLogger("creditgate.archive")

Stop = Callable[[str, str], Awaitable[Any]]
"""Stops an account in the ledger: its id, and why."""

_READ = 500


class Forks:
    """Compares journals with the archive.

    Redis loses acknowledged writes where a server without them takes over. What the archive already
    had of them is then missing in the ledger, which gives their sequence numbers to others.
    """

    def __init__(self, database: Database, streams: Streams, stop: Stop | None) -> None:
        self._database = database
        self._streams = streams
        self._stop = stop

    async def examine(self, position: Position, why: str) -> str | None:
        """Return why an account can't be archived further, or ``None`` if all of it is archived.

        Args:
            why: what seems to be wrong; the answer if nothing else is found.
        """
        [books] = await self._streams.books([position.account_id])
        if isinstance(books, Unreadable):
            return str(books)
        at = await self._first_other(position)
        if at is None and books.seq < position.seq:
            at = books.seq + 1
        if at is None and books.seq == position.seq:
            if books.chain == position.chain:
                return None
            at = position.seq
        if at is not None:
            return await self._fork(position, at, books.seq)
        [entries] = await self._streams.read([(position.account_id, position.seq, 1)])
        if isinstance(entries, Unreadable):
            return str(entries)
        first = _seq(entries[0]) if entries else books.seq + 1
        if first > position.seq + 1:
            return (
                f"journal entries 0-{position.seq + 1} to 0-{first - 1} are in neither ledger nor "
                "archive. Restore a later backup of the archive"
            )
        return why

    async def _first_other(self, position: Position) -> int | None:
        """Return the first sequence that the stream and the archive both have, but not alike."""
        seq = 0
        while seq < position.seq:
            [entries] = await self._streams.read([(position.account_id, seq, _READ)])
            if isinstance(entries, Unreadable) or not entries:
                return None
            first, seq = _seq(entries[0]), _seq(entries[-1])
            chains = await writing.chains(self._database, position.no, first, seq)
            for entry in entries:
                archived = chains.get(_seq(entry))
                if archived is not None and archived.encode() != entry[2]:
                    return _seq(entry)
        return None

    async def _fork(self, position: Position, at: int, last: int) -> str:
        """Stop a forked account, and keep its other branch."""
        account_id = position.account_id
        why = (
            f"journal entry 0-{at} is archived with other content: Redis lost entries up to "
            f"0-{position.seq} that were archived, and goes on from there. "
            f"Run: creditgate repair fork --account {account_id}"
        )
        _log.error("account %s has forked at entry %d: %s", account_id, at, why)
        if self._stop is not None:
            try:
                await self._stop(account_id, f"its ledger forked from its archive at entry 0-{at}")
            except (AccountDamaged, AccountUnknown) as exc:
                _log.error("account %s can't be stopped: %s", account_id, exc)
        seq = at - 1
        while seq < last:
            [entries] = await self._streams.read([(account_id, seq, _READ)])
            if isinstance(entries, Unreadable) or not entries:
                break
            await writing.write_fork(self._database, position.no, entries)
            seq = _seq(entries[-1])
        # Last, so that an archiver that is killed meanwhile is followed by one that looks again.
        await writing.mark_forked(self._database, position)
        return why


def _seq(entry: StreamEntry) -> int:
    return int(entry[0].removeprefix(b"0-"))
