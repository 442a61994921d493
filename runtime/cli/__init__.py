"""The command line. Commands are imported when they are asked for, and import the rest then."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from runtime.cli.contents import SECTIONS
from runtime.cli.options import COMMAND_SETTINGS, DEBUG
from runtime.cli.terminal import harmless_output

_COMMANDS = [name for names in SECTIONS.values() for name in names]


class Creditgate(click.Group):
    """Loads its commands lazily, and tells people what went wrong instead of showing traces."""

    def main(self, *args: Any, **options: Any) -> Any:
        # Around all of click, whose messages quote what was typed.
        with harmless_output():
            return super().main(*args, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return _COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        # Each command is the function in the module that bears its name.
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"{__package__}.commands.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from runtime.hints import did_you_mean

            ctx.fail(f"there is no command {args[0]!r}{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - reported
            from runtime.cli.failures import report

            if ctx.meta.get(DEBUG):
                import traceback

                click.echo(traceback.format_exc(), err=True)
            ctx.exit(report(ctx, error))


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib import metadata

        try:
            version = metadata.version("creditgate")
        except metadata.PackageNotFoundError:
            version = "(not installed: run from its sources)"
        click.echo(f"creditgate {version}")
        ctx.exit()


@click.group(
    cls=Creditgate,
    context_settings=COMMAND_SETTINGS,
    epilog="""\b
    Begin with:
      creditgate demo
      creditgate COMMAND --help

    Exit status: 0 done; 1 the books do not balance; 2 something was wrong with what was asked or
    is not there, and nothing was charged for it; 3 a run stopped after waiting for its provider or
    Redis; 70 an error in creditgate itself; 130 stopped by
    Ctrl-C or SIGTERM.""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option(
    "--debug", is_flag=True, help="Show the whole trace of an error. It may hold personal data."
)
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Run the LLM actions of marketing campaigns, each paid for from prepaid AI credits."""
    ctx.meta[DEBUG] = debug


def main() -> None:
    """Run the command line."""
    cli(prog_name="creditgate")
