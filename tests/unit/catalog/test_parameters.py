"""Temperatures that a model does not take are found before anybody's execution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from providers.litellm import adapter
from runtime.catalog import parameters
from runtime.catalog.parameters import refused_parameters
from runtime.cli.commands.check_config import check_config
from tests.harness.configs import load, right


def config_of(litellm_model: str, temperature: float | None) -> dict[str, Any]:
    data = right()
    data["models"]["writer"]["litellm_model"] = litellm_model
    if temperature is not None:
        data["actions"]["greet"]["temperature"] = temperature
    return data


@pytest.mark.parametrize(
    "litellm_model, temperature",
    [
        ("openai/gpt-5", 0.5),
        ("openai/gpt-5", 0),
        ("openai/gpt-5-mini", 0.2),
        ("openai/o1", 0.5),
        ("openai/o3-mini", 0),
        ("openai/o4-mini", 0.7),
        ("azure/gpt-5", 0.5),
    ],
)
def test_a_temperature_that_a_model_does_not_take_is_named(
    litellm_model: str, temperature: float
) -> None:
    (mistake,) = refused_parameters(load(config_of(litellm_model, temperature)), "c.yaml")

    assert str(mistake) == (
        f"c.yaml: actions.greet.temperature: model 'writer' ({litellm_model}) does not take a "
        f"temperature of {temperature:g}: leave it out"
    )


@pytest.mark.parametrize(
    "litellm_model, temperature",
    [
        ("openai/gpt-5", None),
        ("openai/gpt-5", 1),
        ("openai/o3-mini", 1),
        ("anthropic/claude-sonnet-4-5", 0.5),
        ("gemini/gemini-2.5-flash", 0.5),
        ("openai/a-model-of-our-own", 0.5),
    ],
)
def test_a_temperature_that_a_model_takes_is_no_mistake(
    litellm_model: str, temperature: float | None
) -> None:
    assert refused_parameters(load(config_of(litellm_model, temperature))) == []


def test_a_model_that_does_not_reason_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(litellm_model: str, temperature: float) -> bool:
        raise AssertionError(litellm_model)

    monkeypatch.setattr(parameters, "refuses_temperature", asked)

    assert refused_parameters(load(config_of("openai/gpt-4o-mini", 0.5))) == []


def test_the_model_that_takes_over_counts_too() -> None:
    data = config_of("openai/gpt-4o-mini", 0.5)
    data["models"]["thinker"] = data["models"]["writer"] | {"litellm_model": "openai/gpt-5"}
    data["models"]["writer"] |= {"retires_on": "2099-01-01", "replaced_by": "thinker"}
    data["rate_cards"][0]["rates"]["thinker"] = data["rate_cards"][0]["rates"]["writer"]
    (mistake,) = refused_parameters(load(data))
    assert "'thinker' (openai/gpt-5) does not take a temperature of 0.5" in str(mistake)

    data["actions"]["greet"]["allow_replacement_model"] = False
    assert refused_parameters(load(data)) == []


def test_check_config_names_it_and_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(json.dumps(config_of("openai/gpt-5", 0.5)), encoding="utf-8")

    result = CliRunner().invoke(check_config, [])

    assert (result.exit_code, result.stdout) == (2, "")
    assert "actions.greet.temperature: model 'writer' (openai/gpt-5)" in result.stderr


def test_what_else_is_wrong_with_a_model_is_another_check_s_matter() -> None:
    assert not adapter.refuses_temperature("nobody/knows-it", 0.5)
