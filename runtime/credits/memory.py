"""A process's memory of the accounts that it was told of, by which it notices lost writes.

Each script call answers the account's epoch, sequence and chain, and each later one carries them
back. A script that finds less, or something else in their place, refuses before it writes.
"""

from __future__ import annotations

from collections.abc import Callable

MOST_REMEMBERED = 50_000
"""Accounts that a process remembers, the last used ones: about 250 bytes each."""


class Memory:
    """The last that was told of each account, as the script wrote it.

    A call must carry what was known when it was sent: answers may be heard in another order than
    the scripts ran, and only what was heard before a script ran must still be there.

    Attributes:
        on_told: called with each account and what was told of it.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._told: dict[str, bytes] = {}
        self.on_told: Callable[[str, bytes], None] | None = None

    def of(self, account_id: str) -> bytes:
        """Return what is known of an account, or ``b""``."""
        return self._told.get(account_id, b"")

    def note(self, account_id: str, told: bytes) -> None:
        """Remember what a script call answered, unless a later one was heard before it."""
        if not told:
            return
        if self.on_told is not None:
            self.on_told(account_id, told)
        before = self._told.pop(account_id, b"")
        self._told[account_id] = before if _is_later(before, told) else told
        if len(self._told) > self._most:
            del self._told[next(iter(self._told))]


def _is_later(one: bytes, other: bytes) -> bool:
    """Return whether one is of the same history as the other, and further on."""
    if not one:
        return False
    epoch, seq, _ = one.split(b"\t")
    other_epoch, other_seq, _ = other.split(b"\t")
    return epoch == other_epoch and int(seq) > int(other_seq)
