from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.tokens import TokenCounter
from providers.mock.answers import Asked, MockModel, value_for
from providers.mock.openai import read
from providers.mock.options import MALFORMED, AnswerKind, MockOptions, Scenario
from runtime.actions.answers import parse
from runtime.actions.outputs import (
    BooleanOutput,
    MultiSelectOutput,
    NumberOutput,
    OutputField,
    SingleSelectOutput,
    TextOutput,
    json_schema,
)

options = st.lists(
    st.text("abcdefgh_ 你é", min_size=1, max_size=12).filter(lambda text: text == text.strip()),
    min_size=1,
    max_size=6,
    unique_by=str.casefold,
)


@st.composite
def outputs(draw: st.DrawFn) -> dict[str, OutputField]:
    low, width = draw(st.integers(-1_000, 1_000)), draw(st.integers(0, 500))
    several = draw(options)
    least = draw(st.integers(0, len(several)))
    most = draw(st.integers(max(least, 1), len(several)))
    about = draw(st.sampled_from(["", "Stars from 1 to 5, at most 9 characters."]))
    one = draw(options)
    return {
        "reply": TextOutput(description=about, max_length=draw(st.integers(1, 300)), fallback="-"),
        "whole": NumberOutput(
            description=about, minimum=low, maximum=low + width, integer=True, fallback=low
        ),
        "number": NumberOutput(minimum=low / 8, maximum=(low + width) / 8, fallback=low / 8),
        "urgent": BooleanOutput(fallback=False),
        "intent": SingleSelectOutput(options=tuple(one), fallback=one[0]),
        "topics": MultiSelectOutput(
            options=tuple(several), min_items=least, max_items=most, fallback=several[:least]
        ),
    }


def _ask(schema: dict[str, Any] | None, text: str = "Hello", **fields: Any) -> Asked:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}]} | fields
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        }
    return read(json.dumps(body).encode())


@settings(deadline=None)
@given(outputs(), st.integers(0, 10**6))
def test_a_good_answer_fits_every_output_that_was_asked_for(
    outputs: dict[str, OutputField], seed: int
) -> None:
    model = MockModel(MockOptions(seed=seed))

    answer = model.answer(_ask(json_schema(outputs)), Scenario())

    assert parse(answer.text, outputs).invalid == {}
    assert not answer.cut


@settings(deadline=None)
@given(outputs(), st.sampled_from(MALFORMED), st.integers(0, 10**6))
def test_a_malformed_answer_spoils_the_outputs_that_it_is_meant_to(
    outputs: dict[str, OutputField], kind: AnswerKind, seed: int
) -> None:
    model = MockModel(MockOptions(seed=seed))

    answer = model.answer(_ask(json_schema(outputs)), Scenario(answer=kind))

    expected = {"intent", "topics"} if kind is AnswerKind.UNKNOWN_OPTION else set(outputs)
    assert set(parse(answer.text, outputs).invalid) == expected


@given(
    st.integers(-50, 50), st.integers(0, 40), st.booleans(), st.booleans(), st.integers(0, 10**6)
)
def test_numbers_keep_to_the_keywords_of_a_schema(
    low: int, width: int, open_below: bool, open_above: bool, seed: int
) -> None:
    high = low + width + 2
    schema = {
        "exclusiveMinimum" if open_below else "minimum": low,
        "exclusiveMaximum" if open_above else "maximum": high,
    }
    chance = random.Random(seed)

    whole = value_for({"type": "integer"} | schema, chance)
    number = value_for({"type": "number"} | schema, chance)

    assert type(whole) is int
    for value in (whole, number):
        assert low + open_below * 1e-9 <= value <= high - open_above * 1e-9


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 10**6))
def test_texts_keep_to_their_lengths(least: int, more: int, seed: int) -> None:
    schema = {"type": "string", "minLength": least, "maxLength": least + more}

    assert least <= len(value_for(schema, random.Random(seed))) <= least + more


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 10**6))
def test_lists_of_options_are_as_long_as_allowed_and_name_none_twice(
    least: int, more: int, seed: int
) -> None:
    enum = ["a", "b", "c", "d", "e"]
    schema = {
        "type": "array",
        "items": {"type": "string", "enum": enum},
        "minItems": least,
        "maxItems": least + more,
    }

    chosen = value_for(schema, random.Random(seed))

    assert min(least, 5) <= len(chosen) <= least + more
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(enum)


