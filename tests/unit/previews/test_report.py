"""The answer to a call for previews: what it costs to make, and what it leaves out."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fallback.policy import Origin
from fallback.reasons import FallbackReason
from providers.base import FinishReason
from runtime.actions.requests import ExecutionResult
from runtime.executions.execution import Execution, Quote
from runtime.previews.report import TEXT_CHARS, report_json
from runtime.previews.running import MOST_PREVIEWS, Preview, PreviewOrder, SamplePerson, Variant
from runtime.wording.previews import fallback_text
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes
from tests.harness.workbench import action

_SPEC = action()
_LONG = "x" * 1_000_000


def _order(people: int, variants: int = 1) -> PreviewOrder:
    return PreviewOrder(
        account_id="acme",
        workspace_id="default",
        campaign_id="preview",
        people=[SamplePerson(f"p{number}", {}) for number in range(people)],
        variants=[Variant(f"v{number}", _SPEC) for number in range(variants)],
    )


def _preview(person: int, text: str) -> Preview:
    result = ExecutionResult(
        execution_id=f"preview.{person}:route:1",
        kept=True,
        status="model",
        values=dict(_SPEC.fallbacks),
        attributes=_SPEC.attributes(_SPEC.fallbacks),
        origins=dict.fromkeys(_SPEC.fallbacks, Origin("model", None)),
        charged_mc=5,
        reserved_mc=9,
        available_after_mc=100 - person,
        usage=None,
        attempts=(),
        timings_ms={"total": 10},
        action_version=_SPEC.version,
        rate_card_version="1",
    )
    trace: Any = SimpleNamespace(
        model=SimpleNamespace(id="writer"),
        messages=[{"role": "system", "content": text}, {"role": "user", "content": text}],
        progress=SimpleNamespace(
            quote=Quote(1, 2, 9),
            lowered=False,
            completion=SimpleNamespace(text=text, finish=FinishReason.STOP),
            provider_texts={},
        ),
    )
    return Preview(person, 0, _SPEC, (), result, cast(Execution, trace))


def _shown(previews: list[Preview]) -> str:
    return json.dumps(report_json(_order(len(previews)), previews))


def test_law_15_showing_the_most_previews_takes_less_than_50_ms_and_16_mb() -> None:
    previews = [_preview(person, _LONG) for person in range(MOST_PREVIEWS)]

    assert_cpu(lambda: _shown(previews), 0.05)
    assert peak_bytes(lambda: _shown(previews)) < 16 * 2**20
    assert len(_shown(previews)) < 2 * TEXT_CHARS


def test_law_15_showing_twice_as_many_previews_takes_about_twice_the_time() -> None:
    def make(size: int) -> list[Preview]:
        return [_preview(person, "x" * 1_000) for person in range(size)]

    assert_linear(make, _shown, MOST_PREVIEWS // 2)


def test_texts_within_their_share_are_shown_whole() -> None:
    (one,) = report_json(_order(1), [_preview(0, "short")])["previews"]
    assert (one["prompt"][1]["content"], one["answer"], one["is_cut"]) == ("short", "short", False)


def test_totals_are_sums_and_the_balance_is_the_last_one() -> None:
    found = report_json(_order(3), [_preview(person, "") for person in range(3)])
    (variant,) = found["variants"]
    assert (variant["previews"], variant["charged_mc"], variant["quote_mc"]) == (3, 15, 27)
    assert (found["charged_mc"], found["available_after_mc"]) == (15, 98)


@pytest.mark.parametrize("people, variants", [(0, 1), (1, 0), (51, 2), (101, 1)])
def test_law_15_an_order_has_one_to_a_hundred_previews(people: int, variants: int) -> None:
    with pytest.raises(ValueError, match="must be 1 to 100"):
        _order(people, variants)


def test_why_values_fell_back_is_one_sentence() -> None:
    model, lost = Origin("model", None), Origin("fallback", FallbackReason.OUTPUT_INVALID)
    assert fallback_text({"a": model}) is None
    assert fallback_text({"a": lost}) == (
        "It is a fallback value, because the answer did not have the required form."
    )
    assert fallback_text({"a": model, "b": lost}) == (
        "1 of 2 values is a fallback value, because the answer did not have the required form."
    )
