"""Checks the books: replays each account's journal, and compares it with what the ledger has.

The entries come from the archive, and those that are not archived yet from Redis. Their chain is
computed anew, and what they add up to is compared with the balance, to the millicredit and grant by
grant, at the sequence at which one script read both. What processes were told is compared too: an
entry that was acknowledged and is not there is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from runtime.archive.entries import (
    PAGE,
    ArchivedAccount,
    archived_account,
    archived_accounts,
    chains_of,
    forked_at,
    pages,
)
from runtime.archive.replay import Replay
from runtime.credits.inspection import Inspection, StoredAccount
from runtime.credits.journal import JournalError
from runtime.credits.results import AccountDamaged, AccountStopped, AccountUnknown
from runtime.credits.told import Told
from runtime.store.database import Database

_PARTS = ("left", "charged", "expired", "voided")

ToldPoints = Mapping[str, Iterable[tuple[int, str]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not agree. ``seq`` is the entry that shows it, where one does."""

    account_id: str
    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class LostEntries:
    """Entries that processes were told of and that are not in the ledger, first to last."""

    account_id: str
    epoch: str
    first_seq: int
    last_seq: int

    @property
    def count(self) -> int:
        """The number of entries."""
        return self.last_seq - self.first_seq + 1


@dataclass(slots=True)
class AccountAudit:
    """The findings of the audit of one account.

    ``seq`` is the sequence at which the ledger was read, ``archived_seq`` how far it is archived.
    """

    account_id: str
    seq: int = 0
    archived_seq: int = 0
    entries: int = 0
    differences: list[Difference] = field(default_factory=list)
    lost: list[LostEntries] = field(default_factory=list)

    def differs(self, what: str, seq: int | None = None) -> None:
        """Note a difference."""
        self.differences.append(Difference(self.account_id, seq, what))


@dataclass(slots=True)
class Audit:
    """The findings of an audit, over all accounts."""

    accounts: int = 0
    entries: int = 0
    seconds: float = 0.0
    told_files: int = 0
    damaged_told: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    lost: list[LostEntries] = field(default_factory=list)

    @property
    def balances(self) -> bool:
        """True if nothing differs and nothing is lost."""
        return not self.differences and not self.lost

    @property
    def rate(self) -> float:
        """Entries replayed a second."""
        return self.entries / self.seconds if self.seconds else 0.0


class Auditor:
    """Audits accounts, and writes nothing.

    Args:
        database: the archive; without one, all entries are read from Redis.
        told: what processes were told.
        on_progress: called with the number of entries that were replayed since the last call.
    """

    def __init__(
        self,
        inspection: Inspection,
        database: Database | None,
        told: Told | None = None,
        on_progress: Callable[[int], None] = lambda entries: None,
    ) -> None:
        self._inspection = inspection
        self._database = database
        self._told = told or Told()
        self._on_progress = on_progress

    async def accounts(self) -> list[str]:
        """Return the accounts that are known to Redis, to the archive or to a process that ran."""
        known = {*await self._inspection.accounts(), *self._told.points}
        if self._database is not None:
            known.update(await archived_accounts(self._database))
        return sorted(known)

    async def audit(self, account_ids: Iterable[str]) -> Audit:
        """Audit these accounts.

        Raises:
            LedgerUnavailable, StoreUnavailable: Redis, or the archive, can't be reached.
        """
        found = Audit(told_files=self._told.files, damaged_told=self._told.damaged)
        began_s = time.monotonic()
        for account_id in account_ids:
            one = await self.audit_account(account_id)
            found.accounts += 1
            found.entries += one.entries
            found.differences += one.differences
            found.lost += one.lost
        found.seconds = time.monotonic() - began_s
        return found

    async def audit_account(self, account_id: str) -> AccountAudit:
        """Audit one account.

        Raises:
            LedgerUnavailable, StoreUnavailable: Redis, or the archive, can't be reached.
        """
        found = AccountAudit(account_id)
        # Before the ledger is read: what is archived then must be in it.
        archived = await self._archived(account_id)
        stored = await self._stored(found, known=archived is not None)
        if archived is not None:
            found.archived_seq = archived.seq
        if stored is not None:
            found.seq = stored.seq
        to_seq = stored.seq if stored is not None else found.archived_seq
        told = self._told.points.get(account_id, {})
        replay, there = await self._replay(found, to_seq, told)
        if archived is not None and (found.differences or _is_other(replay, stored)):
            await self._name_fork(found, archived)
        if not found.differences and stored is not None:
            _compare(found, replay, stored)
        if archived is not None:
            await self._compare_archive(found, archived, stored)
        found.lost += lost_entries(account_id, told, there, 0 if stored is None else stored.seq)
        return found

    async def _archived(self, account_id: str) -> ArchivedAccount | None:
        if self._database is None:
            return None
        return await archived_account(self._database, account_id)

    async def _stored(self, found: AccountAudit, *, known: bool) -> StoredAccount | None:
        try:
            return await self._inspection.stored(found.account_id)
        except AccountUnknown:
            if known:
                found.differs(
                    "it is in the archive, and Redis has no such account: "
                    f"creditgate rebuild --account {found.account_id}"
                )
            elif found.account_id in self._told.points:
                found.differs("processes were told of it, and there is no such account")
            else:
                raise
        except (AccountDamaged, AccountStopped) as exc:
            found.differs(str(exc))
        return None

    async def _replay(
        self, found: AccountAudit, to_seq: int, told: ToldPoints
    ) -> tuple[Replay, dict[int, str]]:
        """Replay up to an entry; return the books and the chains of what processes were told of."""
        replay, there = Replay(), dict[int, str]()
        wanted = {seq for points in told.values() for seq, _ in points}
        try:
            async for page in pages(self._database, self._inspection, found.account_id, to_seq):
                for entry in page:
                    replay.apply(entry)
                    if entry.seq in wanted:
                        there[entry.seq] = entry.chain
                self._on_progress(len(page))
            if replay.seq < to_seq:
                found.differs(
                    f"journal entry 0-{replay.seq + 1} is missing: neither the archive nor Redis "
                    f"has it, and the ledger is at {to_seq}",
                    replay.seq + 1,
                )
        except JournalError as exc:
            found.differs(str(exc), replay.seq + 1)
        found.entries = replay.seq
        return replay, there

    async def _name_fork(self, found: AccountAudit, archived: ArchivedAccount) -> None:
        """Put the first entry before all else that Redis has otherwise than the archive."""
        after_seq = 0
        while page := await self._inspection.journal(found.account_id, after_seq, PAGE):
            chains = await self._chains(archived, [entry.seq for entry in page])
            for entry in page:
                if chains.get(entry.seq, entry.chain) != entry.chain:
                    what = (
                        f"the archive has entry {entry.seq} with chain {chains[entry.seq]}, Redis "
                        f"another one with chain {entry.chain}: its journal has two branches"
                    )
                    found.differences.insert(0, Difference(found.account_id, entry.seq, what))
                    return
            after_seq = page[-1].seq

    async def _chains(self, archived: ArchivedAccount, seqs: list[int]) -> dict[int, str]:
        if self._database is None:
            return {}
        return await chains_of(self._database, archived.no, seqs)

    async def _compare_archive(
        self, found: AccountAudit, archived: ArchivedAccount, stored: StoredAccount | None
    ) -> None:
        if self._database is None:
            return
        if archived.state != "open":
            seq = await forked_at(self._database, archived.no)
            at = "" if seq is None else f" at entry {seq}"
            found.differs(
                f"its journal has two branches{at}: creditgate repair fork --account "
                f"{found.account_id}",
                seq,
            )
        elif stored is not None and stored.seq < archived.seq:
            found.differs(
                f"the ledger is at sequence {stored.seq}, behind the archive, which has "
                f"{archived.seq}: {archived.seq - stored.seq} entries are lost in Redis. Restore "
                f"them, or run creditgate repair fork --account {found.account_id}",
                stored.seq + 1,
            )


