"""What a provider wrote is shown to operators without keys and without a person's words."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.executions.masking import MAX_CHARS, MAX_MASKED_VALUES, TOO_LONG, masked
from tests.harness.bounds import assert_cpu, assert_linear, mostly_long, peak_bytes

SECRET = "Tr0ub4dor-and-3"
WORDS = "Où est ma carte? My number is 4000 1234 5678."
DATA: dict[str, Any] = {
    "customer": {"message": WORDS, "name": "Ann Lee", "zip": 90210, "tags": ["night owl"]}
}
PROMPT = ["You sort messages.", f"Sort this message: {WORDS}"]


def shown(text: str, **changes: Any) -> str:
    arguments: dict[str, Any] = {"secrets": [SECRET], "prompt": PROMPT, "data": DATA}
    return masked(text, **(arguments | changes))


def test_what_helps_to_mend_a_schema_is_shown_as_it_is() -> None:
    text = (
        "Invalid schema for response_format 'answer': In context=(), 'additionalProperties' is "
        "required to be supplied and to be false. Model gpt-4o-mini-2024-07-18."
    )
    assert shown(text, known="openai/gpt-4o-mini-2024-07-18") == text


@pytest.mark.parametrize(
    "quoted",
    [
        WORDS,
        WORDS.upper(),
        json.dumps(WORDS),
        json.dumps(json.dumps(WORDS)),
        quote(WORDS),
        WORDS.replace("'", "&#39;").replace("?", "&quest;"),
        WORDS.replace(" ", "\n"),
        "".join(f"{char}\u200b" for char in WORDS),
        WORDS[8:30],
    ],
)
def test_law_14_a_persons_words_are_masked_however_they_are_escaped(quoted: str) -> None:
    line = shown(f"The input {quoted} is wrong")
    assert "[masked]" in line
    assert "carte" not in line.lower()
    assert "1234" not in line
    assert line.startswith("The input ")
    assert line.endswith("is wrong")


def test_law_14_a_short_attribute_is_masked_as_a_whole_word() -> None:
    assert shown("no name Ann Lee in 90210 (night owl)") == (
        "no name [masked] in [masked] ([masked])"
    )
    assert shown("annleep 902101") == "annleep 902101"


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        SECRET.lower(),
        SECRET[:9],
        SECRET[4:],
        "sk-proj-abcdef",
        "sk-1234********wxyz",
        "AIzaSyA1234567890",
        "Bearer abcdef",
        "api_key=hunter2",
        "dGhlIHF1aWNrIGJyb3du1",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_no_key_is_shown_nor_a_part_of_one(key: str) -> None:
    line = shown(f"Incorrect API key provided: {key} (see the docs)")
    assert line == "Incorrect API key provided: [masked] (see the docs)"


def test_law_15_hostile_text_is_one_bounded_printable_line() -> None:
    hostile = "<html>\x1b[31m\r\n\x00\u202e\ud800\x07<script>" + "x" * 10_000_000
    line = shown(hostile)
    assert line.startswith("<html>\\x1b[31m \\x00\\u202e\\ud800\\x07<script>xxx")
    assert len(line) == MAX_CHARS
    assert line.isprintable()


@given(st.text(max_size=300), st.text(max_size=300))
def test_law_15_any_text_beside_any_attribute_is_a_bounded_printable_line(
    text: str, attribute: str
) -> None:
    line = shown(text + attribute, data={"customer": {"message": attribute}})
    assert len(line) <= MAX_CHARS
    assert line.isprintable()


@pytest.mark.parametrize(
    "data",
    [
        {"customer": {"message": "a word " * 20_000}},
        {"customer": {"tags": ["x"] * (MAX_MASKED_VALUES + 1)}},
        {"customer": {"message": "\ufdfa" * 20_000}},
    ],
)
def test_law_15_beside_data_that_is_too_long_to_be_looked_for_no_text_is_shown(
    data: dict[str, Any],
) -> None:
    assert shown("no", data=data) == TOO_LONG


LARGE = {
    "words": {"message": "a longer word and "[:17] * 5_800},
    "values": {str(number): f"v{number:06}" for number in range(4_900)},
    "ligatures": {"message": "\ufdfa" * 7_000},
}


@pytest.mark.parametrize("attributes", mostly_long(LARGE.values()))
def test_law_15_masking_takes_less_than_50_ms_and_16_mb(attributes: dict[str, Any]) -> None:
    def work() -> None:
        shown("a longer word and that aX1-" * 100, prompt=[], data={"customer": attributes})

    assert_cpu(work, 0.05)
    assert peak_bytes(work) < 16 * 2**20


def test_law_15_masking_takes_time_in_proportion_to_the_prompt() -> None:
    assert_linear(
        lambda size: ["a longer word " * size],
        lambda prompt: shown("it is wrong " * 100, prompt=prompt),
        2_500,
    )
