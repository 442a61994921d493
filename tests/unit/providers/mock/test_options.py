from __future__ import annotations

import math
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.mock.hostile import KINDS
from providers.mock.options import (
    _SETTINGS,
    MALFORMED,
    AnswerKind,
    Failure,
    MockOptions,
    Scenario,
    ScenarioError,
    Transport,
    UsageKind,
    parse_scenario,
)
from tests.harness.paths import ROOT


def _with_any_value(word: str) -> st.SearchStrategy[str]:
    return st.text(max_size=8).map(lambda value: f"{word}={value}")


@pytest.mark.parametrize(
    "text, scenario",
    [
        ("", Scenario()),
        ("status=503", Scenario(failure=Failure(503))),
        ("status=429,retry_after=2", Scenario(failure=Failure(429, retry_after_s=2.0))),
        ("retry_after=0.5, status=503", Scenario(failure=Failure(503, retry_after_s=0.5))),
        ("retry_after=1", Scenario(failure=Failure(429, retry_after_s=1.0))),
        ("insufficient_quota", Scenario(failure=Failure(429, "insufficient_quota"))),
        ("context_length_exceeded", Scenario(failure=Failure(400, "context_length_exceeded"))),
        ("content_filter", Scenario(failure=Failure(400, "content_filter"))),
        ("retry_after=huge", Scenario(failure=Failure(429, retry_after_s=math.inf))),
        ("hang", Scenario(transport=Transport.HANG)),
        ("drip", Scenario(transport=Transport.DRIP)),
        ("reset", Scenario(transport=Transport.RESET)),
        ("reset_early", Scenario(transport=Transport.RESET_EARLY)),
        ("slow_headers", Scenario(transport=Transport.SLOW_HEADERS)),
        ("huge", Scenario(transport=Transport.HUGE)),
        ("not_json", Scenario(transport=Transport.NOT_JSON)),
        ("json_validate_failed", Scenario(failure=Failure(400, "json_validate_failed"))),
        ("usage=xai,cache_write=4", Scenario(usage=UsageKind.XAI, cache_write_tokens=4)),
        ("malformed=wrong_types", Scenario(answer=AnswerKind.WRONG_TYPES)),
        ("malformed=empty", Scenario(answer=AnswerKind.EMPTY)),
        ("empty", Scenario(answer=AnswerKind.EMPTY)),
        ("refusal", Scenario(answer=AnswerKind.REFUSAL)),
        ("truncated", Scenario(answer=AnswerKind.TRUNCATED)),
        ("usage=zero", Scenario(usage=UsageKind.ZERO)),
        ("cached=5,reasoning=7", Scenario(cached_tokens=5, reasoning_tokens=7)),
        ("delay_ms=20,times=2", Scenario(delay_ms=20, times=2)),
        (
            " usage=missing , malformed=broken_json ",
            Scenario(answer=AnswerKind.BROKEN_JSON, usage=UsageKind.MISSING),
        ),
    ],
)
def test_a_scenario_reads_as_it_says(text: str, scenario: Scenario) -> None:
    assert parse_scenario(text) == scenario


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "status",
        "status=200",
        "status=99999999999999999999",
        "status=42x",
        "hang=1",
        "malformed=answered",
        "malformed=",
        "usage=reported2",
        "retry_after=soon",
        "retry_after=nan",
        "retry_after=-1",
        "times=0",
        "cached=-1",
        "cache_write=x",
        "prompt_blocked",
        "delay_ms=²",
        "=",
    ],
)
def test_a_scenario_that_can_not_be_meant_names_the_word_and_what_is_allowed(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"scenario: found '.*', allowed"):
        parse_scenario(text)


@given(st.text(max_size=30) | st.sampled_from([*_SETTINGS]).flatmap(_with_any_value))
def test_any_text_is_a_scenario_or_a_scenario_error(text: str) -> None:
    with suppress(ScenarioError):
        assert isinstance(parse_scenario(text), Scenario)


@pytest.mark.parametrize(
    "option, value",
    [
        ("error_rate", 1.1),
        ("error_rate", -0.1),
        ("malformed_rate", float("nan")),
        ("refusal_rate", 2),
        ("usage_missing_rate", True),
        ("cached_tokens_share", 50),
        ("port", 65_536),
        ("latency_median_ms", -1),
        ("latency_sigma", float("inf")),
        ("reasoning_tokens", -1),
        ("reasoning_sigma", -0.1),
        ("error_statuses", ()),
        ("error_statuses", (500, 200)),
        ("encoding", "gpt2"),
        ("scenario", "nonsense"),
    ],
)
def test_an_odd_option_is_refused_by_name(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}

    with pytest.raises(ValueError, match=f"^{option}: found"):
        MockOptions(**options)


def test_the_key_is_not_shown() -> None:
    assert "s3cret" not in repr(MockOptions(api_key="s3cret"))


def test_rates_are_how_often_things_go_wrong() -> None:
    options = MockOptions(
        error_rate=0.2, malformed_rate=0.3, refusal_rate=0.1, usage_missing_rate=0.5
    )
    drawn = [options.draw(random.Random(seed)) for seed in range(4_000)]
    answers = [one for one in drawn if one.failure is None]

    assert len(answers) / len(drawn) == pytest.approx(0.8, abs=0.03)
    assert {one.failure.status for one in drawn if one.failure} == {500, 429, 503}
    kinds = Counter(one.answer for one in answers)
    assert sum(kinds[kind] for kind in MALFORMED) / len(answers) == pytest.approx(0.3, abs=0.03)
    assert all(kinds[kind] for kind in MALFORMED)
    assert kinds[AnswerKind.REFUSAL] / len(answers) == pytest.approx(0.07, abs=0.02)
    missing = [one for one in answers if one.usage is UsageKind.MISSING]
    assert len(missing) / len(answers) == pytest.approx(0.5, abs=0.03)


def test_without_rates_nothing_goes_wrong() -> None:
    drawn = {MockOptions().draw(random.Random(seed)) for seed in range(500)}

    assert drawn == {Scenario()}


def test_latency_is_the_median_or_spread_round_it() -> None:
    fixed = MockOptions(latency_median_ms=80)
    spread = MockOptions(latency_median_ms=80, latency_sigma=0.5)

    drawn = sorted(spread.draw_latency_ms(random.Random(seed)) for seed in range(2_001))

    assert fixed.draw_latency_ms(random.Random(1)) == 80
    assert drawn[1_000] == pytest.approx(80, rel=0.1)
    assert drawn[0] < 40 < 160 < drawn[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_hostile_scenario_is_read_and_documented(kind: str) -> None:
    page = (ROOT / "docs" / "providers.md").read_text("utf-8")

    for value, sends in KINDS[kind].items():
        text = f"{kind}={value}"
        assert getattr(parse_scenario(text).hostile, kind) == value
        assert parse_scenario(text).hostile.name == text
        assert f"\n| `{text}` | {sends} | " in page
    with pytest.raises(ScenarioError, match=f"{kind}=none.*{value}"):
        parse_scenario(f"{kind}=none")
