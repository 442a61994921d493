"""The bound for models with a tokenizer of their own, against the one that can be had offline."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pricing.tokens import (
    ENCODINGS,
    OTHER,
    OTHER_MARGIN_PERCENT,
    TokenCounter,
    encoding_of,
    load_encoding,
)
from tests.harness.paths import ROOT

# Written for these tests, by script and by what else people paste.
MESSAGES: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("messages.json").read_text(encoding="utf-8")
)
PEOPLE = ROOT / "runtime" / "demo_data" / "banking77" / "people.csv"
ENGLISH = "English (banking77)"
PIECES = [
    "▓",
    "•",
    "—",
    "“",
    "ﷺ",
    "½",
    "\u00a0",
    "\u200b",
    "A",
    "ABC",
    "haha",
    "-=",
    "0",
    "é",
    "\r\n",
    "字",
]

bound = TokenCounter(OTHER).count_text
quoted = TokenCounter(OTHER, OTHER_MARGIN_PERCENT).count_messages


@cache
def claude() -> Tokenizer:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0], "litellm_core_utils", "tokenizers")
    return Tokenizer.from_file(str(folder / "anthropic_tokenizer.json"))


def claudes(text: str) -> int:
    """Count as Claude's published tokenizer does."""
    return len(claude().encode(text, add_special_tokens=False).ids)


@cache
def messages() -> dict[str, Sequence[str]]:
    with PEOPLE.open(encoding="utf-8", newline="") as file:
        english = [row["message"] for row in csv.DictReader(file)]
    return {ENGLISH: english, **MESSAGES}


def documented() -> dict[str, int]:
    """Return the figures for Claude in the table by kind of message."""
    text = (ROOT / "docs" / "tokens.md").read_text(encoding="utf-8")
    table = text.partition("| messages | Claude |")[2].partition("\n\n")[0]
    return {kind: int(figure) for kind, figure in re.findall(r"\n\| (.+?) \| (\d+) \|", table)}


def test_the_documented_figures_for_claude_are_those_that_are_measured() -> None:
    measured = {
        kind: max(ceil(100 * claudes(text) / bound(text)) for text in texts)
        for kind, texts in messages().items()
    }

    assert documented() == measured


def test_every_message_of_every_script_is_covered_though_claudes_took_a_third_more() -> None:
    for texts in messages().values():
        for text in texts:
            assert quoted([{"role": "user", "content": text}]) >= claudes(text) * 1.35


def test_english_is_hardly_over_counted() -> None:
    english = messages()[ENGLISH]

    assert sum(map(bound, english)) <= 1.02 * sum(map(claudes, english))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text()
    | st.lists(st.text(max_size=3) | st.sampled_from(PIECES), max_size=6).map("".join)
    | st.tuples(st.text(max_size=3) | st.sampled_from(PIECES), st.integers(1, 200)).map(
        lambda piece: piece[0] * piece[1]
    )
    | st.sampled_from([text.upper() for texts in MESSAGES.values() for text in texts])
)
@example("ﷺ" * 200)
@example("▓" * 200)
@example("=-" * 200)
@example("oOo" * 200)
@example("7" * 200)
@example("\t \n" * 200)
def test_any_text_is_covered(text: str) -> None:
    assert quoted([{"role": "user", "content": text}]) >= claudes(text)


@pytest.mark.parametrize(
    "count",
    [lambda text: text.count("1"), lambda text: len(re.findall("[A-Z]{2}", text))],
    ids=["digits", "pairs of capitals"],
)
def test_what_gpt3s_vocabulary_packs_tightly_is_taken_apart(count: Callable[[str], int]) -> None:
    text = "111111111111 IMPORTANTLY " * 50

    assert bound(text) >= count(text)


def test_only_other_models_have_room_for_what_their_templates_say() -> None:
    hello = [{"role": "user", "content": "hello"}]

    assert TokenCounter("p50k_base").count_messages(hello) + 32 == (
        TokenCounter(OTHER).count_messages(hello)
    )


def test_a_long_text_is_bounded_in_parts_as_it_is_as_a_whole() -> None:
    text = MESSAGES["Russian"][0] + "\n"

    assert bound(text * 2_000) == pytest.approx(2_000 * bound(text), rel=0.01)


@pytest.mark.parametrize(
    "model, encoding",
    [
        ("openai/gpt-4.1-mini", "o200k_base"),
        ("openai/gpt-5", "o200k_base"),
        ("openrouter/openai/gpt-4o", "o200k_base"),
        ("openai/o3-mini", "o200k_base"),
        ("azure/gpt-4", "cl100k_base"),
        ("openai/ft:gpt-4o-mini:us::id", "o200k_base"),
        ("azure/our-deployment", OTHER),
        ("anthropic/claude-sonnet-5", OTHER),
        ("gemini/gemini-3.8-flash", OTHER),
        ("hosted_vllm/meta-llama/Llama-3.3-70B", OTHER),
        ("groq/openai/gpt-oss-20b", OTHER),
        ("mistral/open-mistral-nemo", OTHER),
        ("openai/gpt2", OTHER),
    ],
)
def test_a_models_encoding_follows_from_its_name(model: str, encoding: str) -> None:
    assert encoding_of(model) == encoding


def test_no_encoding_of_openais_with_a_percentage_would_do() -> None:
    """Why the bound exists: a margin for the worst script would quadruple every English prompt."""
    thai, *_ = MESSAGES["Thai, Bengali, Tamil"]
    numbers = {name: len(load_encoding(name).encode_ordinary(thai)) for name in ENCODINGS}

    assert claudes(thai) > 3 * numbers["o200k_base"]
    assert claudes(thai) > 1.5 * numbers["cl100k_base"]


def test_the_schema_is_bounded_too() -> None:
    schema = {"enum": ["überweisung", "карта", "١٢٣٤", "2026-11-24"]}
    sent = json.dumps(schema, ensure_ascii=False)

    assert TokenCounter(OTHER, OTHER_MARGIN_PERCENT).count_messages([], schema) > claudes(sent)