def lost_entries(
    account_id: str, told: ToldPoints, there: Mapping[int, str], last_seq: int
) -> list[LostEntries]:
    """Return what processes were told of and is not there, by epoch.

    Args:
        told: sequences and chains that processes were told, by epoch.
        there: the chains that the journal has at those sequences.
        last_seq: the sequence at which the ledger is.
    """
    lost = []
    for epoch, points in told.items():
        missing = [seq for seq, chain in points if seq > last_seq or there.get(seq) != chain]
        if not missing:
            continue
        # A script's entries are written together: the loss begins behind the last that is there
        # before it. What is there further on was written in place of what is lost, by a process
        # that had not been told of it.
        first = min(missing)
        kept = [seq for seq, chain in points if seq < first and there.get(seq) == chain]
        begins = max(kept) + 1 if kept else min(first, last_seq + 1)
        lost.append(LostEntries(account_id, epoch, begins, max(missing)))
    return sorted(lost, key=lambda one: one.first_seq)


def _is_other(replay: Replay, stored: StoredAccount | None) -> bool:
    return stored is not None and (replay.seq, replay.chain) != (stored.seq, stored.chain)


def _compare(found: AccountAudit, replay: Replay, stored: StoredAccount) -> None:
    """Compare the books that the journal adds up to with those of the ledger."""
    if replay.chain != stored.chain:
        found.differs(
            f"the chain at sequence {stored.seq} is {replay.chain} by the journal, {stored.chain} "
            "in the ledger",
            stored.seq,
        )
    _compare_amounts(
        found,
        "the account",
        (replay.granted_mc, *_sums(replay)),
        (
            stored.granted_mc,
            stored.parts_mc["available"] + stored.parts_mc["reserved"],
            *(stored.parts_mc[part] for part in _PARTS[1:]),
        ),
        stored.seq,
    )
    for name in ("overage_mc", "exposure_mc"):
        by_journal, by_ledger = getattr(replay, name), getattr(stored, name)
        if by_journal != by_ledger:
            what = name.removesuffix("_mc")
            found.differs(
                f"{what} is {by_journal:,} mc by the journal, {by_ledger:,} mc in the ledger",
                stored.seq,
            )
    for grant_id in sorted({*replay.grants, *stored.grants}, key=lambda name: int(name[1:])):
        grant = stored.grants.get(grant_id)
        by_ledger_of = (
            (0, 0, 0, 0, 0)
            if grant is None
            else (
                grant.amount_mc,
                grant.available_mc + grant.reserved_mc,
                grant.charged_mc,
                grant.expired_mc,
                grant.voided_mc,
            )
        )
        by_journal_of = tuple(replay.grants.get(grant_id, (0, 0, 0, 0, 0)))
        _compare_amounts(found, f"grant {grant_id}", by_journal_of, by_ledger_of, stored.seq)


def _sums(replay: Replay) -> tuple[int, ...]:
    grants = replay.grants.values()
    return tuple(sum(grant[column] for grant in grants) for column in range(1, 5))


def _compare_amounts(
    found: AccountAudit,
    whose: str,
    by_journal: tuple[int, ...],
    by_ledger: tuple[int, ...],
    seq: int,
) -> None:
    for part, one, other in zip(("granted", *_PARTS), by_journal, by_ledger, strict=True):
        if one != other:
            found.differs(
                f"{whose}: {part} is {one:,} mc by the journal, {other:,} mc in the ledger", seq
            )
