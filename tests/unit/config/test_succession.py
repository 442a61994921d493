"""The rule of succession: which model is called on a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest

from runtime.config.succession import called_from, called_on, with_successors


@dataclass(frozen=True)
class Retiring:
    retires_on: date | None = None
    replaced_by: str | None = None


def day(number: int) -> date:
    return date(2026, 1, number)


MODELS = {
    "old": Retiring(day(10), "short"),
    "short": Retiring(day(5), "new"),
    "new": Retiring(),
    "left": Retiring(day(3), "right"),
    "right": Retiring(day(7), "left"),
    "lost": Retiring(day(2), "nobody"),
    "last": Retiring(day(2)),
}


@pytest.mark.parametrize(
    "model_id, number, called",
    [
        ("new", 1, "new"),
        ("old", 9, "old"),
        ("old", 10, "new"),
        ("short", 4, "short"),
        ("short", 5, "new"),
        ("left", 3, "right"),
        ("left", 7, None),
        ("lost", 1, "lost"),
        ("lost", 2, None),
        ("last", 2, None),
        ("nobody", 1, None),
    ],
)
def test_a_model_is_called_until_the_day_it_retires_and_then_its_successor(
    model_id: str, number: int, called: str | None
) -> None:
    assert called_on(day(number), MODELS, model_id) == called


def test_without_a_replacement_nothing_is_called_after_the_model_retires() -> None:
    assert called_on(day(9), MODELS, "old", allow_replacement=False) == "old"
    assert called_on(day(10), MODELS, "old", allow_replacement=False) is None


@pytest.mark.parametrize(
    "model_id, number, called",
    [
        ("old", 1, ["old", "new"]),  # its successor retires before it does
        ("short", 1, ["short", "new"]),
        ("short", 5, ["new"]),
        ("left", 1, ["left", "right"]),
        ("right", 1, ["right"]),
        ("last", 2, []),
    ],
)
def test_models_are_called_one_after_the_other(
    model_id: str, number: int, called: list[str]
) -> None:
    assert list(called_from(day(number), MODELS, model_id)) == called
    alone = list(called_from(day(number), MODELS, model_id, allow_replacement=False))
    assert alone == [name for name in called if name == model_id]


def test_a_line_of_successors_names_each_model_once() -> None:
    assert list(with_successors(MODELS, "left")) == ["left", "right"]
    assert list(with_successors(MODELS, "old")) == ["old", "short", "new"]
    assert list(with_successors(MODELS, "lost")) == ["lost"]
