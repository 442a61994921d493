"""Reads the journal: typed entries, their chain, and the balance that they add up to.

A stream entry ``0-<seq>`` has two fields: ``e``, the body, and ``c``, the chain, which is the
first 12 hexadecimal digits of SHA-1 over the previous entry's chain and this body. The body is
one line of tab-separated columns, empty ones at its end left out:

     1  version         the schema of the account when it was written: 1 or 2
     2  epoch           random, new when the account is opened or rebuilt, or a loss is accepted
     3  kind            the letter of a ``Kind``
     4  at              milliseconds since 1970 by the server's clock: when it was written
     5  execution_key
     6  postings        ``grant:from and to:millicredits``, separated by commas; the parts are
                        n(othing), a(vailable), r(eserved), c(harged), e(xpired), v(oided)
     7  reserved for    milliseconds before ``at`` at which the reservation that ends here was made
     8  dimensions      the number that an entry of kind ``named`` gave them
     9  tokens          input, cached input, cache write, output, reasoning; a 0 may be left out,
                        and commas at the end
    10  rate card       its version
    11  flags           late, orphan, superseded, quote_exceeded, usage_estimated, exposure, ...
    12  reason          why the execution fell back; of a settlement, from version 2 on, why the
                        first of its outputs that has its fallback value has it
    13  overage         millicredits that nothing was left to pay for
    14  exposure        millicredits that the operator may owe without having charged them; negative
                        where a late ending corrects what was booked as its reservation expired
    15  effective_at    where it differs from ``at``: when time ended what is written only now
    16  actor          17  reference
    18  detail          to the end of the line; of an entry ``named`` the six dimensions separated
                        by tabs, of others separated by semicolons: of an opened account plan,
                        eligible, timezone; of a grant kind, priority, expiry; of a void grant and
                        reason; of a closing its reason; of a plan change plan, eligible; of a time
                        zone change the new one; of a cap its window and dimensions, limit, and
                        what it began with; of a switch its target and 1 for on; of a settlement
                        what it would have cost if it was free, and from version 2 on the options
                        that the model chose: ``output.option``, both numbered from 0 in the
                        order of the action version, separated by commas; of a repair ``loss`` or
                        ``resumed``, the epoch before and the reason, or ``clock``, the account's
                        clock before and the reason

Reservations are not journaled: what a reservation had set aside is what its end moves out of
``reserved``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC
from pricing.usage import TokenUsage
from runtime.credits.checks import check_whole
from runtime.credits.identity import Dimensions

VERSION = 2
_COLUMNS = 18
CHAIN_DIGITS = 12


class JournalError(ValueError):
    """An entry that can't be read or does not continue the previous one."""


class Kind(StrEnum):
    """The kinds of entries."""

    OPENED = "opened"
    NAMED = "named"
    GRANTED = "granted"
    VOIDED = "voided"
    CLOSED = "closed"
    PLAN_CHANGED = "plan_changed"
    CAP_SET = "cap_set"
    CAP_REMOVED = "cap_removed"
    SWITCHED = "switched"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"
    GRANT_EXPIRED = "grant_expired"
    REFUSED = "refused"
    EXPOSURE = "exposure"
    REPAIRED = "repaired"
    TIMEZONE_CHANGED = "timezone_changed"


_KIND_OF_LETTER = {
    "o": Kind.OPENED,
    "n": Kind.NAMED,
    "g": Kind.GRANTED,
    "v": Kind.VOIDED,
    "c": Kind.CLOSED,
    "p": Kind.PLAN_CHANGED,
    "k": Kind.CAP_SET,
    "u": Kind.CAP_REMOVED,
    "w": Kind.SWITCHED,
    "s": Kind.SETTLED,
    "r": Kind.RELEASED,
    "e": Kind.EXPIRED,
    "x": Kind.GRANT_EXPIRED,
    "f": Kind.REFUSED,
    "b": Kind.EXPOSURE,
    "y": Kind.REPAIRED,
    "z": Kind.TIMEZONE_CHANGED,
}
LETTERS = frozenset(_KIND_OF_LETTER)
"""The letters of all kinds."""


class Part(StrEnum):
    """The parts of a balance; ``NOTHING`` is where granted credits come from."""

    NOTHING = "n"
    AVAILABLE = "a"
    RESERVED = "r"
    CHARGED = "c"
    EXPIRED = "e"
    VOIDED = "v"


