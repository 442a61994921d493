"""The errors of questions that the archive can't answer."""

from __future__ import annotations

from pricing.errors import CreditgateError


class ArchiveError(CreditgateError):
    """The archive can't answer what it was asked."""


class NotArchived(ArchiveError):
    """The archive has no such account, or no such entry of it."""


class EntryDamaged(ArchiveError):
    """An entry in the archive is not what the ledger wrote; the message names it."""

    def __init__(self, account_id: str, seq: int, why: str) -> None:
        super().__init__(f"entry {seq} of account {account_id!r} in the archive is damaged: {why}")
        self.account_id = account_id
        self.seq = seq


class CursorRefused(ArchiveError, ValueError):
    """A cursor that another query, account or installation gave, or that was changed."""
