"""Caps, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtime.cli.views.table import table
from runtime.credits.caps import CapStatus
from runtime.wording.amounts import credits_text, duration_text
from runtime.wording.caps import CAP_WINDOWS, cap_target_text


def caps_lines(caps: Sequence[CapStatus]) -> Iterator[str]:
    """Yield each cap with what counts towards it and when it resets."""
    if not caps:
        yield "No caps are set."
        return
    yield "Caps, and what counts towards them now (days and months in the account's time zone)"
    header = ("for", "limit", "", "charged", "reserved", "excess", "resets")
    rows = [
        (
            cap_target_text(status.cap),
            credits_text(status.limit_mc),
            CAP_WINDOWS[status.cap.window],
            credits_text(status.charged_mc),
            credits_text(status.reserved_mc),
            credits_text(status.cap_excess_mc),
            "never" if status.resets_in_ms is None else f"in {duration_text(status.resets_in_ms)}",
        )
        for status in caps
    ]
    yield from table([header, *rows], right=(1, 3, 4, 5))
