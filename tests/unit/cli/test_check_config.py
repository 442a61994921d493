"""``check-config`` tells every mistake, and scripts can read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from runtime.cli.commands.check_config import check_config
from tests.harness.configs import changed, right


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(data: dict[str, Any] | None, *arguments: str) -> Result:
    if data is not None:
        Path("config.yaml").write_text(json.dumps(data, indent=1), encoding="utf-8")
    return CliRunner().invoke(check_config, arguments)


@pytest.mark.usefixtures("folder")
def test_a_right_config_is_counted() -> None:
    webhook = {"webhook": "https://ops.example.com/", "webhook_secret": {"env": "PATH"}}
    result = check(changed("alerts.operator", webhook))
    assert result.exit_code == 0
    assert result.stdout == (
        "config.yaml: OK: 1 action, 1 model, 1 rate card, 1 endpoint, 1 plan, 0 offers\n"
    )
    assert result.stderr == ""


@pytest.mark.usefixtures("folder")
def test_a_config_that_names_nobody_for_alerts_is_warned_of() -> None:
    result = check(right())
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: config.yaml: alerts.operator: has neither emails")


@pytest.mark.usefixtures("folder")
def test_every_mistake_is_a_line_with_its_position() -> None:
    data = changed("redis.timout_ms", 5)
    data["actions"]["greet"]["model"] = "wirter"
    result = check(data)
    assert result.exit_code == 2
    assert result.stdout == ""
    action, redis = result.stderr.splitlines()
    lines = Path("config.yaml").read_text(encoding="utf-8").splitlines()
    line = lines.index('   "model": "wirter",') + 1
    assert action.startswith(f"config.yaml:{line}:13: actions.greet.model: there is no model")
    assert "redis.timout_ms: is not a known key" in redis


@pytest.mark.usefixtures("folder")
def test_warnings_are_told_and_are_no_mistakes() -> None:
    result = check(changed("models.writer.retires_on", "2020-01-01"))
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: config.yaml:")


@pytest.mark.usefixtures("folder")
def test_json_has_the_same_for_scripts() -> None:
    good = check(changed("models.writer.retires_on", "2020-01-01"), "--json")
    found = json.loads(good.stdout)
    assert (good.exit_code, found["ok"], found["mistakes"]) == (0, True, [])
    assert found["warnings"][0]["path"] == "actions.greet.model"

    bad = check(changed("version", 2), "--json")
    found = json.loads(bad.stdout)
    assert (bad.exit_code, found["ok"], bad.stderr) == (2, False, "")
    assert found["mistakes"] == [
        {
            "file": "config.yaml",
            "line": 2,
            "column": 13,
            "path": "version",
            "message": "must be 1, found the number 2",
        }
    ]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_without_a_config_it_says_how_to_come_to_one(arguments: tuple[str, ...]) -> None:
    result = check(None, *arguments)
    assert result.exit_code == 2
    assert "config.example.yaml" in result.output


@pytest.mark.usefixtures("folder")
def test_another_file_can_be_checked(folder: Path) -> None:
    check(right())
    moved = (folder / "config.yaml").rename(folder / "other.yaml")
    assert check(None, "--config", str(moved)).exit_code == 0


@pytest.mark.usefixtures("folder")
def test_a_file_whose_name_is_no_text_is_still_checked() -> None:
    name = "caf\udce9.yaml"
    Path("config.yaml").write_text(json.dumps(changed("version", 2)), encoding="utf-8")
    Path("config.yaml").rename(name)
    assert check(None, "--config", name).exit_code == 2
    assert json.loads(check(None, "--config", name, "--json").stdout)["ok"] is False
