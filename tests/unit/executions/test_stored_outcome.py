"""Stored outcomes: what is read again, and what counts as lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback.policy import resolve
from fallback.reasons import FallbackReason
from pricing.usage import TokenUsage
from runtime.actions.requests import ExecutionResult
from runtime.actions.spec import ActionSpec
from runtime.credits.results import Existing
from runtime.executions.stored_outcome import MOST_BYTES, decode, encode
from tests.harness.bounds import assert_cpu, assert_linear, mostly_long, peak_bytes

SPEC = ActionSpec.model_validate(
    {
        "id": "route",
        "model": "m",
        "user": "Hi",
        "outputs": {
            "reply": {"type": "text", "max_length": 100, "fallback": "Hello"},
            "vip": {"type": "boolean", "fallback": False, "store_as": "customer"},
        },
        "limits": {"max_output_tokens": 10},
    }
)
STORED: dict[str, Any] = json.loads(
    encode(
        SPEC,
        resolve(SPEC.fallbacks, {"reply": "Hi"}, FallbackReason.OUTPUT_INVALID),
        reserved_mc=9,
        usage=TokenUsage(10, 5),
        rate_card_version="2026-01",
    )
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from("fsvowruac") | st.text(), inner)
    ),
)


def read(outcome: bytes) -> ExecutionResult | None:
    return decode("e1", Existing("settled", 7, 0, None, outcome))


def test_an_outcome_reads_back_with_its_charge() -> None:
    result = read(json.dumps(STORED).encode())

    assert result is not None
    assert (result.values, result.charged_mc) == ({"reply": "Hi", "vip": False}, 7)
    assert result.attributes == {"journey": {"reply": "Hi"}, "customer": {"vip": False}}


@pytest.mark.parametrize(
    "change",
    [
        {"f": 2},
        {"s": "unknown"},
        {"v": ["reply"]},
        {"v": None},
        {"o": {"vip": "a_newer_reason"}},
        {"o": {"vip": 7}},
        {"o": {"other": "output_invalid"}},
        {"o": []},
        {"w": {"journey": ["reply"]}},
        {"w": {"journey": {"reply": "gone"}}},
        {"w": {"journey": {"reply": ["reply"]}}},
        {"r": "9"},
        {"r": None},
        {"u": [1]},
        {"u": [1, 2, 3, 4, 5, 6]},
        {"u": [-1, 0, 0, 0, 0]},
        {"u": 7},
        {"a": None},
        {"c": 5},
    ],
)
def test_law_15_an_outcome_of_another_shape_counts_as_lost(change: dict[str, Any]) -> None:
    assert read(json.dumps(STORED | change).encode()) is None


@pytest.mark.parametrize("missing", sorted(STORED))
def test_law_15_an_outcome_without_one_of_its_fields_counts_as_lost(missing: str) -> None:
    outcome = {name: value for name, value in STORED.items() if name != missing}

    assert read(json.dumps(outcome).encode()) is None


@given(st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_law_15_any_stored_outcome_is_read_or_counts_as_lost(outcome: bytes) -> None:
    result = read(outcome)

    assert result is None or result.execution_id == "e1"


@given(st.dictionaries(st.sampled_from(sorted(STORED)), ANYTHING, min_size=1))
def test_law_15_an_outcome_with_any_field_changed_is_read_or_counts_as_lost(
    change: dict[str, Any],
) -> None:
    result = read(json.dumps(STORED | change).encode())

    if result is not None:
        assert set(result.values) == set(result.origins)
        json.dumps(result.to_json())


def filled(unit: str, size: int) -> bytes:
    text = '{"f":1,"v":[' + unit * (size // len(unit))
    return (text + "0]}").encode()


@pytest.mark.parametrize("unit", mostly_long(['"x",', "[", "[],", "{},", "1,", '{"a":']))
def test_law_15_a_stored_outcome_takes_at_most_50_ms_of_cpu_and_64_mb(unit: str) -> None:
    outcome = filled(unit, MOST_BYTES - 100)

    assert_cpu(lambda: read(outcome), 0.050)
    assert peak_bytes(lambda: read(outcome)) < 64_000_000
    # Small ones, many times: what no longer fits into the processor's cache takes longer too.
    assert_linear(
        lambda size: filled(unit, size), lambda some: [read(some) for _ in range(8)], 16_000
    )


def test_law_15_an_outcome_beyond_its_bound_counts_as_lost() -> None:
    fits = json.dumps(STORED | {"v": {"reply": "x" * 1_000_000, "vip": False}}).encode()
    too_large = json.dumps(STORED | {"v": {"reply": "x" * MOST_BYTES, "vip": False}}).encode()

    assert read(fits) is not None
    assert read(too_large) is None
