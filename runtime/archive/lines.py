"""Lines of a statement: one archived entry each, checked against the entry before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pricing.offers import GrantKind
from pricing.usage import TokenUsage
from runtime.archive.errors import EntryDamaged
from runtime.credits.identity import Dimensions
from runtime.credits.journal import JournalEntry, JournalError, Kind, Part, chain_of, parse

_LEFT = (Part.AVAILABLE, Part.RESERVED)


class StatementKind(StrEnum):
    """The kinds of lines of a statement."""

    EXECUTION = "execution"
    PURCHASE = "purchase"
    GRANT = "grant"
    ADJUSTMENT = "adjustment"
    EXPIRY = "expiry"
    VOID = "void"
    PLAN_CHANGE = "plan change"
    CAP = "cap"
    SWITCH = "switch"
    REPAIR = "repair"
    ACCOUNT = "account"
    NAME = "name"


_WHAT = {
    Kind.OPENED: StatementKind.ACCOUNT,
    Kind.CLOSED: StatementKind.ACCOUNT,
    Kind.TIMEZONE_CHANGED: StatementKind.ACCOUNT,
    Kind.NAMED: StatementKind.NAME,
    Kind.GRANTED: StatementKind.GRANT,
    Kind.VOIDED: StatementKind.VOID,
    Kind.GRANT_EXPIRED: StatementKind.EXPIRY,
    Kind.PLAN_CHANGED: StatementKind.PLAN_CHANGE,
    Kind.CAP_SET: StatementKind.CAP,
    Kind.CAP_REMOVED: StatementKind.CAP,
    Kind.SWITCHED: StatementKind.SWITCH,
    Kind.REPAIRED: StatementKind.REPAIR,
    Kind.SETTLED: StatementKind.EXECUTION,
    Kind.RELEASED: StatementKind.EXECUTION,
    Kind.EXPIRED: StatementKind.EXECUTION,
    Kind.REFUSED: StatementKind.EXECUTION,
    Kind.EXPOSURE: StatementKind.EXECUTION,
}
_CAP = r"(?:day|month|total)(?:;(?:workspace_id|campaign_id|action|source)=[^;]+)*"
# What statements read of a detail; other kinds have none, or words for people.
_DETAILS = {
    kind: re.compile(pattern, re.ASCII)
    for kind, pattern in {
        Kind.OPENED: r"[^;]+;[01];[^;]+",
        Kind.GRANTED: rf"(?:{'|'.join(GrantKind)});[0-9]{{1,4}};[0-9]{{1,16}}",
        Kind.VOIDED: r"g[0-9]+;.+",
        Kind.CLOSED: r".+",
        Kind.PLAN_CHANGED: r"[^;]+;[01]",
        Kind.CAP_SET: rf"{_CAP};[0-9]{{1,16}};[0-9]{{1,16}}",
        Kind.CAP_REMOVED: _CAP,
        Kind.SWITCHED: r".+;[01]",
        Kind.REPAIRED: r"[^;]+;.*",
        Kind.TIMEZONE_CHANGED: r"[^;]+",
        Kind.SETTLED: r"[0-9]{0,16}(?:;(?:[0-9]+[.][0-9]+(?:,[0-9]+[.][0-9]+)*)?)?",
    }.items()
}
_WHAT_OF_GRANT = {
    GrantKind.PURCHASED: StatementKind.PURCHASE,
    GrantKind.ADJUSTMENT: StatementKind.ADJUSTMENT,
}


@dataclass(frozen=True, slots=True)
class GrantPayment:
    """Millicredits that one grant paid for a charge; ``kind`` and ``reference`` are its own."""

    grant_id: str
    kind: str
    reference: str
    amount_mc: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One entry of an account. Amounts are millicredits.

    Args:
        left_mc: the running balance: what the account had left (available and reserved) after it.
        change_mc: what the entry added to that, or took from it.
        payments: the grants that paid the charge, in the order in which they did.
        entry: all that the journal knows.
    """

    account_id: str
    entry: JournalEntry
    change_mc: int
    left_mc: int
    payments: tuple[GrantPayment, ...]

    @property
    def seq(self) -> int:
        """The entry's sequence number, which never changes."""
        return self.entry.seq

    @property
    def at(self) -> datetime:
        """The instant at which the entry was written, by the ledger's clock, in UTC."""
        return _instant(self.entry.at_ms)

    @property
    def effective_at(self) -> datetime:
        """The instant at which it took effect: an expiry may be written later."""
        return _instant(self.entry.effective_at_ms)

    @property
    def reserved_at(self) -> datetime | None:
        """The instant at which the credits of an execution were reserved."""
        at_ms = self.entry.reserved_at_ms
        return None if at_ms is None else _instant(at_ms)

    @property
    def what(self) -> StatementKind:
        """The kind of line."""
        if self.entry.kind is Kind.GRANTED:
            return _WHAT_OF_GRANT.get(GrantKind(self.entry.detail[0]), StatementKind.GRANT)
        return _WHAT[self.entry.kind]

    @property
    def charged_mc(self) -> int:
        """The amount charged."""
        return sum(payment.amount_mc for payment in self.payments)

    @property
    def reserved_mc(self) -> int:
        """The amount that had been reserved for what ends here."""
        return sum(self.entry.slices.values())

    @property
    def dimensions(self) -> Dimensions | None:
        """The place of the execution: its workspace, campaign, action, version, model, source."""
        return self.entry.dimensions

    @property
    def tokens(self) -> TokenUsage | None:
        """The tokens that were billed, by class."""
        return self.entry.tokens


