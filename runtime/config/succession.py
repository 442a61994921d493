"""The rule of succession: which model is called on a day, when models retire and replace others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Protocol


class Retirable(Protocol):
    """A model that may retire on a day, and may have a successor."""

    @property
    def retires_on(self) -> date | None: ...

    @property
    def replaced_by(self) -> str | None: ...


def with_successors(models: Mapping[str, Retirable], model_id: str | None) -> Iterator[str]:
    """Yield a model and those that replace it, in turn, each once; unknown ids end the line."""
    seen: set[str] = set()
    while model_id is not None and model_id in models and model_id not in seen:
        yield model_id
        seen.add(model_id)
        model_id = models[model_id].replaced_by


def called_on(
    day: date, models: Mapping[str, Retirable], model_id: str, *, allow_replacement: bool = True
) -> str | None:
    """Return the model that is called for ``model_id`` on a day, ``None`` if none is.

    A model is called until the day before it retires. From then on the first of its successors
    that has not retired itself takes its place, if the action allows a replacement.
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
    """Yield the models that are called for ``model_id``, one after the other, from a day on."""
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
