"""What each key of a config may be, what becomes of it, and how mistakes are told."""

from __future__ import annotations

import pickle
import re
import traceback
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pricing.offers import GrantKind, Offer, Pack
from providers.base import Endpoint
from runtime.config import Config, ConfigError, load_config
from tests.harness.configs import NOW, changed, found_in, load, mistakes_in, only_mistake, right

SECRET = "sk-V3ryS3cret/0123456789"
SECRET_PLACES = ["installation_key", "redis.password", "endpoints.mock.api_key"]


# What a config gives to the parts of the runtime


def test_the_parts_of_the_runtime_are_built_from_their_sections() -> None:
    data = changed(
        "offers.introductory",
        {
            "kind": "introductory",
            "credits": 100_000,
            "paying_from": "2026-04-08",
            "paying_until": "2026-06-30",
            "expires_after_days": 90,
        },
    )
    data["pack"] = {"credits": 100_000, "price_usd": 10}
    config = load(data)
    assert config.build_offers() == [
        Offer(
            "introductory",
            GrantKind.INTRODUCTORY,
            100_000_000,
            date(2026, 4, 8),
            date(2026, 6, 30),
            90,
        )
    ]
    assert config.build_pack() == Pack(credits=100_000, price_cents=1_000)
    assert config.build_endpoint("mock") == Endpoint("mock", None, "http://127.0.0.1:8377/v1")
    card = config.build_rate_cards().at(NOW)
    assert card is not None
    assert card.rates["writer"].input_mc == 1_000_000


def test_an_action_is_known_by_its_key() -> None:
    assert load(right()).actions["greet"].id == "greet"


def test_an_id_beside_the_key_is_refused_unless_it_is_the_same() -> None:
    assert only_mistake(changed("actions.greet.id", "meet")).path == "actions.greet.id"
    assert load(changed("actions.greet.id", "greet")).actions["greet"].id == "greet"


def test_numbers_of_actions_arrive_as_plain_numbers() -> None:
    output = {"type": "number", "minimum": 0.5, "maximum": 9.5, "fallback": 1.5}
    data = changed("actions.greet.outputs.score", output)
    data["actions"]["greet"]["temperature"] = 0.7
    action = load(data).actions["greet"]
    assert type(action.fallbacks["score"]) is float
    assert type(action.temperature) is float


def test_rates_that_are_not_given_follow_those_that_are() -> None:
    config = load(changed("rate_cards.0.rates.writer", {"input": 3, "output": 5}))
    rates = config.rate_cards[0].rates["writer"].build()
    assert (rates.cached_input_mc, rates.cache_write_mc, rates.reasoning_mc) == (3000, 3000, 5000)


def test_a_rate_of_zero_for_cached_input_stays_zero() -> None:
    data = changed("rate_cards.0.rates.writer.cached_input", 0)
    assert load(data).rate_cards[0].rates["writer"].build().cached_input_mc == 0


@given(st.integers(0, 10**12))
def test_every_rate_of_at_most_three_decimals_is_taken_exactly(rate_mc: int) -> None:
    # Written as YAML writes it, so that no float of this test comes between.
    text = (
        "version: 1\nplans: {a: {ai_credits: true}}\n"
        "rate_cards: [{version: a, effective_from: 2026-01-01, rates: "
        f"{{m: {{input: {Decimal(rate_mc) / 1000:f}, output: 1}}}}}}]"
    )
    assert load(text).rate_cards[0].rates["m"].input_mc == rate_mc


@pytest.mark.parametrize(
    "written, instant",
    [
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01T12:00:00+02:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
    ],
)
def test_rate_cards_begin_at_an_instant_in_utc(written: str, instant: datetime) -> None:
    config = load(changed("rate_cards.0.effective_from", written))
    assert config.rate_cards[0].effective_from == instant


def test_relative_paths_are_relative_to_the_config_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET + "\n", encoding="utf-8")
    data = changed("endpoints.mock.api_key", {"file": "key"})
    config = load({**data, "data_dir": "state"}, base_dir=tmp_path)
    assert config.data_dir == tmp_path / "state"
    assert config.build_endpoint("mock").api_key == SECRET
    assert load(right(), base_dir=tmp_path).data_dir == tmp_path / "creditgate-data"


def test_a_config_survives_the_way_to_another_process() -> None:
    config = load(right())
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - its own bytes


def test_an_endpoint_can_be_moved_without_touching_the_config() -> None:
    config = load(right())
    moved = config.with_api_base("mock", "http://127.0.0.1:1/v1")
    assert moved.build_endpoint("mock").api_base == "http://127.0.0.1:1/v1"
    assert config.build_endpoint("mock").api_base == "http://127.0.0.1:8377/v1"


