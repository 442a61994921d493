"""Answers as models give them, with the values that are read from them: ``answers.txt``."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.actions.answers import parse
from runtime.actions.outputs import (
    BooleanOutput,
    MultiSelectOutput,
    NumberOutput,
    OutputField,
    SingleSelectOutput,
    TextOutput,
)

OUTPUTS: dict[str, OutputField] = {
    "intent": SingleSelectOutput(
        options=("card", "transfer", "account", "other"), fallback="other"
    ),
    "score": NumberOutput(minimum=0, maximum=10, fallback=5),
    "stars": NumberOutput(minimum=1, maximum=5, integer=True, fallback=3),
    "urgent": BooleanOutput(fallback=False),
    "reply": TextOutput(max_length=60, fallback="Thank you."),
    "tags": MultiSelectOutput(options=("new", "vip", "angry", "fraud"), max_items=2, fallback=[]),
}

_CASES = re.findall(
    r"^### ([^\n]+)\n(.*?)^--- ([^\n]+)$",
    Path(__file__).with_name("answers.txt").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)

Answer = dict[str, Any]


def can_be_seen(text: str) -> bool:
    kinds = {unicodedata.category(letter)[0] for letter in text} & {*"LNPS"}
    return bool(kinds) and not {*text} & {*"\u115f\u1160\u3164\uffa0\u2800"}


valid: st.SearchStrategy[Answer] = st.fixed_dictionaries(
    {
        "intent": st.sampled_from(["card", "transfer", "account", "other"]),
        "score": st.integers(0, 10) | st.floats(0, 10),
        "stars": st.integers(1, 5),
        "urgent": st.booleans(),
        "reply": st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60
        ).filter(lambda text: text == text.strip() and can_be_seen(text)),
        "tags": st.lists(
            st.sampled_from(["new", "vip", "angry", "fraud"]), max_size=2, unique=True
        ),
    }
)


def as_text(answer: Answer) -> str:
    """Write everything but lists as text."""
    return json.dumps(
        {k: json.dumps(v) if isinstance(v, bool | int | float) else v for k, v in answer.items()}
    )


def with_a_comma_too_many(answer: Answer) -> str:
    return re.sub(r"\n(\s*[}\]])", r",\n\1", json.dumps(answer, indent=1))


DRESSINGS: tuple[Callable[[Answer], str], ...] = (
    json.dumps,
    lambda answer: json.dumps(answer, ensure_ascii=False),
    lambda answer: json.dumps(answer, indent=2),
    lambda answer: "\ufeff\r\n" + json.dumps(answer).replace(", ", "\r\n,\t"),
    lambda answer: f"```json\n{json.dumps(answer)}\n```",
    lambda answer: f"Certainly! {json.dumps(answer)} {{}} I hope that this helps.",
    lambda answer: f'<think>{{}} or {{"score": 1}}?</think>{json.dumps(answer)}',
    lambda answer: json.dumps([answer, {**answer, "note": "once more"}]),
    lambda answer: json.dumps(json.dumps(answer)),
    lambda answer: json.dumps({**answer, "tags": json.dumps(answer["tags"])}),
    lambda answer: json.dumps(answer).replace("{", "{ /* { */", 1),
    lambda answer: json.dumps({"result": answer}),
    lambda answer: json.dumps({**answer, "explanation": None, "intents": [answer]}),
    lambda answer: json.dumps({key.upper(): value for key, value in answer.items()}),
    lambda answer: json.dumps({**answer, "intent": f" {answer['intent'].title()}\n"}),
    lambda answer: json.dumps({**answer, "tags": answer["tags"] + answer["tags"][:1]}),
    as_text,
)


@pytest.mark.parametrize("answer, values", [c[1:] for c in _CASES], ids=[c[0] for c in _CASES])
def test_a_real_answer_gives_the_values_that_it_says(answer: str, values: str) -> None:
    parsed = parse(answer.removesuffix("\n"), OUTPUTS)

    assert parsed.values == json.loads(values)
    assert parsed.invalid.keys() == OUTPUTS.keys() - parsed.values.keys()


def test_the_table_is_read_whole() -> None:
    headings = Path(__file__).with_name("answers.txt").read_text(encoding="utf-8").count("### ")

    assert len({title for title, *_ in _CASES}) == headings >= 40


@given(valid, st.sampled_from(DRESSINGS))
def test_a_valid_answer_is_the_same_in_every_dressing(
    answer: Answer, dress: Callable[[Answer], str]
) -> None:
    parsed = parse(dress(answer), OUTPUTS)

    assert parsed.invalid == {}
    assert parsed.values == answer


@given(valid.filter(lambda answer: not {*answer["reply"]} & {*"{}[]\n"}))
def test_a_comma_before_a_closing_bracket_changes_nothing(answer: Answer) -> None:
    text = with_a_comma_too_many(answer)

    with pytest.raises(ValueError, match=r"."):
        json.loads(text)
    assert parse(text, OUTPUTS).values == answer


# What looks like a tag of thoughts makes an answer unclear that is not strict JSON.
@given(
    valid,
    st.text(st.characters(exclude_characters="\n<>[]|\uff1c\uff1e\uff5c\u2039\u203a"), max_size=30),
)
@example({"reply": "a // b, }", "intent": "card"}, '"}, "intent": "other"}')
def test_a_comment_changes_nothing_whatever_it_says(answer: Answer, comment: str) -> None:
    text = re.sub(r"(?m)$", lambda _: f" // {comment}", json.dumps(answer, indent=1))

    assert parse(text, {name: OUTPUTS[name] for name in answer}).values == answer


bad = st.one_of(
    st.none(),
    st.just(float("nan")),
    st.just(float("inf")),
    st.just(10**500),
    st.dictionaries(st.text(), st.integers()),
    st.lists(st.dictionaries(st.text(), st.integers()), min_size=1),
    # NUL is left out of what is read: PostgreSQL can't store it.
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=61
    ).filter(lambda text: len(text.strip()) > 60),
)


@given(valid, st.dictionaries(st.sampled_from(sorted(OUTPUTS)), bad, min_size=1))
def test_bad_values_spoil_themselves_alone(answer: Answer, bads: Answer) -> None:
    parsed = parse(json.dumps({**answer, **bads}), OUTPUTS)

    assert parsed.invalid.keys() == bads.keys()
    assert parsed.values == {k: v for k, v in answer.items() if k not in bads}


@given(valid, st.data())
def test_a_value_that_comes_twice_counts_only_if_it_is_the_same(
    answer: Answer, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["intent", "score", "stars", "urgent", "reply"]))
    again = data.draw(valid)[name]
    first = json.dumps(answer)[:-1]

    parsed = parse(f"{first}, {json.dumps(name)}: {json.dumps(again)}}}", OUTPUTS)

    same = type(again) is type(answer[name]) and again == answer[name]
    assert parsed.values == (
        answer if same else {key: value for key, value in answer.items() if key != name}
    )


def test_an_options_accents_may_be_composed_or_not() -> None:
    output = SingleSelectOutput(options=("Größe", "Cafe\u0301"), fallback="Größe")
    texts = {"Gro\u0308ße": "Größe", "CAFÉ": "Cafe\u0301"}

    for written, option in texts.items():
        assert parse(json.dumps({"x": written}), {"x": output}).values == {"x": option}


def test_names_that_differ_in_case_alone_are_not_mixed_up() -> None:
    outputs: dict[str, OutputField] = {
        "Card": TextOutput(max_length=9, fallback="-"),
        "card": TextOutput(max_length=9, fallback="-"),
    }

    assert parse('{"CARD": "a"}', outputs).values == {}
    assert parse('{"card": "a", "CARD": "b"}', outputs).values == {"card": "a"}


def test_a_name_in_letters_that_look_alike_is_another_name() -> None:
    outputs: dict[str, OutputField] = {"k": TextOutput(max_length=9, fallback="-")}

    assert parse('{"\u212a": "kelvin"}', outputs).values == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"intent": "card",' * 50_000,
        '{"reply": "' + '"' * 500_000,
        '{"a":1' + "//" * 500_000,
        '{"a":1' + ",  " * 300_000,
        '{"a":1' + "\\" * 1_000_000,
        "<think>" * 200_000,
        "{\n" * 500_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
    ids=["objects", "quotes", "comments", "commas", "backslashes", "thoughts", "braces", "depth"],
)
@pytest.mark.timeout(20)
def test_law_15_answers_of_a_megabyte_are_refused_in_time_that_grows_with_their_length(
    text: str,
) -> None:
    assert parse(text, OUTPUTS).values == {}
