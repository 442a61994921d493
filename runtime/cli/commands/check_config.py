"""``creditgate check-config``: report everything that is wrong with a config file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.config_file import require_config
from runtime.cli.options import config_option, examples, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.cli.processes import Processes
    from runtime.config import Config, Mistake


@click.command(
    "check-config",
    epilog=examples(
        "creditgate check-config",
        "creditgate check-config --config staging.yaml --json | jq .mistakes",
    ),
)
@config_option
@json_option
@click.pass_context
def check_config(context: click.Context, config_path: Path, as_json: bool) -> None:
    """Check a config file and report every mistake at once, with line and column.

    Secrets that it refers to must exist, but are not shown. Exits with 2 if there is a mistake;
    warnings are none. A data folder that others can write to is refused too.

    If the file has no mistake and redis.url names a server, the processes that run are compared
    with it: a warning says how many run another configuration.
    """
    from runtime.catalog.parameters import refused_parameters
    from runtime.cli.processes import processes_of
    from runtime.config import ConfigError, load_config
    from runtime.files.private import check_data_folders

    require_config(config_path)
    config: Config | None = None
    mistakes: Sequence[Mistake] = ()
    try:
        config = load_config(config_path)
    except ConfigError as error:
        mistakes = error.mistakes
    else:
        mistakes = refused_parameters(config, click.format_filename(config_path))
        check_data_folders(config.data_dir)
    warnings = (*config.warnings, *_of_nobody(config, config_path)) if config else ()
    processes = processes_of(config) if config and not mistakes else None
    if as_json:
        _print_json(mistakes, warnings, processes)
    else:
        for mistake in mistakes:
            click.echo(mistake, err=True)
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        if config and processes:
            is_embedded = config.redis.is_embedded
            for line in processes.lines(config_path, is_embedded=is_embedded):
                click.echo(line, err=True)
            click.echo(f"{click.format_filename(config_path)}: OK: {_contents(config)}")
    if mistakes:
        context.exit(2)


def _print_json(
    mistakes: Sequence[Mistake], warnings: Sequence[Mistake], processes: Processes | None
) -> None:
    import json
    from dataclasses import asdict

    found = {
        "ok": not mistakes,
        "mistakes": [asdict(mistake) for mistake in mistakes],
        "warnings": [asdict(warning) for warning in warnings],
        "version": processes.version if processes else None,
        "processes": processes.to_json() if processes else None,
    }
    click.echo(json.dumps(found, indent=2))


def _of_nobody(config: Config, config_path: Path) -> Iterator[Mistake]:
    """Yield a warning where nobody hears of accounts without contacts."""
    from runtime.config import Mistake

    operator = config.alerts.operator
    if not operator.emails and operator.webhook is None:
        text = (
            "has neither emails nor webhook: alerts of accounts without contacts reach nobody, "
            "unless the operator has a destination by POST /v1/destinations"
        )
        yield Mistake(click.format_filename(config_path), None, None, "alerts.operator", text)


def _contents(config: Config) -> str:
    counts = {
        "action": len(config.actions),
        "model": len(config.models),
        "rate card": len(config.rate_cards),
        "endpoint": len(config.endpoints),
        "plan": len(config.plans),
        "offer": len(config.offers),
    }
    return ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts.items())
