"""Differences between two contents of an action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs; ``before`` or ``after`` is ``None`` for one that is not there."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the fields in which two contents differ, in the order of their paths.

    Lists are compared as a whole.
    """
    return sorted(_differences("", before, after), key=lambda one: one.path)


def _differences(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Difference]:
    for name in before.keys() | after.keys():
        inner = f"{path}.{name}" if path else name
        if name not in before:
            yield Difference(inner, "added", None, after[name])
        elif name not in after:
            yield Difference(inner, "removed", before[name], None)
        elif isinstance(before[name], Mapping) and isinstance(after[name], Mapping):
            yield from _differences(inner, before[name], after[name])
        elif before[name] != after[name]:
            yield Difference(inner, "changed", before[name], after[name])
