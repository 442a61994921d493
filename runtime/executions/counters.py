"""What a runtime counts for whoever watches over it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the runtime was made, in this process.

    Args:
        answers: calls that gave an answer, usable or not.
        input_undercounted: of these, how many used more input tokens than we had counted. It
            should stay 0: else the model's ``token_margin_percent`` is too small.
        quote_exceeded: how many cost more than was reserved; the journal flags them.
        cut_by_us: how many were cut off by a limit that we had lowered, and are not charged.
    """

    answers: int = 0
    input_undercounted: int = 0
    quote_exceeded: int = 0
    cut_by_us: int = 0
