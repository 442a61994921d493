"""Sentences about a run: how people ended, how good the quotes were, what was used."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        "model": "answered by the model",
        "mixed": "answered in part; some values are fallback values",
        "fallback": "got fallback values",
        "unfinished": "are being answered by another run; run it again for them",
        "replayed": "of these were answered by an earlier run: same values, no charge",
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


def stopping_text(running: int) -> str:
    """Return what happens after the first Ctrl-C."""
    return (
        f"Stopping: no more people are started; {running:,} running executions finish first. "
        "Press Ctrl-C again to cancel them and give their credits back."
    )