GrantNames = dict[str, tuple[str, str]]
"""Kind and reference of grants by id."""


def change_mc(entry: JournalEntry) -> int:
    """Return by how much an entry changes what is left: available and reserved together."""
    return sum(
        posting.amount_mc * ((posting.target in _LEFT) - (posting.source in _LEFT))
        for posting in entry.postings
    )


def read_entry(account_id: str, row: Any) -> JournalEntry:
    """Read an entry of the archive, and check it against the one before it.

    Args:
        row: the columns of ``entries`` and, joined, ``before`` and ``before_mc`` (chain and
            ``left_mc`` of the entry before it) and the columns of ``dimensions``.

    Raises:
        EntryDamaged: it can't be read, or is not what the ledger wrote.
    """

    def damaged(why: str) -> EntryDamaged:
        return EntryDamaged(account_id, row.seq, why)

    if row.before is None and row.seq > 1:
        raise EntryDamaged(account_id, row.seq - 1, "it is missing")
    expected = chain_of(row.before or "", row.body)
    if row.chain != expected:
        raise damaged(f"its chain is {row.chain}, and {expected} by its body and the entry before")
    names = {} if row.workspace is None else {row.dims: _dimensions(row)}
    try:
        entry = parse(f"0-{row.seq}", {b"e": row.body.encode(), b"c": row.chain.encode()}, names)
    except (JournalError, UnicodeEncodeError) as error:
        raise damaged(str(error)) from None
    shape = _DETAILS.get(entry.kind)
    if shape is not None and not shape.fullmatch(";".join(entry.detail)):
        raise damaged("its detail can't be read")
    if (entry.at_ms, entry.effective_at_ms) != (row.at_ms, row.effective_ms):
        raise damaged("its time is not the one in its body")
    if row.left_mc != (row.before_mc or 0) + change_mc(entry):
        raise damaged("its running balance does not follow from the entry before")
    return entry


def line_of(account_id: str, entry: JournalEntry, left_mc: int, names: GrantNames) -> StatementLine:
    """Return the line of an entry.

    Args:
        names: of the grants that ``paying`` finds in it.
    """
    paid: dict[str, int] = {}
    for posting in entry.postings:
        if posting.target is Part.CHARGED:
            paid[posting.grant_id] = paid.get(posting.grant_id, 0) + posting.amount_mc
    payments = [
        GrantPayment(grant_id, *names.get(grant_id, ("", "")), amount_mc)
        for grant_id, amount_mc in paid.items()
    ]
    return StatementLine(account_id, entry, change_mc(entry), left_mc, tuple(payments))


def paying(entries: Iterable[JournalEntry]) -> set[str]:
    """Return the ids of the grants that pay for these entries."""
    return {
        posting.grant_id
        for entry in entries
        for posting in entry.postings
        if posting.target is Part.CHARGED
    }


def grant_names(account_id: str, rows: Sequence[Any], wanted: Callable[[str], bool]) -> GrantNames:
    """Return kind and reference of the wanted grants from entries of kind ``granted``.

    Raises:
        EntryDamaged: an entry can't be read.
    """
    found: GrantNames = {}
    for row in rows:
        try:
            fields = {b"e": row.body.encode(), b"c": row.chain.encode()}
            entry = parse(f"0-{row.seq}", fields, {})
        except JournalError as error:
            raise EntryDamaged(account_id, row.seq, str(error)) from None
        for posting in entry.postings:
            if posting.source is Part.NOTHING and wanted(posting.grant_id):
                found[posting.grant_id] = (entry.detail[0], entry.reference)
    return found


def _dimensions(row: Any) -> Dimensions:
    return Dimensions(
        row.workspace, row.campaign, row.action, row.action_version, row.model, row.source
    )


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
