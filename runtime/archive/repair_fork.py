"""Resolves a fork: Redis lost entries that the archive has, and went on without them.

The ledger's branch becomes the archive's, for executions were answered from it. The entries that it
lacks stay in the table ``forks``, and what they had booked is booked again: grants and voids under
their references, charges under their execution keys. Each of these is booked once however often the
repair is repeated.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.archive import writing
from runtime.archive.booking_again import NOT_AGAIN, BookingAgain, ForkRepair, not_again
from runtime.archive.entries import (
    PAGE,
    ArchivedAccount,
    archived_account,
    archived_pages,
    chains_of,
)
from runtime.archive.errors import NotArchived
from runtime.archive.history import charged
from runtime.archive.replay import Entry
from runtime.archive.rollup import Rollup, moves_of
from runtime.credits.checks import check_account_id, check_reference
from runtime.credits.identity import Dimensions
from runtime.credits.inspection import StoredAccount
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    LedgerError,
    LedgerUnavailable,
)
from runtime.store.database import Database
from runtime.store.schema import accounts, dimensions, entries, forks

_CHUNK = 400


class ForkRepairer:
    """Resolves forks.

    Args:
        ledger: of a process that was told nothing of the account before.
    """

    def __init__(self, ledger: CreditLedger, database: Database) -> None:
        self._ledger = ledger
        self._database = database

    async def repair(
        self, account_id: str, *, reason: str, actor: str, dry_run: bool = False
    ) -> ForkRepair | None:
        """Resolve the fork of an account; safe to repeat after it was broken off.

        Returns:
            ``None`` if ledger and archive agree; nothing was changed.

        Raises:
            ValueError: an argument is not allowed; the message names it.
            NotArchived: the archive has no such account.
            LedgerError: the ledger lacks an entry that would tell where the branches part.
            LedgerUnavailable, StoreUnavailable: it was broken off.
        """
        check_account_id(account_id)
        check_reference(reason, "reason")
        check_reference(actor, "actor")
        archived = await archived_account(self._database, account_id)
        if archived is None:
            raise NotArchived(f"the archive has no account {account_id!r}")
        stored = await self._ledger.inspection.stored(account_id)
        common_seq = await self._common_seq(archived, stored)
        if common_seq == archived.seq and archived.state == writing.OPEN:
            return None
        if dry_run:
            return await self._would_do(archived, common_seq)
        if common_seq < archived.seq:
            await self._give_way(archived, common_seq)
        lost = await self._lost(archived.no)
        done = ForkRepair(account_id, common_seq, len(lost))
        done.seq = await self._go_on(account_id, reason, actor)
        await BookingAgain(self._ledger, done, await self._names(archived.no)).book(lost)
        await self._resolve(archived.no)
        return done

    # Where the branches part

    async def _common_seq(self, archived: ArchivedAccount, stored: StoredAccount) -> int:
        """Return the sequence of the last entry that ledger and archive both have.

        Raises:
            LedgerError: the journal in Redis does not reach back to it.
        """
        most = min(archived.seq, stored.seq)
        first_seq, common = most + 1, None
        async for page in self._ledgers_pages(archived.account_id, 0):
            first_seq = min(first_seq, page[0].seq)
            chains = await chains_of(self._database, archived.no, [entry.seq for entry in page])
            for entry in page:
                if entry.seq > most:
                    break
                if chains.get(entry.seq) != entry.chain:
                    return await self._before(archived, entry.seq, first_seq)
                common = entry.seq
        if common is None and not await self._continues(archived, stored):
            raise LedgerError(_too_short(archived.account_id))
        return most

    async def _continues(self, archived: ArchivedAccount, stored: StoredAccount) -> bool:
        """Return whether a ledger without an entry in common follows from the archive."""
        if stored.seq <= archived.seq:
            found = await chains_of(self._database, archived.no, [stored.seq])
            return found.get(stored.seq) == stored.chain
        first = await self._ledger.inspection.journal(archived.account_id, 0, 1)
        return (
            bool(first)
            and first[0].seq == archived.seq + 1
            and Entry(first[0].seq, first[0].chain, first[0].body).continues(archived.chain)
        )

    async def _before(self, archived: ArchivedAccount, seq: int, first_seq: int) -> int:
        """Return the sequence before the first that differs, if it is sure to be the first."""
        if seq == first_seq and seq > 1:
            [entry] = await self._ledger.inspection.journal(archived.account_id, seq - 1, 1)
            before = await chains_of(self._database, archived.no, [seq - 1])
            replayed = Entry(entry.seq, entry.chain, entry.body)
            if not replayed.continues(before.get(seq - 1, "")):
                raise LedgerError(_too_short(archived.account_id))
        return seq - 1

    async def _ledgers_pages(self, account_id: str, after_seq: int) -> AsyncIterator[list[Entry]]:
        while page := await self._ledger.inspection.journal(account_id, after_seq, PAGE):
            yield [Entry(entry.seq, entry.chain, entry.body) for entry in page]
            after_seq = page[-1].seq

    # The archive

    async def _give_way(self, archived: ArchivedAccount, common_seq: int) -> None:
        """Move the archive's branch to ``forks``, in one transaction, and take it out of the sums.

        The account stays forked, so that nothing is archived before all is booked again.
        """
        after = (entries.c.account == archived.no, entries.c.seq > common_seq)
        ledgers = [
            (entry.seq, entry.chain)
            async for page in self._ledgers_pages(archived.account_id, common_seq)
            for entry in page
        ]
        async with self._database.begin() as connection:
            query = select(entries).where(
                entries.c.account == archived.no, entries.c.seq == common_seq
            )
            last = (await connection.execute(query)).one_or_none()
            moved = await connection.execute(
                update(accounts)
                .where(
                    accounts.c.no == archived.no,
                    accounts.c.seq == archived.seq,
                    accounts.c.chain == archived.chain,
                )
                .values(
                    seq=common_seq,
                    chain="" if last is None else last.chain,
                    left_mc=0 if last is None else last.left_mc,
                    epoch="" if last is None else last.body.split("\t", 2)[1],
                    state=writing.FORKED,
                )
            )
            if moved.rowcount != 1:
                raise LedgerUnavailable("the account was archived meanwhile: repeat the command")
            await self._forget_ledgers_branch(connection, archived.no, ledgers)
            rollup, numbers = Rollup(), []
            seq = common_seq
            while rows := (
                await connection.execute(
                    select(entries)
                    .where(entries.c.account == archived.no, entries.c.seq > seq)
                    .order_by(entries.c.seq)
                    .limit(PAGE)
                )
            ).all():
                for row in rows:
                    columns = row.body.split("\t")
                    where = (row.kind, row.at_ms, row.effective_ms, row.dims)
                    rollup.add(archived.no, *where, columns, moves_of(columns), sign=-1)
                    if row.kind == "n":
                        numbers.append(row.dims)
                await self._keep_lost(connection, archived.no, rows)
                seq = rows[-1].seq
            await rollup.write(connection, self._database.is_postgres)
            await connection.execute(delete(entries).where(*after))
            if numbers:
                await connection.execute(
                    delete(dimensions).where(
                        dimensions.c.account == archived.no, dimensions.c.number.in_(numbers)
                    )
                )

    async def _forget_ledgers_branch(
        self, connection: AsyncConnection, no: int, branch: list[tuple[int, str]]
    ) -> None:
        """Take entries out of ``forks`` that are to be archived as entries now."""
        for first in range(0, len(branch), _CHUNK):
            some = branch[first : first + _CHUNK]
            await connection.execute(
                delete(forks).where(
                    forks.c.account == no,
                    forks.c.resolved_ms.is_(None),
                    tuple_(forks.c.seq, forks.c.chain).in_(some),
                )
            )

    async def _keep_lost(self, connection: AsyncConnection, no: int, rows: Sequence[Any]) -> None:
        values = [
            {
                "account": no,
                "seq": row.seq,
                "chain": row.chain,
                "body": row.body,
                "found_ms": _now_ms(),
                "resolved_ms": None,
            }
            for row in rows
        ]
        statement = writing.insert(self._database, forks).on_conflict_do_nothing()
        await connection.execute(statement, values)

    async def _lost(self, no: int) -> list[Entry]:
        query = select(forks.c.seq, forks.c.chain, forks.c.body).where(
            forks.c.account == no, forks.c.resolved_ms.is_(None)
        )
        async with self._database.connect() as connection:
            rows = (await connection.execute(query.order_by(forks.c.seq))).all()
        return [Entry(*row) for row in rows]

    async def _resolve(self, no: int) -> None:
        async with self._database.begin() as connection:
            await connection.execute(
                update(forks)
                .where(forks.c.account == no, forks.c.resolved_ms.is_(None))
                .values(resolved_ms=_now_ms())
            )
            await connection.execute(
                update(accounts).where(accounts.c.no == no).values(state=writing.OPEN)
            )

    async def _would_do(self, archived: ArchivedAccount, common_seq: int) -> ForkRepair:
        """Return what a repair would try to book again; some of it the ledger may have."""
        would = ForkRepair(archived.account_id, common_seq, archived.seq - common_seq)
        async for page in archived_pages(self._database, archived.no, common_seq, archived.seq):
            for entry in page:
                columns = entry.columns()
                would.grants += columns[2] == "g"
                would.voids += columns[2] == "v"
                if columns[2] == "s":
                    would.charges += 1
                    would.charged_mc += charged(columns)
                elif columns[2] in NOT_AGAIN:
                    would.left.append(not_again(entry))
        return would

    async def _names(self, no: int) -> dict[int, str]:
        """Return the texts of dimensions by number."""
        query = select(dimensions).where(dimensions.c.account == no)
        async with self._database.connect() as connection:
            return {
                row.number: "\t".join(getattr(row, name) for name in Dimensions._fields)
                for row in await connection.execute(query)
            }

    async def _go_on(self, account_id: str, reason: str, actor: str) -> int:
        """Let the account go on under a new epoch, by which every process knows that it may."""
        repairs = self._ledger.repairs
        seq = await repairs.resume(account_id, reason=reason, actor=actor)
        if seq is None:
            seq = await repairs.accept_loss(account_id, reason=reason, actor=actor)
        return seq


def _too_short(account_id: str) -> str:
    return (
        f"account {account_id}: the journal in Redis does not reach back to where it parts from "
        "the archive"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
