"""Suggestions for names that were mistyped."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, allowed: Iterable[str], *, or_list: bool = True) -> str:
    """Return ``; did you mean 'x'?``, or else the allowed names, at most 15 of them.

    Args:
        or_list: ``False`` for messages that list the names anyway; nothing is returned then.
    """
    # Imported when a name is wrong: every command would pay for it at its start.
    import difflib

    names = sorted(allowed)
    if near := difflib.get_close_matches(word, names, n=1, cutoff=0.6):
        return f"; did you mean {near[0]!r}?"
    if not or_list:
        return ""
    if not names:
        return "; there are none"
    more = f" and {len(names) - 15} more" if len(names) > 15 else ""
    return f"; there are {', '.join(names[:15])}{more}"
