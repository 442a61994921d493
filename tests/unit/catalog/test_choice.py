"""Which model to choose: costs of one run compared, and what else there is to know."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pricing.quote import cost_mc
from pricing.usage import TokenUsage
from runtime.catalog.choice import ModelChoice, TypicalRun, model_choices
from runtime.catalog.models import build_models
from runtime.cli import cli
from runtime.config import Config
from runtime.learning.forecast import Typical
from runtime.wording.models import model_state_text
from tests.harness.configs import NOW, load, right
from tests.harness.paths import ROOT

NAMES = ["Ada", "Grace Brewster Murray Hopper", "Ann"]
PEOPLE = [{"customer": {"name": name}} for name in NAMES]


def data() -> dict[str, Any]:
    """A config of four models: three are called, one is not priced."""
    found = right()
    usual = {**found["models"]["writer"], "litellm_model": "openai/gpt-4.1"}
    found["models"] = {
        "writer": usual,
        "near": usual,
        "thinker": {**usual, "class": "reasoning", "reasoning_allowance_tokens": 50},
        "spare": {**usual, "litellm_model": "openai/none", "json_schema": False},
    }
    found["rate_cards"][0]["rates"] = {
        "writer": {"input": 1000, "output": 1000},
        "near": {"input": 1250, "output": 1250},
        "thinker": {"input": 4000, "output": 4000, "reasoning": 8000},
    }
    return found


def choices(config: Config | None = None, *args: Any, **more: Any) -> dict[str, ModelChoice]:
    found = model_choices(config or load(data()), *args, now=NOW, **more)
    return {choice.id: choice for choice in found}


def test_the_cheapest_comes_first_and_the_unpriced_last() -> None:
    assert list(choices()) == ["writer", "near", "thinker", "spare"]


def test_without_an_action_a_run_is_1000_and_300_tokens_and_the_usual_thinking() -> None:
    found = choices()

    assert found["writer"].typical_mc == 1_300
    thinking = 20  # 40% of 50
    assert found["thinker"].typical_mc == 1_300 * 4 + thinking * 8
    assert (found["spare"].typical_mc, found["spare"].priced) == (None, False)


def test_costs_are_multiples_of_the_cheapest_and_efficient_within_their_class() -> None:
    found = choices()

    assert found["writer"].relative_cost == 1
    assert found["near"].relative_cost == Fraction(5, 4)
    assert {one.id for one in found.values() if one.cost_efficient} == {"writer", "near", "thinker"}
    dearer = data()
    dearer["rate_cards"][0]["rates"]["near"]["output"] = 1254
    assert not choices(load(dearer))["near"].cost_efficient


def test_an_action_is_counted_for_the_people_that_are_given() -> None:
    config = load(data())
    action = config.actions["greet"]

    found = choices(config, TypicalRun(action, PEOPLE))

    for model in build_models(config):
        if model.id == "spare":
            continue
        counts = [
            model.counter.count_messages(action.render(person), action.json_schema)
            for person in PEOPLE
        ]
        mean = -(-sum(counts) // len(counts))
        answer, thinking = 40, 20 if model.id == "thinker" else 0
        usage = TokenUsage(mean, answer + thinking, reasoning_tokens=thinking)
        rates = config.rate_cards[0].build().rates[model.id]
        assert found[model.id].typical_mc == cost_mc(rates, usage)


def test_people_whose_prompt_can_not_be_rendered_do_not_count() -> None:
    config = load(data())
    action = config.actions["greet"]

    some = choices(config, TypicalRun(action, [*PEOPLE, {"customer": {}}]))

    assert some == choices(config, TypicalRun(action, PEOPLE))


@pytest.mark.parametrize(
    "user", ["Greet {{ customer.name }}", "{% raw %}{{ x }}{% endraw %} to {{ customer.name }}"]
)
def test_without_people_the_templates_are_counted_as_they_stand(user: str) -> None:
    content = data()
    content["actions"]["greet"]["user"] = user
    config = load(content)

    found = choices(config, TypicalRun(config.actions["greet"]))["writer"]

    text = user.replace("{% raw %}", "").replace("{% endraw %}", "")
    model = next(iter(build_models(config)))
    tokens = model.counter.count_messages(
        [{"role": "user", "content": text}], config.actions["greet"].json_schema
    )
    assert found.typical_mc == tokens + 40


def test_what_is_known_of_answers_and_costs_comes_before_what_is_estimated() -> None:
    known = Typical(0.5, 80.0)
    run = TypicalRun(answer_tokens=100, learned={"near": known, "spare": known})

    found = choices(None, run)

    assert (found["writer"].typical_mc, found["writer"].learned) == (1_100, False)
    assert (found["near"].typical_mc, found["near"].learned) == (725, True)
    assert found["near"].relative_cost == 1
    # What it once cost does not give it a price today.
    assert (found["spare"].typical_mc, found["spare"].learned) == (None, False)


def test_other_models_are_taken_to_answer_as_the_actions_own_one_did() -> None:
    config = load(data())
    action = config.actions["greet"]
    assert action.model == "writer"

    found = choices(config, TypicalRun(action, PEOPLE, learned={"writer": Typical(1.0, 60.0)}))
    same = choices(config, TypicalRun(action, PEOPLE, answer_tokens=60))

    assert [one.typical_mc for one in found.values()] == [one.typical_mc for one in same.values()]
    assert {one.id for one in found.values() if one.learned} == {"writer"}


def test_what_models_support_is_the_configs_word_or_that_of_litellms_list() -> None:
    content = data()
    content["models"]["near"] = {**content["models"]["near"], "context_tokens": 9_000}

    found = choices(load(content))

    assert (found["writer"].context_tokens, found["near"].context_tokens) == (1_047_576, 9_000)
    assert (found["spare"].context_tokens, found["spare"].max_output_tokens) == (None, None)
    assert [found[name].json_schema for name in ("writer", "spare")] == [True, False]
    assert [found[name].listed_json_schema for name in ("writer", "spare")] == [True, None]
    unlisted = replace(found["writer"], listed_json_schema=False)
    assert "no support for JSON Schema" in model_state_text(unlisted)
    assert model_state_text(replace(unlisted, json_schema=False)) == ""
    assert model_state_text(replace(unlisted, json_schema="json_object")) == ""


@pytest.mark.parametrize(
    "litellm_model, route, then, why",
    [
        ("openai/gpt-4.1", "auto", "direct", None),
        ("openai/gpt-4.1", "acompletion", "acompletion", "configured"),
        (
            "openai/gpt-5-pro",
            "auto",
            "acompletion",
            "the model answers through OpenAI's responses API",
        ),
        ("custom/of-our-own", "auto", "custom", "a provider of the host's own calls it"),
        ("custom/of-our-own", "acompletion", "custom", "a provider of the host's own calls it"),
    ],
)
def test_the_route_of_a_model_is_told_with_the_reason(
    litellm_model: str, route: str, then: str, why: str | None
) -> None:
    content = data()
    content["models"]["writer"] |= {"litellm_model": litellm_model, "route": route}

    found = choices(load(content))["writer"]

    assert (found.route, found.route_reason) == (then, why)


def test_health_is_what_the_host_knows_of_it() -> None:
    found = choices(None, is_healthy={"writer": True, "near": False}.get)

    assert [found[name].healthy for name in ("writer", "near", "thinker")] == [True, False, None]


def test_a_retired_model_is_compared_no_more_and_its_successor_is_named() -> None:
    content = data()
    content["models"]["writer"] = {
        **content["models"]["writer"],
        "retires_on": "2026-11-23",
        "replaced_by": "near",
    }
    config = load(content)
    action = config.actions["greet"]

    found = choices(config)
    insisting = choices(
        config, TypicalRun(action.model_copy(update={"allow_replacement_model": False}))
    )

    assert (found["writer"].called, insisting["writer"].called) == ("near", None)
    assert found["writer"].relative_cost is None
    assert not found["writer"].cost_efficient
    assert found["near"].relative_cost == 1
    assert "retired on 2026-11-23: near is called instead" in model_state_text(found["writer"])
    assert "not called" in model_state_text(insisting["writer"])


def test_what_retires_soon_and_what_its_provider_gives_up_is_said() -> None:
    content = data()
    content["models"]["near"] = {**content["models"]["near"], "retires_on": "2027-06-30"}
    content["models"]["thinker"]["litellm_model"] = "anthropic/claude-sonnet-4-5"

    found = choices(load(content))

    assert model_state_text(found["writer"]) == ""
    assert model_state_text(found["near"]) == "retires on 2027-06-30"
    assert found["thinker"].given_up_on == date(2026, 11, 30)
    assert "2026-11-30" in model_state_text(found["thinker"])
    assert "not called" in model_state_text(found["spare"])


def test_the_program_of_the_api_page_runs_on_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ROOT
    page = (root / "docs" / "api.md").read_text("utf-8")
    [program] = [
        one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Typic" in one
    ]
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "config.example.yaml", "config.yaml")

    exec(program, {})  # noqa: S102 - what the page says

    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in told] == [["sprinter", "quick"], ["writer", "reasoning"]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(json.dumps(data(), indent=1), encoding="utf-8")
    lines = ["person_id,name", *(f"p{number},{name}" for number, name in enumerate(NAMES))]
    Path("people.csv").write_text("\n".join(lines), encoding="utf-8")


def models(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", *arguments], prog_name="creditgate")


@pytest.mark.usefixtures("home")
def test_the_command_shows_a_table_and_the_rule() -> None:
    shown = models("--action", "greet", "--people", "people.csv")

    assert shown.exit_code == 0
    header, first, *_ = shown.stdout.splitlines()
    assert header.split()[:2] == ["model", "class"]
    assert header.index("route") == first.index("direct")
    assert first.split()[0] == "writer"
    assert "1.0x" in first
    assert "at most 1.25 times the cheapest of its class" in shown.stdout


@pytest.mark.usefixtures("home")
def test_the_command_says_the_same_as_json() -> None:
    told = json.loads(models("thinker", "writer", "--json").stdout)

    assert [one["id"] for one in told["models"]] == ["writer", "thinker"]
    writer = told["models"][0]
    assert (writer["typical_mc"], writer["relative_cost"], writer["healthy"]) == (1_300, 1.0, None)
    assert (writer["route"], writer["route_reason"]) == ("direct", None)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["writr", "none"], ["no model 'writr'; did you mean 'writer'?", "no model 'none'"]),
        (["--action", "gret"], ["no action 'gret'; did you mean 'greet'?"]),
        (["--people", "people.csv"], ["--action"]),
        (["--answer-tokens", "0"], ["--answer-tokens"]),
        (["--action", "greet", "--people", "nobody.csv"], ["nobody.csv"]),
    ],
)
def test_what_is_not_there_is_refused_by_name(arguments: list[str], words: list[str]) -> None:
    told = models(*arguments)

    assert told.exit_code == 2
    assert all(word in told.stderr for word in words)