@dataclass(frozen=True, slots=True)
class Posting:
    """Credits of one grant that moved from one part of the balance to another."""

    grant_id: str
    source: Part
    target: Part
    amount_mc: int


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry. Instants are milliseconds since 1970, amounts millicredits."""

    epoch: str
    seq: int
    chain: str
    body: str
    kind: Kind
    at_ms: int
    effective_at_ms: int
    execution_key: str
    postings: tuple[Posting, ...]
    reserved_at_ms: int | None
    dimensions: Dimensions | None
    tokens: TokenUsage | None
    rate_card_version: str
    flags: tuple[str, ...]
    reason: FallbackReason | None
    overage_mc: int
    exposure_mc: int
    actor: str
    reference: str
    detail: tuple[str, ...]

    @property
    def free_mc(self) -> int:
        """The amount that an answer would have cost if it were not free; it counts under caps."""
        return int(self.detail[0] or 0) if self.kind is Kind.SETTLED and self.detail else 0

    @property
    def choices(self) -> tuple[tuple[int, int], ...]:
        """The options that the model chose, as the numbers of their outputs and of their own."""
        if self.kind is not Kind.SETTLED or len(self.detail) < 2:
            return ()
        return tuple(map(_choice, self.detail[1].split(",")))

    @property
    def slices(self) -> dict[str, int]:
        """The amounts, by grant, that the reservation ended by this entry had set aside."""
        slices: dict[str, int] = {}
        for posting in self.postings:
            if posting.source is Part.RESERVED:
                reserved_mc = slices.get(posting.grant_id, 0)
                slices[posting.grant_id] = reserved_mc + posting.amount_mc
        return slices


def parse(
    entry_id: str | bytes, fields: Mapping[bytes, bytes], names: dict[int, Dimensions]
) -> JournalEntry:
    """Read one stream entry, as redis-py returns it without decoding.

    Args:
        names: dimensions by their number, from the account's earlier entries; an entry of kind
            ``named`` adds to it.

    Raises:
        JournalError: it is damaged, or of a newer version; the message names the entry.
    """
    name = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    try:
        body, chain = fields[b"e"].decode(), fields[b"c"].decode()
        return _entry(int(name.removeprefix("0-")), chain, body, names)
    except (KeyError, TypeError, ValueError) as exc:
        raise JournalError(f"journal entry {name}: {type(exc).__name__}: {exc}") from exc


def chain_of(previous: str, body: str) -> str:
    """Return the chain of an entry with this body that follows one with chain ``previous``."""
    digest = hashlib.sha1((previous + body).encode(), usedforsecurity=False)
    return digest.hexdigest()[:CHAIN_DIGITS]


def verify(entries: Iterable[JournalEntry], previous: str = "", seq: int = 0) -> None:
    """Check that entries continue each other, starting after entry ``seq`` with chain ``previous``.

    Raises:
        JournalError: a sequence number is missing or a chain differs; the message names it.
    """
    for entry in entries:
        seq += 1
        if entry.seq != seq:
            raise JournalError(f"journal entry 0-{seq} is missing, found 0-{entry.seq}")
        previous = chain_of(previous, entry.body)
        if entry.chain != previous:
            raise JournalError(f"journal entry 0-{seq}: chain {entry.chain}, expected {previous}")


@dataclass(slots=True)
class GrantParts:
    """The parts of one grant, rebuilt; in millicredits."""

    amount_mc: int = 0
    parts_mc: dict[Part, int] = field(
        default_factory=lambda: {part: 0 for part in Part if part is not Part.NOTHING}
    )


@dataclass(slots=True)
class Books:
    """The balance that a journal adds up to, by grant. Open reservations count as available."""

    grants: dict[str, GrantParts] = field(default_factory=dict)
    overage_mc: int = 0
    exposure_mc: int = 0


def replay(entries: Iterable[JournalEntry]) -> Books:
    """Rebuild the balance from postings alone, without business rules.

    Raises:
        JournalError: a posting takes more from a part than it holds; the message names the entry.
    """
    books = Books()
    for entry in entries:
        for grant_id, amount_mc in entry.slices.items():
            reserve = Posting(grant_id, Part.AVAILABLE, Part.RESERVED, amount_mc)
            _move(books, entry, reserve)
        for posting in entry.postings:
            _move(books, entry, posting)
        books.overage_mc += entry.overage_mc
        # The ledger's sum stops at the largest amount, and a correction starts from there.
        books.exposure_mc = max(0, min(MAX_MC, books.exposure_mc + entry.exposure_mc))
    return books


def _move(books: Books, entry: JournalEntry, posting: Posting) -> None:
    grant = books.grants.setdefault(posting.grant_id, GrantParts())
    if posting.source is Part.NOTHING:
        grant.amount_mc += posting.amount_mc
    else:
        grant.parts_mc[posting.source] -= posting.amount_mc
        if grant.parts_mc[posting.source] < 0:
            raise JournalError(f"journal entry 0-{entry.seq}: {posting} takes more than is there")
    grant.parts_mc[posting.target] += posting.amount_mc


def _entry(seq: int, chain: str, body: str, names: dict[int, Dimensions]) -> JournalEntry:
    columns = body.split("\t", _COLUMNS - 1)
    if int(columns[0]) > VERSION:
        raise ValueError(
            f"version {columns[0]} was written by a newer release, this one reads up to {VERSION}: "
            "run the newer release"
        )
    columns += [""] * (_COLUMNS - len(columns))
    _, epoch, letter, at, execution_key, postings, reserved_for, dims = columns[:8]
    tokens, rate_card, flags, reason, overage, exposure, effective = columns[8:15]
    actor, reference, detail = columns[15:]
    kind = _KIND_OF_LETTER[letter]
    details = tuple(detail.split("\t" if kind is Kind.NAMED else ";")) if detail else ()
    if kind is Kind.NAMED:
        names[int(dims)] = Dimensions(*details)
    elif "\t" in detail:
        raise ValueError(f"more than {_COLUMNS} columns")
    entry = JournalEntry(
        epoch=epoch,
        seq=seq,
        chain=chain,
        body=body,
        kind=kind,
        at_ms=int(at),
        effective_at_ms=int(effective or at),
        execution_key=execution_key,
        postings=tuple(_posting(text) for text in postings.split(",") if text),
        reserved_at_ms=int(at) - int(reserved_for) if reserved_for else None,
        dimensions=names[int(dims)] if dims else None,
        tokens=_tokens(tokens) if tokens else None,
        rate_card_version=rate_card,
        flags=tuple(flag for flag in flags.split(",") if flag),
        reason=FallbackReason(reason) if reason else None,
        overage_mc=int(overage or 0),
        exposure_mc=int(exposure or 0),
        actor=actor,
        reference=reference,
        detail=details,
    )
    if kind is Kind.SETTLED and details:
        _check_detail(entry)
    return entry


def _check_detail(entry: JournalEntry) -> None:
    """Raise ``ValueError`` unless the detail of a settlement can be read."""
    if entry.free_mc < 0 or len(entry.detail) > 2 or any(min(pair) < 0 for pair in entry.choices):
        raise ValueError(f"unknown detail {entry.detail!r}")


def _choice(text: str) -> tuple[int, int]:
    output, option = map(int, text.split("."))
    return output, option


def choices_column(choices: Iterable[tuple[int, int]]) -> str:
    """Write the chosen options as ``JournalEntry.choices`` has them.

    Raises:
        ValueError: a number is not allowed.
    """
    for pair in choices:
        for number in pair:
            check_whole(number, "choices")
    return ",".join(f"{output}.{option}" for output, option in choices)


def _posting(text: str) -> Posting:
    grant_id, parts, amount = text.split(":")
    return Posting(grant_id, Part(parts[:1]), Part(parts[1:]), int(amount))


def _tokens(text: str) -> TokenUsage:
    numbers = [int(number or 0) for number in text.split(",")]
    prompt, cached, cache_write, output, reasoning = numbers + [0] * (5 - len(numbers))
    return TokenUsage(prompt, output, cached, cache_write, reasoning)


def tokens_column(usage: TokenUsage) -> str:
    """Write the column ``tokens``, without what a reader takes for 0."""
    numbers = (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
    return ",".join(str(number or "") for number in numbers).rstrip(",") or "0"