def test_references_alternatives_and_constants_are_followed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"const": "reply"},
            "mood": {"$ref": "#/$defs/mood"},
            "note": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
            "maybe": {"type": ["null", "integer"], "minimum": 3, "maximum": 3},
        },
        "$defs": {"mood": {"enum": ["good"]}},
    }

    value = value_for(schema, random.Random(1))

    assert value | {"note": None} == {"kind": "reply", "mood": "good", "note": None, "maybe": 3}
    assert isinstance(value["note"], bool)


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    endless = {"properties": {"again": {"$ref": "#"}}}
    circular = {"$ref": "#"}

    assert value_for(endless, random.Random(1)).keys() == {"again"}
    assert isinstance(value_for(circular, random.Random(1)), str)


@settings(deadline=None)
@given(st.integers(1, 80), st.sampled_from([0, 5, 40]))
def test_an_answer_never_uses_more_tokens_than_it_was_allowed(limit: int, thinks: int) -> None:
    model = MockModel(MockOptions(reasoning_tokens=thinks))
    whole = model.answer(_ask(None), Scenario())

    answer = model.answer(_ask(None, max_completion_tokens=limit), Scenario())

    assert answer.output_tokens == min(limit, whole.output_tokens)
    assert answer.cut == (limit < whole.output_tokens)
    assert answer.reasoning_tokens == min(thinks, limit)
    assert whole.text.startswith(answer.text)
    assert (answer.text == "") == (limit <= thinks)


def test_how_long_it_thinks_varies_around_the_median_and_is_the_same_for_the_same_request() -> None:
    model = MockModel(MockOptions(reasoning_tokens=100, reasoning_sigma=0.5))
    asked = [_ask(None, str(n)) for n in range(400)]

    thinks = sorted(model.answer(one, Scenario()).reasoning_tokens for one in asked)

    assert 90 < thinks[200] < 110
    assert 50 < thinks[64] < 70, "the 16% quantile lies a sigma below"
    assert 145 < thinks[336] < 190
    assert thinks == sorted(model.answer(one, Scenario()).reasoning_tokens for one in asked)


def test_a_truncated_answer_says_so_and_counts_what_it_wrote() -> None:
    model = MockModel(MockOptions())
    whole = model.answer(_ask(None), Scenario())

    cut = model.answer(_ask(None), Scenario(answer=AnswerKind.TRUNCATED))

    assert cut.cut
    assert 0 < cut.output_tokens < whole.output_tokens
    assert cut.output_tokens == TokenCounter().count_text(cut.text)


@settings(deadline=None)
@given(outputs(), st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_the_counted_bound_of_a_request_is_never_below_what_it_is_billed(
    outputs: dict[str, OutputField], contents: list[str]
) -> None:
    schema = json_schema(outputs)
    messages = [{"role": "user", "content": content} for content in contents]

    billed = MockModel(MockOptions()).answer(_ask(schema, messages=messages), Scenario())

    assert billed.input_tokens <= TokenCounter().count_messages(messages, schema)
    assert billed.input_tokens > TokenCounter().count_messages(messages)


def test_without_schema_the_bill_is_what_was_counted() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]

    billed = MockModel(MockOptions()).answer(_ask(None, messages=messages), Scenario())

    assert billed.input_tokens == TokenCounter().count_messages(messages)


def test_tools_are_billed_as_input() -> None:
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    model = MockModel(MockOptions())

    plain = model.answer(_ask(None), Scenario())
    with_tools = model.answer(_ask(None, tools=[tool]), Scenario())

    more = with_tools.input_tokens - plain.input_tokens
    assert more >= TokenCounter().count_text(json.dumps(tool, separators=(",", ":")))


def test_cached_tokens_are_a_part_of_the_prompt() -> None:
    asked = _ask(None, "word " * 200)

    share = MockModel(MockOptions(cached_tokens_share=0.5)).answer(asked, Scenario())
    everything = MockModel(MockOptions()).answer(asked, Scenario(cached_tokens=10**6))

    assert share.cached_tokens == share.input_tokens // 2
    assert everything.cached_tokens == everything.input_tokens


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"text": "Hello!"},
    ],
)
def test_another_seed_or_message_gives_another_answer(other: dict[str, Any]) -> None:
    def texts(seed: int = 1, text: str = "Hello") -> list[str]:
        model = MockModel(MockOptions(seed=seed))
        return [model.answer(_ask(None, f"{text} {n}"), Scenario()).text for n in range(5)]

    assert texts() == texts()
    assert texts(**other) != texts()
