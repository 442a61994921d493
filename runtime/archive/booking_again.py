"""Books again what the lost branch of a fork had booked."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.archive.history import charged
from runtime.archive.replay import Entry
from runtime.credits.corrections import LostGrant
from runtime.credits.identity import Dimensions
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import (
    ExecutionConflict,
    GrantRefused,
    GrantUnknown,
    NotBooked,
    ReferenceConflict,
    Settled,
    TooManyGrants,
)

NOT_AGAIN = {
    "c": "the closing",
    "p": "a change of plan",
    "k": "the setting of a cap",
    "u": "the removal of a cap",
    "w": "a switch",
    "z": "a change of time zone",
}
"""Kinds of entries that are told and not booked again: what came after them may rest on others."""


@dataclass(slots=True)
class ForkRepair:
    """A repair, or what it would do.

    ``common_seq`` is the last entry that both branches have, ``lost`` the number of entries that
    the ledger lacks. ``grants``, ``voids`` and ``charges`` count what was booked again, ``left``
    says what was not, and why. ``seq`` is the sequence from which the account goes on.
    """

    account_id: str
    common_seq: int
    lost: int
    grants: int = 0
    voids: int = 0
    charges: int = 0
    charged_mc: int = 0
    overage_mc: int = 0
    left: list[str] = field(default_factory=list)
    seq: int | None = None


class BookingAgain:
    """Books entries again by their references and execution keys, each once.

    Args:
        done: counts what is done.
        names: texts of dimensions by number; those that the entries name are added.
    """

    def __init__(self, ledger: CreditLedger, done: ForkRepair, names: dict[int, str]) -> None:
        self._ledger = ledger
        self._done = done
        self._names = names
        # By their ids in the lost branch: the ledger may have given those to other grants.
        self._grants: dict[str, str | None] = {}

    async def book(self, lost: list[Entry]) -> None:
        """Book what these entries had booked, in their order.

        Raises:
            LedgerUnavailable: it was broken off, and can be repeated.
        """
        for entry in lost:
            columns = entry.columns()
            if columns[2] == "n":
                self._names[int(columns[7])] = columns[17]
            elif columns[2] == "g":
                await self._grant(entry, columns)
            elif columns[2] == "v":
                await self._void(entry, columns)
            elif columns[2] == "s":
                await self._settle(entry, columns)
            elif columns[2] in NOT_AGAIN:
                self._done.left.append(not_again(entry))

    async def _grant(self, entry: Entry, columns: list[str]) -> None:
        grant_id, _, amount = columns[5].split(":")
        kind, priority, expires = columns[17].split(";")
        lost = LostGrant(
            kind=kind,
            priority=int(priority),
            amount_mc=int(amount),
            expires_ms=int(expires),
            reference=columns[16],
            actor=columns[15],
            execution_key=columns[4],
        )
        try:
            granted = await self._ledger.corrections(self._done.account_id).grant(lost)
        except (GrantRefused, TooManyGrants, ReferenceConflict) as exc:
            self._done.left.append(f"entry {entry.seq}, a grant of {lost.amount_mc} mc: {exc}")
            self._grants[grant_id] = None
            return
        self._grants[grant_id] = granted.grant_id
        self._done.grants += granted.new

    async def _void(self, entry: Entry, columns: list[str]) -> None:
        lost_id, reason = columns[17].split(";", 1)
        grant_id = self._grants.get(lost_id, lost_id)
        if grant_id is None:
            self._done.left.append(f"entry {entry.seq}, a void of a grant that is not booked again")
            return
        try:
            voided = await self._ledger.accounts.void(
                self._done.account_id,
                grant_id,
                reference=columns[16],
                reason=reason,
                actor=columns[15],
            )
        except (GrantUnknown, ReferenceConflict) as exc:
            self._done.left.append(f"entry {entry.seq}, a void of {grant_id}: {exc}")
            return
        self._done.voids += voided.new

    async def _settle(self, entry: Entry, columns: list[str]) -> None:
        free, _, choices = columns[17].partition(";")
        settlement = self._ledger.corrections(self._done.account_id).settlement(
            execution_key=columns[4],
            dimensions=Dimensions(*self._names[int(columns[7])].split("\t")),
            cost_mc=charged(columns) + int(columns[12] or 0),
            reserved_at_ms=int(columns[3]) - int(columns[6] or 0),
            tokens=columns[8],
            rate_card_version=columns[9],
            flags=tuple(f for f in columns[10].split(",") if f and f not in ("late", "orphan")),
            exposure_mc=max(0, int(columns[13] or 0)),
            free_mc=int(free or 0),
            reason=columns[11],
            choices=tuple(_choice(one) for one in choices.split(",") if one),
        )
        try:
            settled = await self._ledger.settle(settlement)
        except ExecutionConflict as exc:
            self._done.left.append(
                f"entry {entry.seq}, a charge of {charged(columns)} mc: the ledger has its "
                f"execution with another {exc.field}"
            )
            return
        if isinstance(settled, Settled):
            self._done.charges += 1
            self._done.charged_mc += settled.charged_mc
            self._done.overage_mc += settled.overage_mc
        elif isinstance(settled, NotBooked):
            self._done.left.append(
                f"entry {entry.seq}, a charge of {charged(columns)} mc: it is older than "
                "executions.outcome_ttl_hours"
            )
        else:
            self._done.left.append(
                f"entry {entry.seq}, a charge of {charged(columns)} mc: the ledger has another "
                f"outcome of its execution, for which {settled.charged_mc} mc were charged"
            )


def _choice(text: str) -> tuple[int, int]:
    output, _, option = text.partition(".")
    return int(output), int(option)


def not_again(entry: Entry) -> str:
    """Return what an entry had changed, and that nobody changes it again."""
    columns = entry.columns()
    return (
        f"entry {entry.seq}, {NOT_AGAIN[columns[2]]} under the reference {columns[16]!r}: make it "
        "again if it is still wanted"
    )
