"""What the journal says must have happened: ends of reservations, charges, caps and alerts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from fallback.reasons import FallbackReason
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.journal import JournalEntry, Kind, Part
from runtime.credits.results import GrantBalance
from tests.harness.races.course import MARKS

_ENDS = {Kind.SETTLED, Kind.RELEASED, Kind.EXPIRED}
_ABOVE_ITS_RESERVATION = {"late", "orphan", "quote_exceeded"}
_COLUMN = {
    "workspace_id": "workspace",
    "campaign_id": "campaign",
    "action": "action",
    "source": "source",
}


def charged_mc(entry: JournalEntry) -> int:
    """What the account was charged by an entry."""
    return sum(part.amount_mc for part in entry.postings if part.target is Part.CHARGED)


def settlements(entries: Iterable[JournalEntry]) -> Iterator[JournalEntry]:
    return (entry for entry in entries if entry.kind is Kind.SETTLED)


def ends(entries: Iterable[JournalEntry]) -> dict[tuple[str, int], list[JournalEntry]]:
    """The entries that end a reservation of something, by execution and when it was reserved."""
    found: dict[tuple[str, int], list[JournalEntry]] = defaultdict(list)
    for entry in entries:
        if entry.kind in _ENDS and entry.slices:
            assert entry.reserved_at_ms is not None
            found[entry.execution_key, entry.reserved_at_ms].append(entry)
    return found


# Caps


@dataclass(frozen=True, slots=True)
class CapMade:
    """When a cap that is there was made, and what it began with."""

    seq: int
    at_ms: int
    used_mc: int


def caps_made(entries: Iterable[JournalEntry]) -> dict[str, CapMade]:
    made: dict[str, CapMade] = {}
    for entry in entries:
        if entry.kind is Kind.CAP_SET:
            name = ";".join(entry.detail[:-2])
            made.setdefault(name, CapMade(entry.seq, entry.at_ms, int(entry.detail[-1])))
        elif entry.kind is Kind.CAP_REMOVED:
            del made[";".join(entry.detail)]
    return made


def cap_charges_mc(cap: Cap, entries: Iterable[JournalEntry], now_ms: int) -> tuple[int, int]:
    """What a cap's window must hold, from least to most.

    The two differ by what was reserved before the cap was made, or in the window before, and
    settled after: only the ledger knows which of those had been counted in. Where none was, they
    are the same.
    """
    made = caps_made(entries)[str(cap)]
    window = _window(cap, now_ms)
    least = most = made.used_mc if _window(cap, made.at_ms) == window else 0
    for entry in settlements(entries):
        if not matches(cap, entry) or entry.seq < made.seq:
            continue
        assert entry.reserved_at_ms is not None
        in_window = [_window(cap, at) == window for at in (entry.reserved_at_ms, entry.at_ms)]
        if any(in_window):
            most += charged_mc(entry)
        if all(in_window) and entry.reserved_at_ms > made.at_ms:
            least += charged_mc(entry)
    return least, most


def charged_above_reservations_mc(cap: Cap, entries: Iterable[JournalEntry]) -> int:
    """What late, orphan and too large settlements may have brought a cap above its limit."""
    return sum(
        charged_mc(entry)
        for entry in settlements(entries)
        if matches(cap, entry) and _ABOVE_ITS_RESERVATION & set(entry.flags)
    )


def matches(cap: Cap, entry: JournalEntry) -> bool:
    """Whether a cap is for an entry's dimensions."""
    return all(
        getattr(entry.dimensions, _COLUMN[name]) == value for name, value in cap.named.items()
    )


def _window(cap: Cap, at_ms: int) -> str:
    if cap.window is CapWindow.TOTAL:
        return ""
    day = datetime.fromtimestamp(at_ms / 1_000, UTC).date().isoformat()
    return day if cap.window is CapWindow.DAY else day[:7]


# Alerts


class Marks:
    """What must have been told, mark by mark: each once a crossing, armed again by a grant."""

    def __init__(self) -> None:
        self.told: dict[str, list[int]] = defaultdict(list)
        self._left_mc = self._top_mc = 0
        self._reached: set[str] = set()

    def read(self, entries: Iterable[JournalEntry]) -> None:
        for entry in entries:
            before_mc = self._left_mc
            self._left_mc += _change_of_left_mc(entry)
            if self._left_mc > before_mc:
                self._arm()
            elif self._left_mc < before_mc:
                self._cross(before_mc)
            if entry.reason in {
                FallbackReason.INSUFFICIENT_CREDITS,
                FallbackReason.EXECUTION_TOO_LARGE,
            }:
                lowest_mc = min(self._thresholds().values())
                if self._left_mc <= lowest_mc:
                    self._reach("exhausted", lowest_mc)

    def _arm(self) -> None:
        self._top_mc = self._left_mc
        for mark, threshold_mc in (self._thresholds() | {"exhausted": 0}).items():
            if self._left_mc > threshold_mc:
                self._reached.discard(mark)

    def _cross(self, before_mc: int) -> None:
        for mark, threshold_mc in (self._thresholds() | {"exhausted": 0}).items():
            if before_mc > threshold_mc >= self._left_mc:
                self._reach(mark, threshold_mc)

    def _reach(self, mark: str, threshold_mc: int) -> None:
        if mark not in self._reached:
            self._reached.add(mark)
            self.told[mark].append(threshold_mc)

    def _thresholds(self) -> dict[str, int]:
        return {
            mark: int(mark[1:]) if mark[0] == "a" else self._top_mc * int(mark[1:]) // 100
            for mark in MARKS
        }


def _change_of_left_mc(entry: JournalEntry) -> int:
    usable = {Part.AVAILABLE, Part.RESERVED}
    return sum(
        posting.amount_mc * ((posting.target in usable) - (posting.source in usable))
        for posting in entry.postings
    )


# References


def references(entries: Iterable[JournalEntry]) -> Counter[str]:
    """How often each reference changed the account."""
    return Counter(entry.reference for entry in entries if entry.reference)


def parts_of(grant: GrantBalance) -> dict[Part, int]:
    """A grant's parts, as ``replay`` has them."""
    return {
        Part.AVAILABLE: grant.available_mc,
        Part.RESERVED: grant.reserved_mc,
        Part.CHARGED: grant.charged_mc,
        Part.EXPIRED: grant.expired_mc,
        Part.VOIDED: grant.voided_mc,
    }
