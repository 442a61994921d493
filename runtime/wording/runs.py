"""Sentences about a run: how people ended, what it waits for, how good the quotes were."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fallback.reasons import FallbackReason, ReasonGroup
from runtime.wording.reasons import REASONS

ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        "model": "answered by the model",
        "mixed": "answered in part; some values are fallback values",
        "fallback": "got fallback values",
        "unfinished": "are being answered by another run; run it again for them",
        "replayed": "of these were answered by an earlier run, and not charged again",
    }
)
"""The ways in which a run ends for people, to stand after a number."""

QUOTE_MISSES: Mapping[str, str] = MappingProxyType(
    {
        "input_undercounted": (
            "answers used more input tokens than were counted: raise the model's "
            "token_margin_percent"
        ),
        "quote_exceeded": "answers cost more than was reserved for them",
        "usage_capped": (
            "answers reported more tokens than their requests could have used; they are charged at "
            "that bound"
        ),
        "cut_by_us": (
            "answers were cut off by a limit lowered to what was reserved; they are not charged"
        ),
    }
)
"""The ways in which quotes did not hold, to stand after a number."""

TOKEN_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "input_tokens": "input tokens",
        "cached_input_tokens": "  read from a cache",
        "cache_write_tokens": "  written to a cache",
        "output_tokens": "output tokens",
        "reasoning_tokens": "  used for thinking",
    }
)
"""The names of token counts on a receipt; indented ones are part of the one above."""

USAGE_ESTIMATED = "The answer did not report its usage; the charge is based on our own count."


AFTER_PATIENCE: Mapping[str, str] = MappingProxyType(
    {
        "stop": "then the run stops",
        "fallback": "then the run goes on with fallback values",
    }
)
"""The next step of a run that has waited long enough."""


GAVE_UP: Mapping[str, str] = MappingProxyType(
    {
        "stop": "The run stopped",
        "fallback": "The run went on with fallback values",
    }
)
"""The step that a run took when it had waited long enough, to stand before how long and why."""

WITHOUT_RESULT = "without a result; nothing was charged for them"
MISSED = "got fallback values and can be asked again; this run charged nothing for them"


def trouble_text(
    reason: FallbackReason, status: int | None, detail: str | None, endpoint: str | None
) -> str:
    """Return what is wrong while nobody gets an answer, with status and endpoint where known."""
    known = [] if status is None else [f"status {status}"]
    if endpoint is not None and reason.group is ReasonGroup.MODEL:
        known.append(f"endpoint {endpoint}")
    if detail is not None and all(fact in detail for fact in (str(status), f"endpoint {endpoint}")):
        known = []
    where = f" ({', '.join(known)})" if known else ""
    return f"{REASONS[reason]}{where}" + (f": {detail}" if detail else "")


def holding_text(trouble: str, for_s: float, left_s: float, then: str) -> str:
    """Return that a run waits, since when, and how long it still will.

    Args:
        then: a key of ``AFTER_PATIENCE``.
    """
    return (
        f"Waiting for {seconds_text(for_s)}, as {trouble}. Waits for {seconds_text(left_s)} more; "
        f"{AFTER_PATIENCE[then]}."
    )


def seconds_text(seconds: float) -> str:
    """Return a duration in its two largest units, down to the second.

    >>> seconds_text(605)
    '10 min 5 s'
    """
    minutes, rest_s = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest_s, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"


def stopping_text(running: int) -> str:
    """Return what happens after the first Ctrl-C."""
    return (
        f"Stopping: no more people are started; {running:,} running executions finish first. "
        "Press Ctrl-C again to cancel them and give their credits back."
    )
