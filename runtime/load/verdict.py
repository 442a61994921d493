"""The verdict on a load: what the books say, beside what callers were told and the mock counted.

Three sources are compared that know nothing of each other: the entries of the journals, the mock
provider's own counts, and the answers that callers got. The audit of the archive, which replays
every journal and compares it with the ledger, counts too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from providers.mock.options import AnswerKind
from runtime.archive.audit import Audit
from runtime.credits.identity import Identity
from runtime.load.books import AccountBooks
from runtime.load.generator import UNKNOWN
from runtime.wording.amounts import credits_text

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Calls:
    """The mock provider's own counts.

    Args:
        requests: all calls of a model.
        answers: those that were answered with status 200, whatever was in the answer.
        runs: those for which a provider would send a bill, answered or not.
    """

    requests: int
    answers: int
    runs: int

    @classmethod
    def between(cls, before: Mapping[str, Any], after: Mapping[str, Any]) -> Calls:
        """Return what was counted between two readings of ``/stats``."""
        return cls(
            requests=after["requests"] - before["requests"],
            answers=_answers(after) - _answers(before),
            runs=after["model_runs"] - before["model_runs"],
        )


def _answers(stats: Mapping[str, Any]) -> int:
    outcomes = stats["outcomes"]
    return sum(outcomes.get(kind.value, 0) for kind in AnswerKind)


@dataclass(frozen=True, slots=True)
class Told:
    """The charges that callers were told, by account and execution key."""

    charges: Mapping[str, Mapping[str, int]]

    @classmethod
    def read(cls, files: Iterable[Path], identity: Identity) -> Told:
        """Return what the processes of a load noted."""
        charges: dict[str, dict[str, int]] = {}
        for account_id, execution_id, charged_mc in _records(files):
            key = identity.execution_key(account_id, execution_id)
            charges.setdefault(account_id, {})[key] = charged_mc
        return cls(charges)


def _records(files: Iterable[Path]) -> Iterator[tuple[str, str, int]]:
    for path in files:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                account_id, execution_id, charged_mc = line.rstrip("\n").split("\t")
                yield account_id, execution_id, int(charged_mc)


@dataclass(slots=True)
class Verdict:
    """Promises that the ledger broke: each number is to be zero.

    Args:
        overspent_mc: millicredits that accounts were charged beyond what they were granted.
        leaks: reservations that were not ended by the execution that made them, and accounts with
            credits that are still set aside.
        double_charges: executions that were charged twice, or for which no answer was given.
        lost_settlements: answers that the provider gave, or charges that a caller was told, and
            that are not in the books.
        differences: what the audit found that does not agree.
        details: what each number is made of, some of it.
    """

    overspent_mc: int = 0
    leaks: int = 0
    double_charges: int = 0
    lost_settlements: int = 0
    differences: int = 0
    entries: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True if every promise was kept."""
        return not (
            self.overspent_mc
            or self.leaks
            or self.double_charges
            or self.lost_settlements
            or self.differences
        )

    def to_json(self) -> dict[str, Any]:
        """Return the numbers and details in JSON types."""
        return {
            "holds": self.holds,
            "overspent_mc": self.overspent_mc,
            "leaks": self.leaks,
            "double_charges": self.double_charges,
            "lost_settlements": self.lost_settlements,
            "audit_differences": self.differences,
            "entries": self.entries,
            "details": self.details[:_MOST_SHOWN],
        }


def judge(books: Sequence[AccountBooks], told: Told, calls: Calls, audit: Audit) -> Verdict:
    """Compare the books with what callers were told and with what the provider counted."""
    verdict = Verdict(entries=audit.entries)
    for account in books:
        _judge_account(verdict, account, told.charges.get(account.account_id, {}))
    _judge_calls(verdict, books, calls)
    verdict.differences = len(audit.differences) + len(audit.damaged_told)
    verdict.differences += sum(len(account.unreadable) for account in books)
    verdict.details += [
        f"{one.account_id}{'' if one.seq is None else f', entry {one.seq}'}: {one.what}"
        for one in audit.differences
    ]
    verdict.details += audit.damaged_told
    _judge_lost(verdict, audit)
    return verdict


def _judge_lost(verdict: Verdict, audit: Audit) -> None:
    """Note entries that processes were told of and that are gone.

    Where the replay of an account ends at a difference, nobody knows what follows it: the
    difference is noted already.
    """
    replayed = [
        lost
        for lost in audit.lost
        if not any(one.account_id == lost.account_id for one in audit.differences)
    ]
    verdict.lost_settlements = max(verdict.lost_settlements, sum(one.count for one in replayed))
    verdict.details += [
        f"{one.account_id}: entries {one.first_seq} to {one.last_seq} were acknowledged, and are "
        "lost"
        for one in replayed
    ]


def _judge_account(verdict: Verdict, books: AccountBooks, told: Mapping[str, int]) -> None:
    name, note = books.account_id, verdict.details.append
    if books.overspent_mc > 0:
        verdict.overspent_mc += books.overspent_mc
        note(
            f"{name}: {credits_text(books.overspent_mc)} credits were spent beyond the "
            f"{credits_text(books.granted_mc)} that its journal has granted"
        )
    if books.reserved_mc:
        verdict.leaks += 1
        note(f"{name}: {credits_text(books.reserved_mc)} credits are still reserved")
    if books.expired:
        verdict.leaks += books.expired
        note(f"{name}: {books.expired} reservations ended by their deadline alone")
    for key, again_mc in books.settled_again.items():
        verdict.double_charges += 1
        note(f"{name}: execution {key} is settled again, for {credits_text(again_mc)} credits")
    for key, charged_mc in told.items():
        booked_mc = books.settled.get(key)
        if booked_mc is None and charged_mc > 0:
            verdict.lost_settlements += 1
            note(
                f"{name}: the caller of {key} was told a charge of {credits_text(charged_mc)} "
                "credits, which is not in the books"
            )
        elif booked_mc is not None and charged_mc not in (UNKNOWN, booked_mc):
            verdict.double_charges += booked_mc > charged_mc
            verdict.lost_settlements += booked_mc < charged_mc
            note(
                f"{name}: the caller of {key} was told a charge of {credits_text(charged_mc)} "
                f"credits, and {credits_text(booked_mc)} are in the books"
            )
    strangers = [key for key, charged_mc in books.settled.items() if key not in told and charged_mc]
    if strangers:
        verdict.double_charges += len(strangers)
        note(f"{name}: {len(strangers)} executions are charged that the load has not run")


def _judge_calls(verdict: Verdict, books: Sequence[AccountBooks], calls: Calls) -> None:
    """Compare sums with the provider's counts: each answer is settled once."""
    settlements = sum(account.settlements for account in books)
    # Where a caller gives up just as the answer leaves the provider, only the provider counts it.
    given_up = sum(account.given_up for account in books)
    if settlements > calls.answers:
        more = settlements - calls.answers
        verdict.double_charges = max(verdict.double_charges, more)
        verdict.details.append(
            f"the provider gave {calls.answers:,} answers, and {settlements:,} are settled"
        )
    elif (missing := calls.answers - settlements - given_up) > 0:
        verdict.lost_settlements = max(verdict.lost_settlements, missing)
        verdict.details.append(
            f"the provider gave {calls.answers:,} answers, and {settlements:,} are settled"
        )
