"""Replays a journal entry by entry, from its bodies, and checks that each continues the others."""

from __future__ import annotations

from dataclasses import dataclass, field

from pricing.offers import MAX_MC
from runtime.credits.journal import JournalError, chain_of

_COLUMNS = 18
_FIELD_OF_LETTER = {"a": 0, "r": 0, "c": 1, "e": 2, "v": 3}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as the ledger wrote it, and what the archive keeps beside it, if it is from there.

    ``derived`` has the columns charged_mc and left_mc of the table ``entries``.
    """

    seq: int
    chain: str
    body: str
    derived: tuple[int, int] | None = None

    def continues(self, chain: str) -> bool:
        """Return whether this entry follows one with that chain."""
        return chain_of(chain, self.body) == self.chain

    def columns(self) -> list[str]:
        """Return the 18 columns of the body."""
        columns = self.body.split("\t", _COLUMNS - 1)
        return columns + [""] * (_COLUMNS - len(columns))


@dataclass(slots=True)
class Replay:
    """The books that the entries so far add up to, in millicredits.

    ``grants`` has what each grant was given, then what of it is left (available or reserved),
    charged, expired and voided. What a reservation set aside counts as available until it ends.
    """

    seq: int = 0
    chain: str = ""
    granted_mc: int = 0
    left_mc: int = 0
    overage_mc: int = 0
    exposure_mc: int = 0
    grants: dict[str, list[int]] = field(default_factory=dict)

    def apply(self, entry: Entry) -> list[str]:
        """Add an entry; return its 18 columns.

        Raises:
            JournalError: it is not the next one, its chain differs, it can't be read, a posting
                takes more than is there, or what the archive keeps beside it differs.
        """
        where = f"journal entry 0-{self.seq + 1}"
        if entry.seq != self.seq + 1:
            raise JournalError(f"{where} is missing, found 0-{entry.seq}")
        chain = chain_of(self.chain, entry.body)
        if chain != entry.chain:
            raise JournalError(f"{where}: chain {entry.chain}, expected {chain}")
        columns = entry.columns()
        try:
            charged_mc = self._move(columns[5]) if columns[5] else 0
            self.overage_mc += int(columns[12] or 0)
            if columns[13]:
                # The ledger's sum stops at the largest amount, and a correction starts from there.
                exposure_mc = self.exposure_mc + int(columns[13])
                self.exposure_mc = max(0, min(MAX_MC, exposure_mc))
        except (KeyError, ValueError) as exc:
            raise JournalError(f"{where}: {type(exc).__name__}: {exc}") from exc
        if entry.derived is not None and entry.derived != (charged_mc, self.left_mc):
            raise JournalError(
                f"{where}: the archive has {entry.derived[0]} mc charged and {entry.derived[1]} mc "
                f"left, its postings say {charged_mc} and {self.left_mc}"
            )
        self.seq, self.chain = entry.seq, chain
        return columns

    def _move(self, postings: str) -> int:
        """Move credits; return what was charged."""
        charged_mc = 0
        for posting in postings.split(","):
            grant_id, parts, text = posting.split(":")
            amount_mc = int(text)
            target = _FIELD_OF_LETTER[parts[1]] + 1
            if parts[0] == "n":
                grant = self.grants.setdefault(grant_id, [0, 0, 0, 0, 0])
                grant[0] += amount_mc
                self.granted_mc += amount_mc
                self.left_mc += amount_mc
            else:
                grant = self.grants[grant_id]
                source = _FIELD_OF_LETTER[parts[0]] + 1
                if grant[source] < amount_mc:
                    raise ValueError(f"{posting} takes more than the {grant[source]} mc there are")
                grant[source] -= amount_mc
                self.left_mc -= amount_mc * ((source == 1) - (target == 1))
            grant[target] += amount_mc
            charged_mc += amount_mc * (parts[1] == "c")
        return charged_mc
