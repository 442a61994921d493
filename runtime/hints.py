"""Suggestions for names that were mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?``, or what is allowed where nothing is near."""
    names = sorted(allowed)
    if near := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
        return f"; did you mean {near[0]!r}?"
    if not names:
        return "; there are none"
    more = f" and {len(names) - 15} more" if len(names) > 15 else ""
    return f"; there are {', '.join(names[:15])}{more}"
