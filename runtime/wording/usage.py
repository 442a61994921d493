"""Sentences of reports: what is counted, and up to when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from runtime.wording.reasons import REASONS

OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "answered": "answered by the model",
        "fell_back": "fell back",
        "cancelled": "given up by the caller",
        "expired": "never ended: the process died or was frozen",
        "exposure": "a superfluous call",
        "corrected": "a correction",
    }
)
"""The meaning of each outcome of a usage report."""

_REASONS = {reason.value: text for reason, text in REASONS.items()}

NOT_COUNTED = (
    "What fell back before credits were asked for, such as prompt_error, is not here: it is in "
    "the results."
)


def complete_text(complete_to: datetime | None) -> str | None:
    """Return up to when a report is complete, or ``None`` where all of it is."""
    if complete_to is None:
        return None
    return (
        f"Complete up to {complete_to:%Y-%m-%d %H:%M:%S}: what happened later is not archived yet."
    )


def why_text(reason: str) -> str:
    """Return the meaning of a reason, or of an outcome that stands for one."""
    return OUTCOMES.get(reason) or _REASONS.get(reason, reason)
