"""The config file that a command is given, and what it looks up there."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from runtime.cli.options import BadInput

if TYPE_CHECKING:
    from runtime.actions.spec import ActionSpec
    from runtime.config import Config

EXAMPLE = Path(__file__).parents[1] / "demo_data" / "config.example.yaml"
"""It comes with the package; in the sources this is a link to the one at their top."""


def load(path: Path) -> Config:
    """Read the config file, and show its warnings.

    Raises:
        BadInput: there is no such file.
        ConfigError: with all its mistakes.
    """
    from runtime.config import load_config

    require_config(path)
    config = load_config(path)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    return config


def require_config(path: Path) -> None:
    """Check that there is a config file.

    Raises:
        BadInput: there is none; the message says how to get one.
    """
    if path.exists():
        return
    here = Path(EXAMPLE.name)
    example = here if here.is_file() else EXAMPLE
    wanted = click.format_filename(path)
    raise BadInput(
        f"there is no config file {wanted}. Start with a copy of the example:\n"
        f"  cp {quote(str(example))} {quote(wanted)}\nor name yours with --config."
    )


def find_action(config: Config, action_id: str, account_id: str | None = None) -> ActionSpec:
    """Return an action of the config, or else a published one of the account's own.

    Raises:
        BadInput: there is none of this id.
        StoreError: the config has none, and the database of the account's own can't be used.
    """
    from runtime.hints import did_you_mean
    from runtime.ids import is_strict_id

    action = config.actions.get(action_id)
    if action is None and account_id is not None and is_strict_id(action_id):
        # SQL takes longer to open than most commands take, so it is asked last.
        from runtime.cli.library import published_action

        action = published_action(config, account_id, action_id)
    if action is None:
        hint = did_you_mean(action_id, config.actions)
        own = "" if account_id is None else f", and account {account_id!r} published none"
        raise BadInput(f"--action: the config has no action {action_id!r}{own}{hint}")
    return action
