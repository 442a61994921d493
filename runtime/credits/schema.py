"""The schema of an installation and of its accounts: what releases that share a Redis can read.

An account of schema 1 is read and written exactly as release 0.1 does. One of schema 2 journals
entries of version 2, in which a settlement tells the reason of its fallback values and the options
that were chosen. New installations begin with schema 2; one that release 0.1 has made stays at 1
until ``Migration.finish``.
"""

from __future__ import annotations

FIRST = 1
NEWEST = 2
"""The highest one that this release reads; ``SCHEMA`` of ``state.lua`` is the same."""


def schema_of(stored: bytes | str | None) -> int:
    """Return the schema that a hash has in its field ``schema``; without one it is the first.

    Raises:
        ValueError: it is not a whole number above 0.
    """
    if stored is None:
        return FIRST
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else stored
    if not text.isascii() or not text.isdigit() or int(text) < FIRST:
        raise ValueError(f"schema: expected a whole number above 0, found {text[:40]!r}")
    return int(text)
