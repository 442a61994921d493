"""SIGHUP reads the config file again, where no terminal can be lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import reloading
from runtime.cli.interruption import Interruption
from runtime.cli.reloading import ConfigReload, has_terminal
from runtime.config import Config, ConfigError, Mistake
from tests.harness.configs import changed, right


class Runtime:
    """Remembers the configurations that it was told to run by."""

    def __init__(self, refuses: Exception | None = None) -> None:
        self.ran: list[Config] = []
        self._refuses = refuses

    async def reload(self, config: Config) -> None:
        if self._refuses is not None:
            raise self._refuses
        self.ran.append(config)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


async def told_after_a_hangup(file: Path, runtime: Any, caplog: Any) -> list[str]:
    """Send this process a SIGHUP; return what was said."""
    said: list[str] = []
    reload = ConfigReload(file, said.append)
    caplog.clear()
    with Interruption(reload.ask) as interruption:
        async with reload.serving(runtime):
            signal.raise_signal(signal.SIGHUP)
            for _ in range(500):
                await asyncio.sleep(0.01)
                if said or caplog.records:
                    break
        assert not interruption.happened
    return said + [record.getMessage() for record in caplog.records]


async def test_a_hangup_brings_the_edited_file_into_force(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(json.dumps(changed("compliance_prompt", "Be lawful.")))
    runtime = Runtime()
    [said] = await told_after_a_hangup(file, runtime, caplog)
    assert said.startswith(f"{file} was read again: configuration ")
    assert [config.compliance_prompt for config in runtime.ran] == ["Be lawful."]


async def test_a_mistake_is_logged_with_its_line_and_field_and_nothing_changes(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(json.dumps(changed("redis.timout_ms", 5), indent=1))
    runtime = Runtime()
    [said] = await told_after_a_hangup(file, runtime, caplog)
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "timout" in text)
    assert said.startswith(f"{file}:{line}:")
    assert "redis.timout_ms: is not a known key" in said
    assert said.endswith("the configuration in force stays")
    assert caplog.records[0].levelno == logging.ERROR
    assert runtime.ran == []


async def test_a_file_that_is_gone_and_a_change_that_takes_a_restart_end_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [said] = await told_after_a_hangup(file, Runtime(), caplog)
    assert said.endswith("the configuration in force stays")
    file.write_text(json.dumps(right()))
    restart = ConfigError([Mistake("", None, None, "plans", "takes a restart to change")])
    for refusal in (restart, RuntimeError("unforeseen")):
        runtime = Runtime(refusal)
        [said] = await told_after_a_hangup(file, runtime, caplog)
        assert "plans: takes a restart" in said or "can't be read again" in said


async def test_a_hangup_before_the_runtime_is_open_counts_once_it_is(file: Path) -> None:
    file.write_text(json.dumps(right()))
    said: list[str] = []
    reload = ConfigReload(file, said.append)
    reload.ask()
    runtime: Any = Runtime()
    async with reload.serving(runtime):
        for _ in range(500):
            await asyncio.sleep(0.01)
            if said:
                break
    assert len(runtime.ran) == 1


def test_a_process_without_a_terminal_has_none_to_lose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reloading, "_TERMINAL", str(tmp_path / "none"))
    monkeypatch.setattr(os, "isatty", lambda number: False)
    assert not has_terminal()
    monkeypatch.setattr(os, "isatty", lambda number: number == 2)
    assert has_terminal()
