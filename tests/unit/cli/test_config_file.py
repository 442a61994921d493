"""A command without its config file says how to get one."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from runtime.cli.config_file import EXAMPLE, require_config
from runtime.cli.options import BadInput


def test_the_suggested_command_can_be_pasted_where_folders_have_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my campaigns"
    folder.mkdir()
    monkeypatch.chdir(folder)
    wanted = folder / "config.yaml"
    with pytest.raises(BadInput) as refused:
        require_config(wanted)
    command = refused.value.message.splitlines()[1]
    assert shlex.split(command) == ["cp", str(EXAMPLE), str(wanted)]
