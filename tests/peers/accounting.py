"""What the provider's log, the callers and a system's books add up to: the columns."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ANSWERED = 200


class Kind(StrEnum):
    """The end of a call, as its caller has it."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the budget is used up
    FAILED = "failed"  # the provider's fault came through
    CUT = "cut"  # the connection ended before an answer: the caller sends it again
    PENDING = "pending"  # the same id runs elsewhere: the caller asks again
    BROKEN = "broken"  # anything else


@dataclass(frozen=True, slots=True)
class Ended:
    """One answer to one caller."""

    kind: Kind
    tokens: int = 0
    detail: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Books:
    """What a system says of its budget. ``None`` is what it does not say.

    Args:
        counted: credits of the budget that can't be spent any more: charged or held.
        held: those of them that it calls held.
        charges: all charges of each call, by its id.
    """

    counted: int | None = None
    held: int | None = None
    charges: Mapping[str, Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class ProviderLog:
    """What was really called: for each call, the tokens of each of its answers, and its faults."""

    answers: Mapping[str, Sequence[int]]
    faults: Counter[str]
    refused: int = 0
    """Requests that the provider could not read."""

    @property
    def requests(self) -> int:
        """All requests that reached the provider."""
        return sum(map(len, self.answers.values())) + self.faults.total() + self.refused

    @property
    def tokens(self) -> int:
        """All tokens that a provider would bill."""
        return sum(map(sum, self.answers.values()))

    @property
    def repeated(self) -> dict[str, int]:
        """The calls that were answered more than once, and the tokens of their other answers."""
        return {
            call_id: sum(tokens[1:]) for call_id, tokens in self.answers.items() if len(tokens) > 1
        }


def read_log(lines: Iterable[str]) -> ProviderLog:
    """Read the provider's log.

    Raises:
        ValueError: a line is not one of the log's, or an answer is to no call.
    """
    answers: defaultdict[str, list[int]] = defaultdict(list)
    faults: Counter[str] = Counter()
    refused = 0
    for line in lines:
        request = json.loads(line)
        call_id = request["call"]
        if call_id is None:
            if request["status"] == ANSWERED:
                raise ValueError(f"the provider answered a request of no call: {line}")
            refused += 1
        elif request["status"] == ANSWERED:
            answers[call_id].append(request["tokens"])
        else:
            faults[call_id] += 1
    return ProviderLog(answers, faults, refused)


@dataclass(slots=True)
class Calls:
    """What the callers were told, by call; times are seconds since the first request."""

    ended: dict[str, Ended] = field(default_factory=dict)
    cut: Counter[str] = field(default_factory=Counter)
    answered_s: list[float] = field(default_factory=list)
    cut_settled_s: float | None = None
    """When the last call that was cut had its end, after the kill."""

    def rate(self, most: int) -> float:
        """Return answered calls a second, over the first so many: while the budget pays."""
        count = min(most, len(self.answered_s))
        return round(count / self.answered_s[count - 1], 1) if count else 0.0

    def of(self, kind: Kind) -> list[str]:
        """Return the ids of the calls that ended so."""
        return [call_id for call_id, ended in self.ended.items() if ended.kind is kind]


@dataclass(frozen=True, slots=True)
class Columns:
    """One system's line. ``None`` could not be measured. Amounts are credits, which are tokens.

    Args:
        spent_beyond: what the provider was used for beyond the budget.
        not_delivered: answers of the provider that reached no caller, or a second time.
        held: credits counted against the budget without an answer that they paid for, at the end.
        held_later: those that are still held a while later.
        not_counted: tokens of answers that callers received and the books don't have.
        charged_twice: calls that were charged more than once.
        failed_charged: credits charged for calls that failed.
        left_over: credits of the budget that no answer used, though calls were refused.
    """

    calls_a_second: float
    cpu_ms: float
    provider_calls: int
    answered: int
    refused: int
    failed: int
    broken: int
    cut: int
    spent_beyond: int
    not_delivered: int
    held: int | None
    held_later: int | None
    not_counted: int | None
    charged_twice: int | None
    failed_charged: int | None
    left_over: int | None
    cut_settled_s: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the line as plain JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


def columns(
    budget: int,
    log: ProviderLog,
    calls: Calls,
    books: tuple[Books, Books],
    *,
    marked: int,
    cpu_s: float,
    has_budget: bool = True,
) -> Columns:
    """Return a system's line.

    Args:
        books: as the last call has ended, and a while later.
        marked: the number of answered calls that rate and CPU are taken over.
        cpu_s: of the system's processes and its store until then.
        has_budget: false for a system without one, which then can't exceed it.
    """
    answered = calls.of(Kind.ANSWERED)
    at_end, later = books
    charges = at_end.charges
    delivered = sum(calls.ended[call_id].tokens for call_id in answered)
    return Columns(
        calls_a_second=calls.rate(marked),
        cpu_ms=round(1000 * cpu_s / max(1, min(marked, len(answered))), 2),
        provider_calls=log.requests,
        answered=len(answered),
        refused=len(calls.of(Kind.REFUSED)),
        failed=len(calls.of(Kind.FAILED)),
        broken=len(calls.of(Kind.BROKEN)),
        cut=len(calls.cut),
        spent_beyond=max(0, log.tokens - budget),
        not_delivered=log.tokens - delivered,
        held=_held(at_end, delivered),
        held_later=_held(later, delivered),
        not_counted=None if at_end.counted is None else max(0, delivered - at_end.counted),
        charged_twice=None
        if charges is None
        else sum(1 for paid in charges.values() if sum(1 for each in paid if each) > 1),
        failed_charged=None
        if charges is None
        else sum(sum(charges.get(call_id, ())) for call_id in calls.of(Kind.FAILED)),
        left_over=max(0, budget - delivered) if has_budget and calls.of(Kind.REFUSED) else None,
        cut_settled_s=calls.cut_settled_s,
    )


def _held(books: Books, delivered: int) -> int | None:
    """Return what is held; where the books don't tell it apart, what no answer accounts for."""
    if books.held is not None:
        return books.held
    return None if books.counted is None else max(0, books.counted - delivered)