# Mistakes


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


def places_in(data: Any, path: str = "") -> list[str]:
    """Return the paths of all values within data."""
    inner = data.items() if isinstance(data, dict) else enumerate(data)
    places = []
    for key, value in inner:
        places.append(f"{path}{key}")
        if isinstance(value, dict | list):
            places += places_in(value, f"{path}{key}.")
    return places


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(places_in(right())), value=ANYTHING)
def test_any_value_anywhere_makes_a_config_or_mistakes_with_positions(
    place: str, value: Any
) -> None:
    for mistake in found_in(changed(place, value)):
        assert mistake.file == "c.yaml"
        assert (mistake.line or 0) >= 1
        assert (mistake.column or 0) >= 1
        assert mistake.message


NAMES_OF_ENTRIES = ("mock", "growth", "writer")
KEYS = [
    place
    for place in places_in(right())
    if not place.startswith("actions.")
    and not place.endswith(NAMES_OF_ENTRIES)
    and len(place.rpartition(".")[2]) >= 5
]


@pytest.mark.parametrize("place", KEYS)
def test_a_misspelt_key_is_refused_with_the_right_one(place: str) -> None:
    *parents, last = place.split(".")
    misspelt = last[:2] + last[3:]
    data = changed(".".join([*parents, misspelt]), 1)
    mistake = only_mistake(data)
    assert mistake.path.endswith(misspelt)
    assert f"did you mean '{last}'?" in mistake.message


@pytest.mark.parametrize(
    "place, near",
    [
        ("actions.greet.modle", "model"),
        ("actions.greet.limits.max_output_token", "max_output_tokens"),
        ("actions.greet.outputs.text.fallbak", "fallback"),
        ("redis.keyprefix", "key_prefix"),
    ],
)
def test_a_misspelt_key_is_refused_however_deep_it_stands(place: str, near: str) -> None:
    mistake = only_mistake(changed(place, 1))
    assert (mistake.path, f"did you mean '{near}'?" in mistake.message) == (place, True)


def test_a_key_that_resembles_none_gets_the_list_of_those_that_are() -> None:
    assert "charge_previews" in only_mistake(changed("executions.zzz", 1)).message


@pytest.mark.parametrize(
    "path, value, words",
    [
        ("version", 2, "must be 1"),
        ("version", "1", "must be 1"),
        ("redis.timeout_ms", "1000", "whole number, found the text '1000'"),
        ("redis.timeout_ms", True, "whole number, found true"),
        ("redis.timeout_ms", 0.5, "whole number, found the number 0.5"),
        ("redis.timeout_ms", 0, "at least 10, found the number 0"),
        ("redis.url", "localhost:6379", "redis://"),
        ("redis.url", "redis://", "is not a complete address"),
        ("redis.url", "redis://host:99999", "not a valid address"),
        ("redis.key_prefix", "{cg}", "1 to 32 of the characters"),
        ("executions.charge_previews", "no", "`no` are text"),
        ("executions.outcome_ttl_hours", 10**9, "at most"),
        ("plans.growth.ai_credits", 1, "true or false"),
        ("plans.growth", None, "a mapping"),
        ("plans.grün", {"ai_credits": True}, "1 to 64 of the characters"),
        ("pack.credits", 0, "at least 1"),
        ("pack.credits", 0.5, "whole number of credits"),
        ("pack.credits", 2**53, "credits, found"),
        ("pack.price_usd", 9.999, "two decimals"),
        ("pack.price_usd", 0, "above 0"),
        ("alerts.low_percent", 0, "at least 1"),
        ("alerts.low_percent", 100, "at most 99"),
        ("alerts.cooldown_minutes", -1, "at least 0"),
        ("alerts.cooldown_minutes", 525_601, "at most 525600"),
        ("alerts.cooldown_minutes", 0.5, "whole number"),
        ("offers.gift", {"kind": "purchased", "credits": 1}, "must be 'introductory'"),
        ("models.writer.class", "fast", "'reasoning' or 'quick'"),
        ("models.writer.encoding", "o300k", "o200k_base, p50k_base, other, found"),
        ("models.writer.schema_overhead_tokens", -1, "at least 0"),
        ("models.writer.litellm_model", "gpt-4.1", "must be PROVIDER/NAME"),
        ("models.writer.json_schema", "json", "must be true, false or json_object, found 'json'"),
        ("models.writer.json_schema", 1, "must be true, false or json_object, found 1"),
        ("models.writer.route", "direct", "must be 'auto' or 'acompletion', found the text"),
        ("models.writer.route", "completion", "did you mean 'acompletion'?"),
        ("models.writer.route", True, "must be 'auto' or 'acompletion', found true"),
        ("models.writer.retires_on", 2026, "a date like"),
        ("models.writer.retires_on", "2026-02-30", "no date"),
        ("models.writer.token_margin_percent", -1, "at least 0"),
        ("endpoints.mock.api_base", "ftp://host", "http:// or https://"),
        ("rate_cards.0.effective_from", "2026-01-01T12:00:00", "offset"),
        ("rate_cards.0.effective_from", "0001-01-01T00:00:00+14:00", "offset"),
        ("rate_cards.0.rates.writer.input", 0.0001, "three decimals"),
        ("rate_cards.0.rates.writer.input", -1, "from 0 to"),
        ("rate_cards.0.rates.writer.input", "1", "number of credits"),
        ("rate_cards.0.rates.writer", {"input": 0, "output": 0}, "free: true"),
        ("rate_cards.0.rates.writer", {"input": 1, "output": 0, "free": True}, "free: true"),
        ("rate_cards", {}, "must be a list, found a mapping"),
        ("compliance_prompt", 5, "put it in quotes"),
        ("data_dir", "", "path of a folder"),
        ("data_dir", "~nobody-at-all/x", "home folder"),
        ("actions.greet.outputs", {}, "at least 1 entries"),
        ("actions.greet.outputs.text.max_length", 0, "at least 1"),
        ("actions.greet.outputs.text", {"type": "txt"}, "'text'"),
        ("actions.greet.limits.max_output_tokens", None, "whole number, found nothing"),
        ("actions.greet.user", "{{ customer.name", "line 1"),
    ],
)
def test_what_a_key_may_not_be_is_refused_at_its_place(path: str, value: Any, words: str) -> None:
    mistakes = mistakes_in(changed(path, value))
    shown = re.sub(r"\.(\d+)", r"[\1]", path)
    assert [m.path for m in mistakes if m.path.startswith(shown)] == [mistakes[0].path]
    assert words in mistakes[0].message


