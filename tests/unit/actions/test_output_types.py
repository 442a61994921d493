"""Limits and fallback values of outputs, as they are configured."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from runtime.actions.outputs import NumberOutput, OutputField

FIELD: TypeAdapter[OutputField] = TypeAdapter(OutputField)


@pytest.mark.parametrize(
    "output, problem",
    [
        ({"type": "text", "max_length": 3, "fallback": "abcd"}, "at most 3"),
        ({"type": "text", "max_length": 3, "fallback": ""}, "at least 1"),
        ({"type": "text", "max_length": 3, "fallback": False}, "must be text, found true or"),
        ({"type": "text", "max_length": 3, "fallback": None}, "must be text, found null"),
        ({"type": "text", "max_length": 3, "fallback": "a\x00"}, "NUL"),
        ({"type": "text", "max_length": 3, "fallback": "\ud800"}, "surrogates"),
        ({"type": "text", "max_length": 0, "fallback": "a"}, "max_length"),
        ({"type": "text", "max_length": 3, "min_length": 4, "fallback": "a"}, "more than"),
        ({"type": "number", "minimum": 0, "maximum": 1, "fallback": 2}, "from 0 to 1"),
        ({"type": "number", "minimum": 0, "maximum": 1, "fallback": "1"}, "must be a number"),
        ({"type": "number", "minimum": 0, "maximum": 1, "fallback": True}, "must be a number"),
        ({"type": "number", "minimum": 0, "maximum": 1, "fallback": float("nan")}, "from 0"),
        ({"type": "number", "minimum": 1, "maximum": 0, "fallback": 1}, "less than minimum"),
        ({"type": "number", "minimum": 0, "maximum": 2**53, "fallback": 1}, "maximum"),
        ({"type": "number", "minimum": "0", "maximum": 1, "fallback": 1}, "minimum"),
        (
            {"type": "number", "minimum": 0, "maximum": 1, "integer": True, "fallback": 0.5},
            "must be an integer",
        ),
        (
            {"type": "number", "minimum": 0.1, "maximum": 0.9, "integer": True, "fallback": 1},
            "no integer between",
        ),
        ({"type": "boolean", "fallback": "no"}, "must be true or false, found text"),
        ({"type": "boolean", "fallback": 0}, "must be true or false, found a number"),
        ({"type": "single_select", "options": ["a"], "fallback": "b"}, "1 options"),
        ({"type": "single_select", "options": ["a"], "fallback": "A"}, "1 options"),
        ({"type": "single_select", "options": [], "fallback": "a"}, "options"),
        ({"type": "single_select", "options": ["a", ""], "fallback": "a"}, "options"),
        ({"type": "single_select", "options": ["a", "b", "a"], "fallback": "a"}, '"a"'),
        (
            {"type": "single_select", "options": [f"{n}" for n in range(501)], "fallback": "1"},
            "500",
        ),
        ({"type": "single_select", "options": ["a\x00"], "fallback": "a\x00"}, "NUL"),
        (
            {
                "type": "single_select",
                "options": [f"{n:060}" for n in range(251)],
                "fallback": "0",
            },
            "15,060",
        ),
        ({"type": "multi_select", "options": ["a"], "fallback": "a"}, "must be a list"),
        ({"type": "multi_select", "options": ["a"], "fallback": ["a", "a"]}, "twice"),
        ({"type": "multi_select", "options": ["a"], "fallback": ["b"]}, "1 options"),
        (
            {"type": "multi_select", "options": ["a"], "min_items": 2, "fallback": []},
            "number of options",
        ),
        (
            {
                "type": "multi_select",
                "options": ["a", "b"],
                "min_items": 2,
                "max_items": 1,
                "fallback": [],
            },
            "more than max_items",
        ),
        (
            {"type": "multi_select", "options": ["a"], "min_items": 1, "fallback": []},
            "names 0 options",
        ),
        ({"type": "boolean", "fallback": True, "store_as": "person"}, "store_as"),
        ({"type": "boolean", "fallback": True, "attribute": "a\nb"}, "attribute"),
        ({"type": "boolean", "fallback": True, "defualt": True}, "defualt"),
        ({"type": "boolean"}, "fallback"),
        ({"type": "date", "fallback": "x"}, "date"),
    ],
)
def test_an_output_that_can_not_work_is_refused_with_what_is_wrong(
    output: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError) as refusal:
        FIELD.validate_python(output)

    assert problem in str(refusal.value)


def test_it_reports_a_wrong_limit_once_and_not_as_a_wrong_fallback_too() -> None:
    with pytest.raises(ValidationError) as refusal:
        FIELD.validate_python({"type": "text", "max_length": -1, "fallback": "a"})

    assert [error["loc"][-1] for error in refusal.value.errors()] == ["max_length"]


def test_it_blames_the_fallback_for_what_is_wrong_with_the_fallback() -> None:
    with pytest.raises(ValidationError) as refusal:
        FIELD.validate_python({"type": "boolean", "fallback": "no"})

    assert refusal.value.errors()[0]["loc"][-1] == "fallback"


def test_it_takes_an_integer_fallback_that_is_written_with_a_point() -> None:
    output = NumberOutput(minimum=1, maximum=5, integer=True, fallback=3.0)

    assert type(output.fallback) is int
