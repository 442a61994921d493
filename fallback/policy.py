"""The values of outputs: those the model answered, or their fallbacks with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fallback.reasons import FallbackReason

Status = Literal["model", "mixed", "fallback"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of one value. Only a fallback has a ``reason``."""

    mark: Literal["model", "fallback"]
    reason: FallbackReason | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A value and its origin for every output, in the outputs' order.

    ``status`` is ``model`` when the model gave every value, ``fallback`` when it gave none.
    """

    values: dict[str, Any]
    origins: dict[str, Origin]
    status: Status


_MISSING = object()
_BY_MODEL = Origin("model")
_BY_REASON = {reason: Origin("fallback", reason) for reason in FallbackReason}


def resolve(
    fallbacks: Mapping[str, Any], answered: Mapping[str, Any], reason: FallbackReason
) -> Resolved:
    """Give every output its value: the answered one, or else its fallback with ``reason``.

    ``fallbacks`` holds every output of the action, ``answered`` the valid values of the answer.
    The arguments are not changed, and the result shares no mutable value with them.

    Raises:
        ValueError: ``answered`` holds an output that the action does not have.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(fallbacks, _BY_MODEL)
    for name, fallback in fallbacks.items():
        value = answered.get(name, _MISSING)
        if value is _MISSING:
            value, origins[name] = fallback, _BY_REASON[reason]
        # The caller owns its result: appending to a list in it must not edit the action.
        values[name] = value.copy() if type(value) is list else value
    if not answered:
        return Resolved(values, origins, "fallback")
    if not answered.keys() <= fallbacks.keys():
        unknown = ", ".join(sorted(answered.keys() - fallbacks.keys()))
        raise ValueError(f"answered outputs that the action does not have: {unknown}")
    return Resolved(values, origins, "model" if len(answered) == len(fallbacks) else "mixed")
