"""Sentences about executions without an answer, and what asking again does."""

from __future__ import annotations

from fallback.reasons import FallbackReason
from runtime.wording.reasons import REASONS

NOTHING_KEPT = (
    "nothing is kept under this id: it was not asked yet, it fell back for a reason that passes, "
    "or its outcome is older than outcomes are kept"
)
RUNNING = "it is running now; asking again with the same id gives its outcome"
DAMAGED = "its record is damaged; an operator has to look at it"
TRIED_TOO_OFTEN = "it has fallen back under as many ids as there may be"


def fell_back_text(reason: FallbackReason, charged_mc: int) -> str:
    """Return why an execution has fallback values, and whether it was charged all the same."""
    if charged_mc:
        return f"{REASONS[reason]}; the answer was charged, and another one is charged as well"
    return REASONS[reason]
