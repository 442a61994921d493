"""Which value stands in for which output."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback.policy import Origin, resolve
from fallback.reasons import FallbackReason

values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)
reasons = st.sampled_from(FallbackReason)


@st.composite
def answers(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fallbacks of an action, and valid values for some of its outputs."""
    fallbacks = draw(st.dictionaries(st.text(min_size=1), values, min_size=1))
    names = draw(st.lists(st.sampled_from(sorted(fallbacks)), unique=True))
    return fallbacks, {name: draw(values) for name in names}


@given(answers(), reasons)
def test_every_output_gets_a_value_and_says_where_it_came_from(
    answer: tuple[dict[str, Any], dict[str, Any]], reason: FallbackReason
) -> None:
    fallbacks, answered = answer

    resolved = resolve(fallbacks, answered, reason)

    assert list(resolved.values) == list(resolved.origins) == list(fallbacks)
    for name, value in resolved.values.items():
        if name in answered:
            assert value == answered[name]
            assert resolved.origins[name] == Origin("model")
        else:
            assert value == fallbacks[name]
            assert resolved.origins[name] == Origin("fallback", reason)


@given(answers(), reasons)
def test_the_status_tells_whether_the_model_gave_all_some_or_none(
    answer: tuple[dict[str, Any], dict[str, Any]], reason: FallbackReason
) -> None:
    fallbacks, answered = answer

    status = resolve(fallbacks, answered, reason).status

    if not answered:
        assert status == "fallback"
    elif len(answered) < len(fallbacks):
        assert status == "mixed"
    else:
        assert status == "model"


@given(answers(), reasons)
def test_what_a_caller_does_to_its_result_changes_neither_action_nor_answer(
    answer: tuple[dict[str, Any], dict[str, Any]], reason: FallbackReason
) -> None:
    before = copy.deepcopy(answer)

    for value in resolve(*answer, reason).values.values():
        if isinstance(value, list):
            value.append("by the caller")

    assert answer == before


def test_an_answer_for_an_output_that_the_action_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="urgent"):
        resolve({"urgency": 1}, {"urgent": 2}, FallbackReason.OUTPUT_INVALID)
