"""What the command line says about itself, and what that costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from runtime.cli import cli
from runtime.cli.contents import SECTIONS
from tests.harness.command_line import Home
from tests.harness.paths import ROOT

HEAVY = {"aiohttp", "asyncio", "litellm", "pydantic", "redis", "rich", "ruamel", "tiktoken"}
HEAVY |= {"alembic", "sqlalchemy"}


def commands() -> Iterator[tuple[str, ...]]:
    with click.Context(cli) as ctx:
        for name in cli.list_commands(ctx):
            command = cli.get_command(ctx, name)
            yield (name,)
            if isinstance(command, click.Group):
                yield from ((name, inner) for inner in command.commands)


@pytest.mark.parametrize("args", list(commands()), ids=" ".join)
def test_each_command_has_help_with_examples_and_says_what_its_options_mean(
    args: tuple[str, ...],
) -> None:
    text = CliRunner().invoke(cli, [*args, "--help"], prog_name="creditgate").output
    assert text.startswith(f"Usage: creditgate {' '.join(args)}")
    assert "Examples:" in text
    assert f"  creditgate {' '.join(args)}" in text
    with click.Context(cli) as ctx:
        command = cli.get_command(ctx, args[0])
    if isinstance(command, click.Group) and len(args) > 1:
        command = command.commands[args[1]]
    assert command is not None
    assert command.help, "it says what it does"
    first = command.get_short_help_str(1000)
    assert len(first) <= 90, "in one line"
    unsaid = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert unsaid == []


def test_the_help_of_all_says_of_each_command_what_its_own_help_says() -> None:
    for lines in SECTIONS.values():
        for name, line in lines.items():
            with click.Context(cli) as ctx:
                command = cli.get_command(ctx, name)
            assert command is not None
            assert command.get_short_help_str(90) == line


def test_the_help_of_all_imports_none_of_the_heavy_libraries() -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "runtime.cli", "--help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Examples" not in found.stdout
    for name in ("demo", "run", "balance", "check-config"):
        assert f"  {name} " in found.stdout
    imported = {line.split("|")[-1].strip().split(".")[0] for line in found.stderr.splitlines()}
    assert "click" in imported
    assert imported & HEAVY == set()


def test_the_version_is_told(home: Home) -> None:
    ended = home.run("--version")
    assert ended.status == 0
    assert ended.stdout.startswith("creditgate ")
