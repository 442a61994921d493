"""The decisions of an execution, as pure functions: what to do next, and who pays for an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fallback.reasons import FallbackReason, is_kept
from pricing.usage import TokenUsage, bounded
from providers.base import Completion, FinishReason
from runtime.actions.answers import ParsedAnswer
from runtime.credits.results import Existing, InProgress, Refused

MOST_LOWERINGS = 3
"""The times a quote is lowered before the execution waits: others may be quicker each time."""

_LOWERED_FOR = frozenset(
    {FallbackReason.EXECUTION_TOO_LARGE, FallbackReason.CREDITS_RESERVED_ELSEWHERE}
)


@dataclass(frozen=True, slots=True)
class Replay:
    """The id has its outcome: return it."""

    existing: Existing


@dataclass(frozen=True, slots=True)
class Defer:
    """The same id runs elsewhere, and there is no time left to wait for it."""

    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for another execution to end, until ``until_s`` at the latest, then reserve again."""

    until_s: float
    lowerings: int


@dataclass(frozen=True, slots=True)
class Lower:
    """Lower the quote to this number of output tokens, then reserve again."""

    max_output_tokens: int
    lowerings: int


@dataclass(frozen=True, slots=True)
class Conclude:
    """Make the refusal the outcome, and return the fallback values."""

    refused: Refused


@dataclass(frozen=True, slots=True)
class FallBack:
    """Return the fallback values without an outcome: the id can be asked again."""

    reason: FallbackReason
    available_mc: int | None = None


Step = Replay | Defer | Wait | Lower | Conclude | FallBack


def next_step(
    answer: Refused | InProgress | Existing | None,
    *,
    now_s: float,
    last_reserve_s: float,
    give_up_s: float,
    lowerings: int,
    fitting_output: Callable[[int], int | None],
) -> Step:
    """Return what an execution without a reservation does next.

    Args:
        answer: the ledger's answer to ``reserve``; ``None`` if it gave none.
        last_reserve_s: when to reserve for the last time before the deadline.
        give_up_s: how long to wait for credits.
        lowerings: how often the quote was lowered since the last wait.
        fitting_output: returns the output tokens that so many millicredits cover, or ``None``
            where no answer would fit into them.
    """
    if answer is None:
        return FallBack(FallbackReason.LEDGER_UNAVAILABLE)
    if isinstance(answer, Existing):
        return Replay(answer)
    if isinstance(answer, InProgress):
        if now_s < last_reserve_s:
            return Wait(last_reserve_s, lowerings)
        return Defer(answer.remaining_ms)
    has_time = now_s < give_up_s
    if answer.may_clear and has_time:
        return Wait(give_up_s, lowerings)
    if answer.reason in _LOWERED_FOR:
        covered = fitting_output(answer.available_mc) if lowerings < MOST_LOWERINGS else None
        if covered is not None:
            return Lower(covered, lowerings + 1)
        # Others were quicker each time, or running executions hold what an answer needs.
        coming_mc = answer.available_mc + answer.returning_mc
        if has_time and answer.returning_mc > 0 and fitting_output(coming_mc) is not None:
            return Wait(give_up_s, 0)
    kept = is_kept(answer.reason)
    return Conclude(answer) if kept else FallBack(answer.reason, answer.available_mc)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The valid values of an answer, and whether it is charged.

    Args:
        answered: the values that count.
        reason: the reason for the other outputs.
        cut_by_us: true if it ended at a limit that we had lowered.
        charged: false where the account does not pay.
    """

    answered: Mapping[str, Any]
    reason: FallbackReason
    cut_by_us: bool = False
    charged: bool = True


def judge(parsed: ParsedAnswer, finish: FinishReason, *, lowered: bool) -> Verdict:
    """Return which values of an answer count, and whether it is charged (law 6).

    Args:
        lowered: true if we had lowered the limit of the output.
    """
    if finish is FinishReason.REFUSED:
        return Verdict({}, FallbackReason.CONTENT_REFUSED)
    if finish is FinishReason.LENGTH:
        return Verdict(
            parsed.values,
            FallbackReason.OUTPUT_TRUNCATED,
            cut_by_us=lowered,
            charged=not (lowered and parsed.invalid),
        )
    return Verdict(parsed.values, FallbackReason.OUTPUT_INVALID)


_MOST_CHARS_PER_TOKEN = 16
"""Longer text than this per token is not counted: that takes time, and no bill can be true."""


@dataclass(frozen=True, slots=True)
class Bill:
    """The usage that an answer is charged for (law 17), and the one that it may have had.

    Args:
        usage: what is charged, within the bound of the request.
        reported: what the provider reported, or what we counted in its place.
        flags: ``usage_estimated`` and ``usage_capped``, where they are true.
    """

    usage: TokenUsage
    reported: TokenUsage
    flags: tuple[str, ...]


def is_too_long_to_count(text: str, max_output: int) -> bool:
    """Return whether an answer certainly has more tokens than were allowed."""
    return len(text) > _MOST_CHARS_PER_TOKEN * max_output


def bill(
    completion: Completion,
    counted_input: int,
    max_output: int,
    allowance: int,
    counted_output: int,
) -> Bill:
    """Return what an answer is charged for, whatever the provider says that it used.

    Args:
        counted_input: our own count of the prompt, in tokens.
        max_output: the limit of output tokens that was sent.
        allowance: reasoning tokens, which count where the provider bills them beside that limit.
        counted_output: our own count of an answer without usage, unless it is too long to count.
    """
    allowance = allowance if completion.reasoning_beside else 0
    reported, flags = completion.usage, []
    if reported is None:
        text = completion.text
        too_long = is_too_long_to_count(text, max_output)
        reported = TokenUsage(counted_input, len(text) if too_long else counted_output)
        flags.append("usage_estimated")
    usage, capped = bounded(reported, counted_input, max_output, allowance)
    if capped:
        flags.append("usage_capped")
    return Bill(usage, reported, tuple(flags))