def test_an_offer_that_ends_before_it_begins_is_refused() -> None:
    dates = {"paying_from": "2026-06-30", "paying_until": "2026-04-08"}
    offer = {"kind": "promotional", "credits": 1, **dates}
    mistake = only_mistake(changed("offers.gift", offer))
    assert mistake.path == "offers.gift"
    assert "2026-06-30" in mistake.message


@pytest.mark.parametrize(
    "place", ["version", "plans", "models.writer.class", "actions.greet.model"]
)
def test_a_missing_key_is_reported_where_it_should_be(place: str) -> None:
    data: Any = right()
    *parents, last = place.split(".")
    parent = data
    for name in parents:
        parent = parent[name]
    del parent[last]
    mistake = only_mistake(data)
    assert mistake.path == place
    assert "missing" in mistake.message


def test_a_fallback_value_that_does_not_fit_is_refused_at_its_line() -> None:
    text = """
version: 1
plans: {growth: {ai_credits: true}}
endpoints: {mock: {}}
models: {writer: {litellm_model: openai/x, endpoint: mock, class: quick}}
rate_cards:
  - {version: a, effective_from: 2026-01-01, rates: {writer: {input: 1, output: 1}}}
actions:
  greet:
    model: writer
    user: |
      Dear {{ customer.name }},
      {% if event.x %}
    outputs:
      mood:
        type: single_select
        options: [good, bad]
        fallback: fine
    limits: {max_output_tokens: 10}
"""
    prompt, fallback = mistakes_in(text)
    assert (fallback.line, fallback.column) == (18, 19)
    assert "'fine'" in fallback.message
    assert prompt.path == "actions.greet.user"
    assert prompt.line in (12, 13)


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    data = changed("redis.timout_ms", 5)
    data["models"]["writer"]["endpoint"] = "mokc"
    data["models"]["other"] = {"litellm_model": "x", "endpoint": "mock", "class": "slow"}
    data["actions"]["greet"]["outputs"]["text"]["fallback"] = 5
    data["actions"]["greet"]["limits"]["deadline_ms"] = 200_000
    data["actions"]["meet"] = {**right()["actions"]["greet"], "model": "wirter"}
    mistakes = mistakes_in(data)
    assert {mistake.path for mistake in mistakes} == {
        "redis.timout_ms",
        "models.writer.endpoint",
        "models.other.litellm_model",
        "models.other.class",
        "actions.greet.outputs.text.fallback",
        "actions.greet.limits.deadline_ms",
        "actions.meet.model",
    }
    places = [(mistake.line or 0, mistake.column or 0) for mistake in mistakes]
    assert places == sorted(places)
    assert str(ConfigError(mistakes)).count("\n") == len(mistakes) - 1


