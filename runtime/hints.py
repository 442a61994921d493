"""Suggestions for mistyped names."""

from __future__ import annotations

from collections.abc import Iterable

MOST_NAMES = 200
"""The most names to look for a similar one in: each takes some 10 µs."""


def did_you_mean(word: str, allowed: Iterable[str], *, or_list: bool = True) -> str:
    """Return ``; did you mean 'x'?`` for a similar name, or else up to 15 of the allowed names.

    Of more than ``MOST_NAMES`` only the number is told.

    Args:
        or_list: ``False`` if the message lists the names itself; without a similar name the result
            is then empty.

    Example:
        >>> did_you_mean("grwth", ["growth", "trial"])
        "; did you mean 'growth'?"
    """
    # Imported only when a name is wrong: otherwise it would slow down every command's start.
    import difflib

    names = list(allowed)
    if len(names) > MOST_NAMES:
        return f"; there are {len(names):,}" if or_list else ""
    names.sort()
    if near := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
        return f"; did you mean {near[0]!r}?"
    if not or_list:
        return ""
    if not names:
        return "; there are none"
    more = f" and {len(names) - 15} more" if len(names) > 15 else ""
    return f"; there are {', '.join(names[:15])}{more}"
