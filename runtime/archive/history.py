"""The state that a journal leaves an account in, gathered for making its records again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import unquote

from pricing.offers import windows_around
from runtime.archive.replay import Entry, Replay
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.identity import Dimensions
from runtime.credits.journal import JournalError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class GrantTerms:
    """The terms of a grant. ``expires_ms`` and ``voided_ms`` are 0 for never."""

    kind: str
    priority: int
    expires_ms: int
    created_ms: int
    reference: str
    voided_ms: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """A change made under a reference: its kind, what a repeat is compared with, the answer."""

    kind: str
    compared: tuple[str, ...]
    answer: str = ""


@dataclass(slots=True)
class CapTerms:
    """A cap that is in force, its last window, and what that has used; ``end_ms`` is 0 for never.

    A window lasts until its end; the next one begins with the first execution that counts after
    it, by the time zone of that moment.
    """

    limit_mc: int
    begin_ms: int
    end_ms: int
    used_mc: int


@dataclass(slots=True)
class History:
    """An account as its entries so far made it. Instants are milliseconds since 1970."""

    books: Replay = field(default_factory=Replay)
    version: int = 1
    epoch: str = ""
    last_ms: int = 0
    state: str = "open"
    plan: str = ""
    eligible: str = "0"
    timezones: list[tuple[int, str]] = field(default_factory=list)
    top_mc: int = 0
    grants: dict[str, GrantTerms] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    dimensions: dict[int, str] = field(default_factory=dict)
    caps: dict[Cap, CapTerms] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    _left_before_grant: int | None = None
    # Executions that had reserved nothing as they expired: their late charges count where they end.
    _expired_free: set[str] = field(default_factory=set)

    def apply(self, entry: Entry) -> None:
        """Add an entry.

        Raises:
            JournalError: it can't be read, or does not continue the others.
        """
        left_before = self.books.left_mc
        columns = self.books.apply(entry)
        try:
            self._apply(columns, left_before)
        except (IndexError, KeyError, ValueError) as exc:
            where = f"journal entry 0-{entry.seq}"
            raise JournalError(f"{where}: {type(exc).__name__}: {exc}") from exc

    def _apply(self, columns: list[str], left_before: int) -> None:
        letter, at_ms = columns[2], int(columns[3])
        self._note_top(letter, at_ms, left_before)
        self.version, self.epoch, self.last_ms = int(columns[0]), columns[1], at_ms
        if letter in "sre":
            self._count_under_caps(columns, at_ms)
        elif letter in self._GATHER:
            self._GATHER[letter](self, columns, at_ms)

    def _note_top(self, letter: str, at_ms: int, left_before: int) -> None:
        """Note what the last grant left. What expires as it comes is no part of it."""
        if letter == "g":
            self._left_before_grant = left_before
        elif letter != "x" or at_ms != self.last_ms:
            self._left_before_grant = None
        if self._left_before_grant is None:
            return
        if self.books.left_mc > self._left_before_grant:
            self.top_mc = self.books.left_mc

    def _count_under_caps(self, columns: list[str], at_ms: int) -> None:
        if columns[2] == "e" and not columns[5]:
            self._expired_free.add(columns[4])
        if not self.caps or not columns[7]:
            return
        dimensions = self.dimensions_of(columns)
        counted_mc = counted_charge(columns) if columns[2] == "s" else 0
        counted_ms = at_ms
        if columns[4] not in self._expired_free:
            counted_ms = counted_from_ms(columns, at_ms)
        for cap, terms in self.caps.items():
            if not matches(cap, dimensions):
                continue
            if terms.end_ms and counted_ms >= terms.end_ms:
                terms.begin_ms, terms.used_mc = terms.end_ms, 0
                terms.end_ms = self._end_of_window(cap, counted_ms)
            if counted_ms >= terms.begin_ms:
                terms.used_mc += counted_mc

    def _end_of_window(self, cap: Cap, at_ms: int) -> int:
        """Return the end of the window that begins with an execution, 0 for never."""
        if cap.window == CapWindow.TOTAL:
            return 0
        zone = next(zone for from_ms, zone in reversed(self.timezones) if from_ms <= at_ms)
        day, month = windows_around(_EPOCH + timedelta(milliseconds=at_ms), zone)
        window = day if cap.window == CapWindow.DAY else month
        return (window[1] - _EPOCH) // timedelta(milliseconds=1)

    def dimensions_of(self, columns: list[str]) -> Dimensions:
        """Return the dimensions of an entry about an execution."""
        return Dimensions(*self.dimensions[int(columns[7])].split("\t"))

    # Entries by their kind

    def _opened(self, columns: list[str], at_ms: int) -> None:
        self.plan, self.eligible, timezone = _details(columns, 3)
        self.timezones = [(0, timezone)]

    def _named(self, columns: list[str], at_ms: int) -> None:
        self.dimensions[int(columns[7])] = columns[17]

    def _granted(self, columns: list[str], at_ms: int) -> None:
        kind, priority, expires = _details(columns, 3)
        grant_id, _, amount = columns[5].split(":")
        reference = columns[16]
        self.grants[grant_id] = GrantTerms(kind, int(priority), int(expires), at_ms, reference)
        self.references[reference] = Reference(kind, (amount,), grant_id)

    def _voided(self, columns: list[str], at_ms: int) -> None:
        grant_id = _details(columns, 2)[0]
        amounts = [posting.split(":")[2] for posting in columns[5].split(",") if posting]
        self.references[columns[16]] = Reference("void", (grant_id,), (amounts or ["0"])[0])
        # What open reservations have of it counts as left: what has ended is not voided any more.
        if amounts or self.books.grants[grant_id][1]:
            terms = self.grants[grant_id]
            terms.voided_ms = terms.voided_ms or at_ms

    def _closed(self, columns: list[str], at_ms: int) -> None:
        self.state = "closed"
        self.references[columns[16]] = Reference("close", ())
        emptied = {posting.split(":")[0] for posting in columns[5].split(",") if posting}
        for grant_id, terms in self.grants.items():
            if grant_id in emptied or self.books.grants[grant_id][1]:
                terms.voided_ms = terms.voided_ms or at_ms

    def _plan_changed(self, columns: list[str], at_ms: int) -> None:
        self.plan, self.eligible = _details(columns, 2)
        self.references[columns[16]] = Reference("plan_change", (self.plan,))

    def _timezone_changed(self, columns: list[str], at_ms: int) -> None:
        self.timezones.append((at_ms, columns[17]))
        self.references[columns[16]] = Reference("timezone_change", (columns[17],))

    def _cap_set(self, columns: list[str], at_ms: int) -> None:
        name, limit, used = _details(columns, 3)
        self.references[columns[16]] = Reference("cap", (name, limit))
        cap = cap_named(name)
        if cap in self.caps:
            self.caps[cap].limit_mc = int(limit)
        else:
            end_ms = self._end_of_window(cap, at_ms)
            self.caps[cap] = CapTerms(int(limit), at_ms, end_ms, int(used))

    def _cap_removed(self, columns: list[str], at_ms: int) -> None:
        self.references[columns[16]] = Reference("cap", (columns[17], "none"))
        del self.caps[cap_named(columns[17])]

    def _switched(self, columns: list[str], at_ms: int) -> None:
        target, on = _details(columns, 2)
        self.references[columns[16]] = Reference("switch", (target, on))
        field_name = "off " + target.replace(" ", "\t", 1)
        (self.off.discard if on == "1" else self.off.add)(field_name)

    def _repaired(self, columns: list[str], at_ms: int) -> None:
        if columns[17].startswith("forgotten;"):
            self.references[columns[16]] = Reference("forgotten", ())
        elif columns[16].startswith("epoch:"):
            before = columns[17].split(";")[1]
            kind = "resumed" if columns[17].startswith("resumed;") else "loss_accepted"
            self.references[columns[16]] = Reference(kind, (), before)

    _GATHER: ClassVar[Mapping[str, Callable[[History, list[str], int], None]]] = {
        "o": _opened,
        "n": _named,
        "g": _granted,
        "v": _voided,
        "c": _closed,
        "p": _plan_changed,
        "z": _timezone_changed,
        "k": _cap_set,
        "u": _cap_removed,
        "w": _switched,
        "y": _repaired,
    }


def cap_named(name: str) -> Cap:
    """Return the cap whose text this is, as the journal has it.

    Raises:
        ValueError: it is none.
    """
    window, *named = name.split(";")
    fields = dict(one.split("=", 1) for one in named)
    return Cap(window, **{field: unquote(value) for field, value in fields.items()})  # type: ignore[arg-type]  # it is checked


def matches(cap: Cap, dimensions: Dimensions) -> bool:
    """Return whether a cap counts executions with these dimensions."""
    having = {
        "workspace_id": dimensions.workspace,
        "campaign_id": dimensions.campaign,
        "action": dimensions.action,
        "source": dimensions.source,
    }
    return all(having[name] == value for name, value in cap.named.items())


def charged(columns: list[str]) -> int:
    """Return what an entry charges."""
    moved = (posting.split(":") for posting in columns[5].split(",") if posting)
    return sum(int(amount) for _, parts, amount in moved if parts[1] == "c")


def counted_charge(columns: list[str]) -> int:
    """Return what a settlement counts under caps: its charge, and what was free."""
    return charged(columns) + int(columns[17].split(";")[0] or 0)


def counted_from_ms(columns: list[str], at_ms: int) -> int:
    """Return the moment whose windows an execution counts in.

    They are those of its reservation; an orphan's, and those of an execution that reserved nothing,
    are the windows in which it was settled.
    """
    reserved_nothing = not any(one.split(":")[1][0] == "r" for one in columns[5].split(",") if one)
    if reserved_nothing and "late" not in columns[10].split(","):
        return at_ms
    return at_ms - int(columns[6] or 0)


def _details(columns: list[str], count: int) -> list[str]:
    """Return the details of an entry: the first may hold semicolons where it is a name."""
    if columns[2] == "v":
        return columns[17].split(";", count - 1)
    return columns[17].rsplit(";", count - 1)