def test_what_refers_to_something_wrong_is_not_blamed_for_it() -> None:
    data = right()
    data["endpoints"]["mock"]["max_concurrency"] = 0
    data["models"]["writer"]["class"] = "slow"
    data["rate_cards"][0]["version"] = ""
    assert [mistake.path for mistake in mistakes_in(data)] == [
        "endpoints.mock.max_concurrency",
        "models.writer.class",
        "rate_cards[0].version",
    ]


# Secrets


@pytest.mark.parametrize("place", SECRET_PLACES)
@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        {"env": SECRET},
        {"value": SECRET},
        {"env": "NAME", "file": SECRET},
        [SECRET],
        {"file": ""},
        {"env": 5},
        {},
        5,
    ],
)
def test_a_secret_is_a_reference_and_what_stands_in_its_place_is_never_shown(
    place: str, value: Any
) -> None:
    with pytest.raises(ConfigError) as raised:
        load({**changed(place, value)})
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value.mistakes)
    assert SECRET not in shown
    assert raised.value.mistakes[0].path == place
    assert "env" in str(raised.value)


@pytest.mark.parametrize(
    "place", ["redis.url", "endpoints.mock.api_base", "endpoints.mock", "endpoints", "redis"]
)
@pytest.mark.parametrize("text", ["redis://user:{}@host", "https://user:{}@host", "{}"])
def test_a_secret_that_was_written_elsewhere_is_not_shown_either(place: str, text: str) -> None:
    mistakes = mistakes_in(changed(place, text.format("s3cr3t-0123")))
    assert "s3cr3t" not in str(mistakes)


@pytest.mark.parametrize("place", SECRET_PLACES)
def test_secrets_are_read_and_never_printed(place: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n", encoding="utf-8")
    for reference in ({"env": "NAME"}, {"file": "key"}, {"file": str(tmp_path / "key")}):
        data = changed(place, reference)
        data.setdefault("redis", {})["url"] = "redis://host"
        config = load(data, base_dir=tmp_path, environ={"NAME": SECRET})
        read: Any = config
        for name in place.split("."):
            read = read[name] if isinstance(read, dict) else getattr(read, name)
        assert read.get_secret_value() == SECRET
        assert SECRET not in repr(config) + str(config) + str(config.model_dump())
        assert SECRET not in repr(config.build_endpoint("mock"))


@pytest.mark.parametrize(
    "reference, words",
    [
        ({"env": "NOT_SET"}, "NOT_SET is not set"),
        ({"env": "EMPTY"}, "EMPTY is empty"),
        ({"file": "nowhere"}, "No such file"),
        ({"file": "empty"}, "is empty"),
        ({"file": "."}, "Is a directory"),
        ({"file": "binary"}, "UTF-8"),
        ({"file": "lines"}, "several lines"),
    ],
)
def test_a_reference_that_leads_to_no_secret_is_refused(
    reference: dict[str, str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "lines").write_text(f"{SECRET}\n{SECRET}", encoding="utf-8")
    data = changed("endpoints.mock.api_key", reference)
    mistake = only_mistake(data, base_dir=tmp_path, environ={"EMPTY": " "})
    assert words in mistake.message
    assert SECRET not in mistake.message


def test_an_installation_key_that_can_be_guessed_is_refused() -> None:
    data = changed("installation_key", {"env": "KEY"})
    assert "16" in only_mistake(data, environ={"KEY": "short"}).message


def test_secrets_come_from_the_environment_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDITGATE_TEST_KEY", SECRET)
    path = tmp_path / "config.yaml"
    path.write_text(
        "version: 1\nplans: {a: {ai_credits: true}}\n"
        "endpoints: {real: {api_key: {env: CREDITGATE_TEST_KEY}}}\n",
        encoding="utf-8",
    )
    assert load_config(path).build_endpoint("real").api_key == SECRET


def test_a_config_can_be_built_in_python() -> None:
    config = Config.model_validate({"version": 1, "plans": {"a": {"ai_credits": True}}})
    assert config.data_dir == Path("creditgate-data")


def test_every_section_is_frozen_and_refuses_unknown_keys() -> None:
    def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
        return {model, *(s for sub in model.__subclasses__() for s in sections(sub))}

    from runtime.config.section import Section

    for section in sections(Section):
        assert section.model_config.get("frozen"), section
        assert section.model_config.get("extra") == "forbid", section
