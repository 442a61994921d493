"""Acknowledged entries that a failure has lost: found, named, and accepted."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from runtime.archive.booking_again import ForkRepair
from runtime.archive.repair_fork import ForkRepairer
from runtime.credits.journal import JournalEntry
from runtime.credits.results import AccountStopped
from tests.drills.journals import DrillFailed, InRedis, audit, books_of, in_redis, ledger_of
from tests.drills.plan import Plan, Told, told

TOLD_WITHIN_S = 1.5
"""By then a process has read every answer of a dead server, and written what it was told."""

_MOST_REPAIRS = 5
_REASON, _ACTOR = "a drill lost its last writes", "drill"


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries of an account that a server had and its successor has not.

    Args:
        kept_seq: the last entry that the successor has.
        told_seq: the last one that a process was told of: up to there the loss can be noticed.
        entries: what the dead server had behind ``kept_seq``, where its disk could be read.
    """

    account_id: str
    epoch: str
    kept_seq: int
    told_seq: int
    entries: tuple[JournalEntry, ...] = ()

    @property
    def count(self) -> int:
        return self.told_seq - self.kept_seq

    @property
    def named(self) -> tuple[JournalEntry, ...]:
        """The lost entries that somebody was told of."""
        return tuple(entry for entry in self.entries if entry.seq <= self.told_seq)

    def __str__(self) -> str:
        return f"{self.account_id} {self.kept_seq + 1}..{self.told_seq}"


@dataclass(slots=True)
class Losses:
    """The losses of a round, in which each worker has an account of its own.

    ``wrong`` has what the audit did not name, or named otherwise.
    """

    plan: Plan
    found: list[Loss] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    audited: int = 0
    repeated: int = 0

    async def find(self, url: str, before: Mapping[str, InRedis] | None = None) -> list[Loss]:
        """Find what is lost once no process is answered any more; compare it with the audit.

        Args:
            url: the server that has come in place of the dead one, which no process reaches yet.
            before: the journals of the dead server, where they could be read.
        """
        time.sleep(TOLD_WITHIN_S)
        known = told(self.plan)
        lost = _lost(self.plan, known, await in_redis(self.plan, url), before or {})
        expected = {(one.account_id, one.epoch, one.kept_seq + 1, one.told_seq) for one in lost}
        accepted = {(one.account_id, one.epoch) for one in self.found}
        named = {
            (one.account_id, one.epoch, one.first_seq, one.last_seq)
            for one in (await audit(self.plan, url)).lost
            if (one.account_id, one.epoch) not in accepted
        }
        if named != expected:
            self.wrong.append(f"the audit names {named}, lost are {expected}")
        self.audited += sum(last - first + 1 for _, _, first, last in named)
        self.found += lost
        return lost

    async def accept(self, lost: Sequence[Loss]) -> None:
        """Accept losses as an operator does, so that the accounts run again."""
        async with ledger_of(self.plan) as ledger:
            for loss in lost:
                await ledger.repairs.accept_loss(loss.account_id, reason=_REASON, actor=_ACTOR)

    async def repair(self, forked: Collection[str]) -> None:
        """Repair accounts whose archive was ahead of their ledger."""
        async with books_of(self.plan) as books:
            repairer = ForkRepairer(books.ledger, books.database)
            for account in forked:
                done = await self._repair(repairer, account)
                if done.left:
                    self.wrong.append(f"{account}: not booked again: {done.left}")

    async def _repair(self, repairer: ForkRepairer, account: str) -> ForkRepair:
        """Repair as an operator does: an archiver may stop the account once more meanwhile."""
        for _ in range(_MOST_REPAIRS):
            try:
                done = await repairer.repair(account, reason=_REASON, actor=_ACTOR)
            except AccountStopped:
                self.repeated += 1
                continue
            assert done is not None, f"{account}: there was no fork to repair"
            return done
        raise DrillFailed(f"{account}: {_MOST_REPAIRS} repairs were broken off")


def _lost(
    plan: Plan,
    known: Sequence[Told],
    kept: Mapping[str, InRedis],
    before: Mapping[str, InRedis],
) -> list[Loss]:
    """Compare what processes were told with what is kept; return what is gone, by account."""
    found = []
    for worker, account in enumerate(plan.accounts):
        # What was told of an epoch before it is settled: its loss was accepted.
        epoch = [one.epoch for one in known if one.worker == worker and one.account_id == account]
        of_epoch = (one for one in known if (one.account_id, one.epoch) == (account, epoch[-1]))
        told_seq = max(one.seq for one in of_epoch)
        kept_seq = kept[account].seq
        if told_seq > kept_seq:
            was = before[account].entries if account in before else ()
            gone = tuple(entry for entry in was if entry.seq > kept_seq)
            found.append(Loss(account, epoch[-1], kept_seq, told_seq, gone))
    return found
