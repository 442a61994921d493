"""The example config is right, complete, and makes the demo what it should be."""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

import runtime
from pricing.quote import cost_mc
from pricing.rate_card import ModelClass
from pricing.tokens import TokenCounter
from pricing.usage import TokenUsage
from runtime.actions.outputs import longest_answer
from runtime.config import Config, ConfigError, load_config, parse_config
from tests.harness.config_reference import REFERENCE, rows_in_reference

EXAMPLE = REFERENCE.parents[1] / "config.example.yaml"
BANKING77 = Path(runtime.__file__).parent / "demo_data" / "banking77"
TYPES = {"text", "number", "boolean", "single_select", "multi_select"}


@pytest.fixture(scope="module")
def config() -> Config:
    # Without an environment: whoever tries it has set nothing yet.
    return load_config(EXAMPLE, environ={})


@pytest.fixture(scope="module")
def people() -> list[dict[str, str]]:
    with (BANKING77 / "people.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_example_loads_without_a_warning(config: Config) -> None:
    assert config.warnings == ()


def test_the_example_keeps_working_for_years() -> None:
    for year in (2026, 2036):
        load_config(EXAMPLE, environ={}, now=datetime(year, 1, 1, tzinfo=UTC))


def test_the_example_mentions_every_key_there_is() -> None:
    rare = {"cache_write", "reasoning", "per_request", "free", "min_length", "include"}
    text = EXAMPLE.read_text(encoding="utf-8")
    missing = {key for _, key, *_ in rows_in_reference() if f"{key}:" not in text}
    assert missing <= rare


def test_the_mistakes_that_the_reference_shows_are_those_that_one_gets() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    lines[lines.index("  timeout_ms: 1000")] = "  timout_ms: 1000"
    lines[lines.index("        fallback: normal")] = "        fallback: medium"
    with pytest.raises(ConfigError) as raised:
        parse_config("\n".join(lines), "config.yaml", environ={})
    assert str(raised.value) in REFERENCE.read_text(encoding="utf-8")


def test_the_example_has_every_type_of_output_and_both_classes_of_model(config: Config) -> None:
    outputs = [output for action in config.actions.values() for output in action.outputs.values()]
    assert {output.type for output in outputs} == TYPES
    assert {output.store_as for output in outputs} == {"journey", "customer"}
    assert {model.model_class for model in config.models.values()} == set(ModelClass)


def test_the_example_sells_what_the_product_sells(config: Config) -> None:
    assert (config.build_pack().credits, config.build_pack().price_cents) == (100_000, 1_000)
    introductory, welcome = config.build_offers()
    assert str(introductory.paying_from) == "2026-04-08"
    assert str(introductory.paying_until) == "2026-06-30"
    assert introductory.expires_after_days == 90
    assert introductory.amount_mc == welcome.amount_mc == 100_000_000
    assert welcome.paying_until is None
    assert not config.plans["trial"].ai_credits


def test_the_intents_are_those_of_the_data_in_their_order(
    config: Config, people: list[dict[str, str]]
) -> None:
    categories = json.loads((BANKING77 / "categories.json").read_text(encoding="utf-8"))
    intent = config.actions["route_message"].outputs["intent"]
    assert intent.schema_type()["enum"] == categories
    assert {person["intent"] for person in people} == set(categories)


def test_the_data_has_3080_people_with_a_message_each(people: list[dict[str, str]]) -> None:
    assert len(people) == 3_080
    assert set(Counter(person["person_id"] for person in people).values()) == {1}
    assert all(person["message"].strip() for person in people)


def test_the_data_keeps_its_attribution() -> None:
    readme = (BANKING77 / "README.md").read_text(encoding="utf-8")
    assert all(
        word in readme for word in ("PolyAI-LDN", "57ec275", "2003.04807", "licenses/by/4.0")
    )


def test_every_person_can_be_rendered_with_what_the_file_has(
    config: Config, people: list[dict[str, str]]
) -> None:
    action = config.actions["route_message"]
    for person in people:
        _, user = action.render({"customer": person})
        assert user["content"] == f"Message from there:\n{person['message']}".rstrip("\n") + "\n"
    assert config.actions["score_lead"].render({})


def test_the_credits_of_the_demo_end_after_some_two_thirds_of_the_people(
    config: Config, people: list[dict[str, str]]
) -> None:
    action = config.actions["route_message"]
    card = config.rate_cards[0]
    rates = card.rates[action.model].build()
    counter = TokenCounter(config.models[action.model].counting()[0])
    schema_tokens = counter.count_text(json.dumps(action.json_schema, separators=(",", ":")))
    credits_mc = config.build_offers()[-1].amount_mc
    inputs = [
        counter.count_messages(action.render({"customer": person})) + schema_tokens
        for person in people
    ]
    for output_tokens in (40, 60):
        costs = (cost_mc(rates, TokenUsage(tokens, output_tokens)) for tokens in inputs)
        served = sum(total <= credits_mc for total in itertools.accumulate(costs))
        assert 0.55 < served / len(people) < 0.75


def test_the_longest_answers_of_the_example_fit_into_their_limits(config: Config) -> None:
    for action in config.actions.values():
        counter = TokenCounter(config.models[action.model].counting()[0])
        tokens = counter.count_text(longest_answer(action.outputs))
        assert tokens <= action.limits.max_output_tokens
