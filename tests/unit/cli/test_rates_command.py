"""``creditgate rates``: suggested cards are taken by the config; what can not be sold is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pricing.rate_card import Rates
from runtime.catalog.suggested_rates import suggest_card
from runtime.cli import cli
from runtime.config import load_config
from tests.harness.configs import changed, right
from tests.harness.paths import ROOT

MODELS = {"writer": "openai/gpt-4.1", "gem": "gemini/gemini-2.5-pro", "1.5": "xai/grok-4.3"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(data: dict[str, Any]) -> None:
    Path("config.yaml").write_text(json.dumps(data, indent=1), encoding="utf-8")


def rates(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["rates", *arguments], prog_name="creditgate")


def with_models(models: dict[str, str]) -> dict[str, Any]:
    """A config with these models, and rates for them."""
    data = right()
    usual = data["models"]["writer"]
    data["models"] = {name: {**usual, "litellm_model": model} for name, model in models.items()}
    data["rate_cards"][0]["rates"] = {name: {"input": 1, "output": 1} for name in models}
    return data


def from_json(plain: dict[str, Any]) -> dict[str, Any]:
    """The fields of rates as JSON has them, with the tiers as plain mappings."""
    return {key: value for key, value in plain.items() if key != "tiers"}


def test_a_suggested_card_is_taken_by_the_config_rate_by_rate() -> None:
    data = with_models(MODELS)
    write(data)
    told = rates("suggest", "--markup", "1.3", "--out", "card.yaml", "--json")
    assert told.exit_code == 0, told.output
    del data["rate_cards"]
    write({**data, "include": ["card.yaml"]})

    [card] = load_config("config.yaml").rate_cards

    suggested = json.loads(told.stdout)
    assert set(card.rates) == set(MODELS)
    for model_id, plain in suggested["rates"].items():
        built: Rates = card.rates[model_id].build()
        assert len(built.tiers) == len(plain["tiers"])
        for held, wanted in zip((built, *built.tiers), (plain, *plain["tiers"]), strict=True):
            assert {name: getattr(held, name) for name in from_json(wanted)} == from_json(wanted)
    assert card.rates["writer"].input_mc == 26_000_000
    assert card.rates["gem"].tiers[0].above_input_tokens == 200_000


def test_the_card_on_stdout_can_be_pasted_below_the_others() -> None:
    write(with_models(MODELS))
    text = rates("suggest", "--markup", "1", "--from", "2027-01-01", "--version", "v2").stdout
    pasted = "".join(line for line in text.splitlines(keepends=True) if line != "rate_cards:\n")
    Path("cards.yaml").write_text(
        "rate_cards:\n  - {version: a, effective_from: 2026-01-01, rates: {writer: {input: 1, "
        "output: 1}}}\n" + pasted,
        encoding="utf-8",
    )
    data = with_models(MODELS)
    del data["rate_cards"]
    write({**data, "include": ["cards.yaml"]})

    [_, card] = load_config("config.yaml").rate_cards

    assert (card.version, card.effective_from) == ("v2", datetime(2027, 1, 1, tzinfo=UTC))
    assert card.rates["writer"].output_mc == 80_000_000


def test_models_are_chosen_by_id_by_name_or_as_those_that_will_be() -> None:
    write(with_models(MODELS))
    told = rates(
        "suggest",
        "--markup",
        "1",
        "--json",
        "gem",
        "openai/gpt-4.1-mini",
        "fast=openai/gpt-5-mini",
    )
    assert json.loads(told.stdout)["litellm"] == {
        "gem": "gemini/gemini-2.5-pro",
        "gpt-4.1-mini": "openai/gpt-4.1-mini",
        "fast": "openai/gpt-5-mini",
    }


def test_names_of_litellm_need_no_config_and_litellm_is_not_imported() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "runtime.cli", "rates", "suggest"]
    told = subprocess.run(
        [*command, "--markup", "1.25", "openai/gpt-4.1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "gpt-4.1:" in told.stdout
    imported = {line.split("|")[-1].strip() for line in told.stderr.splitlines()}
    assert "pricing.price_map" in imported
    assert "litellm" not in imported


def test_all_that_is_refused_is_named_with_the_reason_and_no_card_is_written() -> None:
    told = rates(
        *("suggest", "--markup", "1.3", "--out", "card.yaml", "openai/gpt-4.1"),
        *("openai/gpt-4.1-mnii", "openai/text-embedding-3-small", "deepseek/deepseek-chat"),
    )
    assert told.exit_code == 2
    assert not Path("card.yaml").exists()
    refused = {line.partition(": ")[0]: line for line in told.stderr.splitlines()[1:]}
    assert list(refused) == [
        "openai/gpt-4.1-mnii",
        "openai/text-embedding-3-small",
        "deepseek/deepseek-chat",
    ]
    assert "did you mean openai/gpt-4.1-mini" in refused["openai/gpt-4.1-mnii"]
    assert "'embedding'" in refused["openai/text-embedding-3-small"]
    assert "deprecated" in refused["deepseek/deepseek-chat"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nobody"], "nobody: the config has no such model; did you mean|there are"),
        (["a b=openai/gpt-4.1"], "must be 1 to 64"),
        (["writer="], "must be ID=PROVIDER/NAME"),
        (["x=openai/gpt-4.1", "x=openai/gpt-4.1-mini"], "'x' already stands for openai/gpt-4.1"),
        (["openai/gpt-4.1", "--version", "a b"], "must be 1 to 64"),
        (["openai/gpt-4.1", "--from", "tomorrow"], "'tomorrow'"),
        (["openai/gpt-4.1", "--out", "config.yaml"], "already exists"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], words: str) -> None:
    write(right())
    told = rates("suggest", "--markup", "1.3", *arguments)
    assert told.exit_code == 2
    assert any(word in told.stderr for word in words.split("|"))
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("markup", ["0.99", "-1", "nan", "1001", "free", "Infinity"])
def test_a_markup_below_one_or_no_number_is_refused(markup: str) -> None:
    told = rates("suggest", "--markup", markup, "openai/gpt-4.1")
    assert told.exit_code == 2
    assert "allowed is a factor from 1 to 1000" in told.stderr


def test_a_config_without_models_has_nothing_to_suggest_for() -> None:
    write({"version": 1, "plans": {"growth": {"ai_credits": True}}})
    told = rates("suggest", "--markup", "1.3")
    assert told.exit_code == 2
    assert "the config has no models" in told.stderr


def test_a_model_that_its_provider_will_give_up_is_suggested_with_a_note() -> None:
    begins = datetime(2026, 11, 24, tzinfo=UTC)
    chosen = {"c": "anthropic/claude-sonnet-4-5", "g": "openai/gpt-4.1"}

    found = suggest_card(chosen, Decimal(1), "v1", begins, begins.date())

    assert set(found.card.rates) == {"c", "g"}
    assert set(found.notes) == {"c"}
    assert "2026-11-30" in found.notes["c"]


def test_the_card_in_force_and_those_to_come_are_shown() -> None:
    later = f"{datetime.now(UTC) + timedelta(days=40):%Y-%m-%d}"
    tier = {"above_input_tokens": 200_000, "input": 2000, "output": 3000}
    data = changed("rate_cards.0.rates.writer.tiers", [tier])
    data["rate_cards"] += [
        {"version": "old", "effective_from": "2025-01-01", "rates": {}},
        {
            "version": "next",
            "effective_from": later,
            "rates": {"writer": {"input": 0.125, "output": 1}},
        },
    ]
    write(data)

    shown = rates("show").stdout
    plain = json.loads(rates("show", "--json").stdout)

    assert "Rate card first, in force since 2026-01-01" in shown
    assert f"Rate card next, to come on {later}" in shown
    assert "old" not in shown
    assert "above 200,000 input tokens" in shown
    assert "0.125" in shown
    assert plain["in_force"]["rates"]["writer"]["tiers"][0]["input_mc"] == 2_000_000
    assert [card["version"] for card in plain["to_come"]] == ["next"]


def test_without_a_card_in_force_that_is_said() -> None:
    write({"version": 1, "plans": {"growth": {"ai_credits": True}}})
    assert "no model is called" in rates("show").stdout
    assert json.loads(rates("show", "--json").stdout)["in_force"] is None
