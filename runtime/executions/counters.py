"""Counters of a runtime, for monitoring."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the runtime was made, in this process.

    Args:
        answers: calls that gave an answer, usable or not.
        input_undercounted: answers that used more input tokens than we had counted. It should
            stay 0; if it grows, the model's ``token_margin_percent`` is too small.
        quote_exceeded: answers that cost more than was reserved; the journal flags them.
        usage_capped: answers whose reported usage the request could not have used; they are charged
            at the bound, and the rest is exposure.
        cut_by_us: answers that are not charged: a limit that we had lowered cut them off.
        reserved: executions that have a reservation now, and have not told how it is to end.
    """

    answers: int = 0
    input_undercounted: int = 0
    quote_exceeded: int = 0
    usage_capped: int = 0
    cut_by_us: int = 0
    reserved: int = 0
