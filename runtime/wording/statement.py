"""Sentences about an account's entries: what each of them was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import unquote

from pricing.offers import GrantKind
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.journal import JournalEntry, Kind, Part
from runtime.wording.amounts import credits_text
from runtime.wording.caps import cap_target_text, cap_text
from runtime.wording.reasons import REASONS

FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "late": "it came after its reservation had expired, and was paid from what was left then",
        "orphan": "its reservation was not known any more; it was paid from what was left then",
        "superseded": "another attempt of the same execution was charged",
        "quote_exceeded": "it cost more than was reserved for it",
        "usage_estimated": "the answer did not report its usage; the charge is by our own count",
        "usage_capped": "the answer reported more tokens than its request could have used",
        "exposure": "the provider may bill a call that nobody was charged for",
        "free_preview": "previews are free",
    }
)
"""The meaning of an entry's flags."""


def entry_text(entry: JournalEntry) -> str:
    """Return what an entry was, in words."""
    return _TEXTS[entry.kind](entry)


def _settled(entry: JournalEntry) -> str:
    free = f", free (else {credits_text(entry.free_mc)} credits)" if entry.free_mc else ""
    fallback = f", with fallback values: {REASONS[entry.reason]}" if entry.reason else ""
    return f"execution {_place(entry)}{free}{fallback}"


def _released(entry: JournalEntry) -> str:
    why = f": {REASONS[entry.reason]}" if entry.reason else ""
    return f"execution {_place(entry)} without an answer{why}"


def _expired(entry: JournalEntry) -> str:
    return f"execution {_place(entry)} that never ended; its reservation expired"


def _refused(entry: JournalEntry) -> str:
    why = f": {REASONS[entry.reason]}" if entry.reason else ""
    return f"execution {_place(entry)} not admitted{why}"


def _exposure(entry: JournalEntry) -> str:
    return f"a further call for an execution {_place(entry)}, charged to nobody"


def _granted(entry: JournalEntry) -> str:
    kind, _, expiry = entry.detail
    expires = "" if expiry == "0" else f", expires {_day(int(expiry))}"
    grants = _grants(entry)
    if kind == GrantKind.PURCHASED:
        return f"purchase, {grants}{expires}"
    if kind == GrantKind.ADJUSTMENT:
        corrects = " for an execution" if entry.execution_key else ""
        return f"adjustment{corrects}, {grants}{expires}"
    return f"{kind} grant {grants}{expires}"


def _voided(entry: JournalEntry) -> str:
    grant_id, *reason = entry.detail
    return f"void of what was left of grant {grant_id}: {';'.join(reason)}"


def _closed(entry: JournalEntry) -> str:
    return f"account closed, what was left voided: {';'.join(entry.detail)}"


def _opened(entry: JournalEntry) -> str:
    plan, _, timezone = entry.detail
    return f"account opened with plan {plan}, time zone {timezone}"


def _plan_changed(entry: JournalEntry) -> str:
    plan, eligible = entry.detail
    return f"plan changed to {plan}{'' if eligible == '1' else ', which has no AI credits'}"


def _cap_set(entry: JournalEntry) -> str:
    *name, limit, _ = entry.detail
    return f"cap set: {cap_text(_cap(name), int(limit))}"


def _cap_removed(entry: JournalEntry) -> str:
    return f"cap removed: for {cap_target_text(_cap(entry.detail))}"


def _switched(entry: JournalEntry) -> str:
    *target, on = entry.detail
    return f"switched {'on' if on == '1' else 'off'}: {';'.join(target)}"


_REPAIRS: Mapping[str, str] = MappingProxyType(
    {
        "loss": "repair: went on after writes were lost",
        "clock": "repair: clock set back",
        "rebuilt": "repair: made again from the archive",
        "resumed": "repair: went on after it was stopped",
        "forgotten": "a person's values erased",
    }
)
"""The words for a repair, by the first word of the entry's detail."""


def _repaired(entry: JournalEntry) -> str:
    what, *rest = entry.detail
    if what not in _REPAIRS:
        return f"repair ({what}): {';'.join(rest)}"
    return f"{_REPAIRS[what]}: {';'.join(rest[1:])}"


def _timezone_changed(entry: JournalEntry) -> str:
    return f"time zone changed to {entry.detail[0]}"


def _named(entry: JournalEntry) -> str:
    return f"dimensions of later entries: {', '.join(part for part in entry.detail if part)}"


def _grant_expired(entry: JournalEntry) -> str:
    return f"expiry of grant {_grants(entry)}"


_TEXTS: Mapping[Kind, Callable[[JournalEntry], str]] = {
    Kind.SETTLED: _settled,
    Kind.RELEASED: _released,
    Kind.EXPIRED: _expired,
    Kind.REFUSED: _refused,
    Kind.EXPOSURE: _exposure,
    Kind.GRANTED: _granted,
    Kind.GRANT_EXPIRED: _grant_expired,
    Kind.VOIDED: _voided,
    Kind.CLOSED: _closed,
    Kind.OPENED: _opened,
    Kind.PLAN_CHANGED: _plan_changed,
    Kind.CAP_SET: _cap_set,
    Kind.CAP_REMOVED: _cap_removed,
    Kind.SWITCHED: _switched,
    Kind.REPAIRED: _repaired,
    Kind.TIMEZONE_CHANGED: _timezone_changed,
    Kind.NAMED: _named,
}


def _place(entry: JournalEntry) -> str:
    found = entry.dimensions
    if found is None:
        return "of an unknown action"
    source = "" if found.source == "live" else f" ({found.source})"
    return f"of {found.action} in {found.campaign}{source}"


def _grants(entry: JournalEntry) -> str:
    moved = (posting for posting in entry.postings if posting.source is not Part.RESERVED)
    return ", ".join(dict.fromkeys(posting.grant_id for posting in moved))


def _cap(parts: Sequence[str]) -> Cap:
    """Return the cap that ``str`` made this text of, split at its semicolons."""
    window, *named = parts
    pairs = (part.partition("=") for part in named)
    return Cap(CapWindow(window), **{name: unquote(value) for name, _, value in pairs})


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def archived_text(seq: int, forked: bool) -> str:
    """Return how far an account is archived."""
    if forked:
        return (
            f"Archived up to entry {seq}. STOPPED THERE: Redis lost entries and wrote others in "
            "their place."
        )
    return f"Archived up to entry {seq}; newer ones are in Redis until they are archived."
