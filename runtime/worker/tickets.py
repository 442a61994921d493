"""Tickets: their ids, and how many of them an account has at a time.

``<account>#<n>``: issuing one that exists makes no second one. Number 0 is issued by every ticker
while the account has work. A ticket that finds more than its slice issues the next two, so that a
large account soon uses all free slots; while tickets of others wait for a slot, all but number 0
end after their slice, and the accounts take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_OF_AN_ACCOUNT = 256
"""The tickets of one account at a time, and so its slices in all processes."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket: the account that has work, and the ticket's number."""

    account_id: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.account_id}#{self.number}"

    @classmethod
    def read(cls, text: str) -> Ticket:
        """Return the ticket of that id."""
        account_id, _, number = text.rpartition("#")
        return cls(account_id, int(number))

    def following(self) -> Sequence[Ticket]:
        """Return the tickets that this one issues where there is more than its slice."""
        first = 2 * self.number + 1
        numbers = range(first, min(first + 2, MOST_OF_AN_ACCOUNT))
        return [Ticket(self.account_id, number) for number in numbers]
