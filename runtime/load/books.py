"""Reads what the journals of the load's accounts add up to, by their entries alone.

It uses none of the ledger's sums and none of the load's own counts, so that it can be compared with
both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.archive.entries import pages
from runtime.archive.replay import Entry
from runtime.credits.inspection import Inspection
from runtime.store.database import Database

_COLUMNS = 18
_KIND, _KEY, _POSTINGS, _REASON, _OVERAGE, _EXPOSURE = 2, 4, 5, 11, 12, 13
_SETTLED, _EXPIRED = "s", "e"
_GAVE_UP = ("provider_timeout", "deadline_exceeded", "")


@dataclass(slots=True)
class AccountBooks:
    """One account's journal, added up; amounts are millicredits.

    Args:
        reserved_mc: what the ledger says is set aside, for which there are no entries.
        overspent_mc: the most by which charges and overage were above all grants at any time.
        settled: the charge of each execution, by its key.
        settled_again: executions that were settled more than once, with the sum of what came after.
        settlements: all entries that settle.
        expired: reservations that nobody ended before their deadline.
        given_up: executions that ended without an answer while the provider may have given one.
    """

    account_id: str
    granted_mc: int = 0
    charged_mc: int = 0
    overage_mc: int = 0
    exposure_mc: int = 0
    reserved_mc: int = 0
    overspent_mc: int = 0
    settled: dict[str, int] = field(default_factory=dict)
    settled_again: dict[str, int] = field(default_factory=dict)
    settlements: int = 0
    expired: int = 0
    given_up: int = 0
    unreadable: list[int] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Add an entry; one that can't be read is noted."""
        columns = entry.body.split("\t", _COLUMNS - 1)
        columns += [""] * (_COLUMNS - len(columns))
        try:
            charged_mc = self._move(columns[_POSTINGS]) if columns[_POSTINGS] else 0
            overage_mc = int(columns[_OVERAGE] or 0)
            exposure_mc = int(columns[_EXPOSURE] or 0)
        except (ValueError, IndexError):
            self.unreadable.append(entry.seq)
            return
        self.overage_mc += overage_mc
        self.exposure_mc += exposure_mc
        self._note_overspent(0)
        kind, key = columns[_KIND], columns[_KEY]
        if kind == _SETTLED:
            self.settlements += 1
            if key in self.settled:
                again_mc = self.settled_again.get(key, 0)
                self.settled_again[key] = again_mc + charged_mc + overage_mc
            else:
                self.settled[key] = charged_mc + overage_mc
        elif kind == _EXPIRED:
            self.expired += 1
        elif exposure_mc > 0 and columns[_REASON] in _GAVE_UP:
            self.given_up += 1

    def reserve(self, reserved_mc: int) -> None:
        """Note what is set aside at the end."""
        self.reserved_mc = reserved_mc
        self._note_overspent(reserved_mc)

    def _note_overspent(self, reserved_mc: int) -> None:
        spent_mc = self.charged_mc + self.overage_mc + reserved_mc
        self.overspent_mc = max(self.overspent_mc, spent_mc - self.granted_mc)

    def _move(self, postings: str) -> int:
        charged_mc = 0
        for posting in postings.split(","):
            _, parts, amount = posting.split(":")
            amount_mc = int(amount)
            if parts[0] == "n":
                self.granted_mc += amount_mc
            if parts[1] == "c":
                charged_mc += amount_mc
            if parts[0] == "c":
                charged_mc -= amount_mc
        self.charged_mc += charged_mc
        return charged_mc


async def read_books(
    inspection: Inspection, database: Database | None, account_ids: Iterable[str]
) -> list[AccountBooks]:
    """Return the books of each account.

    Raises:
        LedgerUnavailable, StoreUnavailable: Redis, or the archive, can't be reached.
        AccountUnknown, AccountDamaged: an account is gone, or its records can't be trusted.
    """
    return [await _read(inspection, database, account_id) for account_id in account_ids]


async def _read(inspection: Inspection, database: Database | None, account_id: str) -> AccountBooks:
    books = AccountBooks(account_id)
    stored = await inspection.stored(account_id)
    async for page in pages(database, inspection, account_id, stored.seq):
        for entry in page:
            books.add(entry)
    books.reserve(stored.parts_mc["reserved"])
    return books
