"""Keys of earlier releases that have a new name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

RENAMED_KEYS: Mapping[str, str] = MappingProxyType(
    {"endpoints.*.breaker.open_max_ms": "max_open_ms"}
)
"""New names by old paths; ``*`` matches any name or index."""


def renamed_key(path: Sequence[str | int]) -> str | None:
    """Return the new name of a renamed key, or ``None``."""
    for old, new in RENAMED_KEYS.items():
        parts = old.split(".")
        if len(parts) == len(path) and all(
            want in ("*", str(found)) for want, found in zip(parts, path, strict=True)
        ):
            return new
    return None
