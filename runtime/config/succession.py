"""The rule of succession: the model that is called on a day, as models retire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Protocol

MOST_SUCCESSORS = 20
"""As many successors of a model are looked at: longer lines take the square of their length."""


class Retirable(Protocol):
    """A model that may have a day of retirement and a successor."""

    @property
    def retires_on(self) -> date | None: ...

    @property
    def replaced_by(self) -> str | None: ...


def with_successors(models: Mapping[str, Retirable], model_id: str | None) -> Iterator[str]:
    """Yield a model and its successors, each once, up to an unknown id or ``MOST_SUCCESSORS``."""
    seen: set[str] = set()
    while model_id is not None and model_id in models and model_id not in seen:
        if len(seen) > MOST_SUCCESSORS:
            return
        yield model_id
        seen.add(model_id)
        model_id = models[model_id].replaced_by


def called_on(
    day: date, models: Mapping[str, Retirable], model_id: str, *, allow_replacement: bool = True
) -> str | None:
    """Return the model that is called for ``model_id`` on a day, or ``None``.

    A model is called until the day before it retires. After that, the first of its successors that
    has not retired takes its place, if the action allows a replacement.
    """
    for candidate in with_successors(models, model_id):
        if not _has_retired(models[candidate], day):
            return candidate
        if not allow_replacement:
            break
    return None


def called_from(
    day: date, models: Mapping[str, Retirable], model_id: str, *, allow_replacement: bool = True
) -> Iterator[str]:
    """Yield the models that are called for ``model_id`` from a day on, in order."""
    while True:
        called = called_on(day, models, model_id, allow_replacement=allow_replacement)
        if called is None:
            return
        yield called
        retires_on = models[called].retires_on
        if retires_on is None:
            return
        day = retires_on


def _has_retired(model: Retirable, day: date) -> bool:
    return model.retires_on is not None and model.retires_on <= day
