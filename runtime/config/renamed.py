"""Keys that earlier releases had, with their present names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

RENAMED_KEYS: Mapping[str, str] = MappingProxyType(
    {"endpoints.*.breaker.open_max_ms": "max_open_ms"}
)
"""New names by old paths; ``*`` stands for any name or index."""


def renamed_key(path: Sequence[str | int]) -> str | None:
    """Return the new name of a key that an earlier release had, or ``None``."""
    for old, new in RENAMED_KEYS.items():
        parts = old.split(".")
        if len(parts) == len(path) and all(
            want in ("*", str(found)) for want, found in zip(parts, path, strict=True)
        ):
            return new
    return None
